"""Sidecars: files that belong to an image by their name, and travel with it.

``cat.xmp`` and ``cat.jpg.xmp`` belong to ``cat.jpg``; where the image becomes ``cat_2.jpg``, they become ``cat_2.xmp``
and ``cat_2.jpg.xmp``. An image is filed first, its sidecars follow by the same transfer, and their trouble is not its
trouble. One whose name is taken stays where it is. Those of an unreadable image stay, to be there when it comes back.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from loguru import logger

from daemon import transfer
from daemon.journal import Journal, JournalBusy
from daemon.moves import Entry
from daemon.rows import Filing, State
from daemon.source import Identity
from daemon.transfer import Status, Transfer
from models.images import IMAGE_SUFFIXES, is_image_name

#: Of every image, in place of its suffix or after it.
_NOTES = frozenset({".xmp", ".json", ".aae", ".thm"})
#: Of a photograph, in place of its suffix: the raw data beside it, the film of a Live Photo.
_SHOTS = frozenset({".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".mov"})
_SUFFIXES = _NOTES | _SHOTS
_PHOTOGRAPHS = frozenset({".jpg", ".jpeg", ".jpe", ".heic", ".heif"})

#: How the name of an image may end.
_ENDINGS = sorted({each for suffix in IMAGE_SUFFIXES for each in (suffix, suffix.upper())})

#: Seconds without a change until a sidecar counts as complete.
SETTLE_SECONDS = 2.0
#: A folder's listing is used for this many times as long as it took to make; then the folder is listed again.
_PAYS_FOR_ITSELF = 50
#: The most names that are remembered of one folder, and the most folders.
_MOST_NAMES, _MOST_FOLDERS = 100_000, 16


def owner(name: str) -> str | None:
    """What the name of a sidecar has in common with its image's: its stem, or its whole name; None for others."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in _SUFFIXES and not name.startswith(".") else None


def belongs(sidecar: str, image: str) -> bool:
    """Whether a file of the one name is a sidecar of an image of the other."""
    (start, suffix), (stem, kind) = os.path.splitext(sidecar), os.path.splitext(image)  # noqa: PTH122
    if suffix.lower() in _NOTES:
        return start in (stem, image)
    return start == stem and suffix.lower() in _SHOTS and kind.lower() in _PHOTOGRAPHS


def renamed(sidecar: str, image: str, new: str) -> str:
    """The name of a sidecar after its image got a ``new`` one."""
    if sidecar.startswith(f"{image}."):
        return new + sidecar[len(image) :]
    return os.path.splitext(new)[0] + os.path.splitext(sidecar)[1]  # noqa: PTH122


def images_of(sidecar: str) -> list[str]:
    """The paths that an image of the sidecar at a path may have."""
    folder, slash, name = sidecar.rpartition("/")
    common = owner(name)
    if common is None:
        return []
    names = [common] if is_image_name(common) else []
    names += [common + ending for ending in _ENDINGS]
    return [folder + slash + image for image in names if belongs(name, image)]


def follows(path: str) -> bool:
    """Whether a file goes where an image goes: notes are for nothing else; raw data and films only if one is there."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
    return suffix in _NOTES or (suffix in _SHOTS and any(map(os.path.lexists, images_of(path))))


class Sidecars:
    """Which sidecars lie beside images, without a look at the folder for each image.

    A folder's names are listed once and remembered for as long as that pays; what comes in between is late.
    """

    def __init__(self) -> None:
        self._listings: dict[Path, tuple[float, dict[str, list[str]]]] = {}

    def follow(self, images: Sequence[Transfer], journal: Journal) -> None:
        """Send the sidecars of images that were just filed after them."""
        listings: dict[int, dict[str, list[str]]] = {}
        transfers = []
        for image in images:
            folder = image.source.folder
            if folder not in listings:
                listings[folder] = self._listing(image.row.source.parent, folder)
            for name in _beside(image.source.name, listings[folder]):
                each = follower(image.row, image.source, image.target, name)
                transfers += [each] if each else []
        for each in send(transfers, journal):
            if each.status is not Status.FILED:
                complain(each)

    def _listing(self, folder: Path, descriptor: int) -> dict[str, list[str]]:
        now = time.monotonic()
        renew, names = self._listings.get(folder, (now, {}))
        if now < renew:
            return names
        if folder not in self._listings and len(self._listings) >= _MOST_FOLDERS:
            self._listings.clear()
        names = _list(descriptor)
        end = time.monotonic()
        self._listings[folder] = end + _PAYS_FOR_ITSELF * (end - now), names
        return names


def _beside(image: str, listing: dict[str, list[str]]) -> Iterable[str]:
    """The sidecars of an image, by name, among those listed."""
    if not listing:
        return ()
    stem = os.path.splitext(image)[0]  # noqa: PTH122
    return sorted(name for common in (stem, image) for name in listing.get(common, ()) if belongs(name, image))


def _list(folder: int) -> dict[str, list[str]]:
    """The names of sidecars in an open folder, by what they have in common with their image's."""
    found: dict[str, list[str]] = {}
    count = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if (common := owner(entry.name)) is not None and (count := count + 1) <= _MOST_NAMES:
                    found.setdefault(common, []).append(entry.name)
    except OSError as error:
        logger.debug("The sidecars in a folder cannot be seen now: {}", error)
    return found


def follower(image: Filing, source: Entry, target: Entry, name: str) -> Transfer | None:
    """The way of a sidecar after its image, whose ``source`` and ``target`` are given; None where it may not go yet."""
    sidecar = Entry(source.folder, name)
    try:
        status = sidecar.status()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or abs(time.time() - status.st_mtime) < SETTLE_SECONDS:
        return None
    wanted = renamed(name, source.name, target.name)
    row = Filing(
        state=State.INTENT,
        action=image.action,
        source=image.source.with_name(name),
        identity=Identity.of(status),
        folder=image.folder,
        filed_name=wanted,
        image_id=image.id,
    )
    return Transfer(wanted, row, source=sidecar, target=Entry(target.folder, wanted), exact=True)


def send(transfers: Sequence[Transfer], journal: Journal) -> list[Transfer]:
    """Let sidecars follow their images, those that have not done so before; returns those that tried."""
    try:
        new = [each for each in transfers if not _followed_before(each.row, journal)]
    except JournalBusy:
        return []  # they are late, then
    transfer.run(new, journal)
    return new


def complain(sidecar: Transfer) -> None:
    """Say of a sidecar that it stays."""
    why = sidecar.error or sidecar.status
    logger.warning("The sidecar {!r} does not follow its image: {}", str(sidecar.row.source), why)


def _followed_before(row: Filing, journal: Journal) -> bool:
    return row.action != "move" and journal.filed_before(row.identity, row.source, None)
