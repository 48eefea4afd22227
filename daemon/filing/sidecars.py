"""Sidecars: files that belong to an image by their name, and travel with it.

``cat.xmp`` and ``cat.jpg.xmp`` belong to ``cat.jpg``; where the image becomes ``cat_2.jpg``, they become ``cat_2.xmp``
and ``cat_2.jpg.xmp``. An image is filed first, and its sidecars follow by the same kind of transfer; where one cannot,
the image stays filed. One whose name is taken stays where it is. Those of an unreadable image stay, to be there when it
comes back.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from loguru import logger

from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt
from daemon.files.sidecar_names import beginnings, best_exactness, exactness, film_of, is_film, owners, renamed
from daemon.files.source import Identity
from daemon.filing import transfer
from daemon.filing.held import HeldImages
from daemon.filing.status import Status, describe
from daemon.filing.transfer import Transfer
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing, State
from models.files.image_names import is_image_name
from models.text.language import tr

#: Seconds without a change until a sidecar counts as complete.
SETTLE_SECONDS = 2.0
#: Nanoseconds between a picture and a film of the same name that may be one shot: cameras use their names again.
ONE_SHOT = 24 * 3600 * 10**9
#: A folder's listing is used for this many times as long as it took to make; then the folder is listed again.
PAYS_FOR_ITSELF = 50
#: The most names that are remembered of one folder, and the most folders.
_MOST_NAMES, _MOST_FOLDERS = 100_000, 16
_MOST_COMPLAINTS = 10_000


class Sidecars:
    """Finds the sidecars beside images, without reading the folder for each image.

    A folder's names are listed once and remembered for as long as that pays; what comes in between is a late sidecar.
    Those of ``held`` images stay with them.
    """

    def __init__(self, held: HeldImages | None = None, *, settle_seconds: float = SETTLE_SECONDS) -> None:
        """``settle_seconds``: a sidecar that has changed since is late; in an inbox its writer may not be done."""
        self._held = held
        self._settle_seconds = settle_seconds
        self._listings: dict[Path, tuple[float, _Listing]] = {}

    def follow(self, images: Sequence[Transfer], journal: Journal) -> None:
        """File the sidecars of images that were just filed, where these are."""
        listings: dict[int, _Listing] = {}
        together: dict[int, list[str]] = {}
        transfers, sent = [], set()
        for image in images:
            together.setdefault(image.source.folder, []).append(image.source.name)
        for image in images:
            folder = image.source.folder
            if folder not in listings:
                listings[folder] = self._listing(image.row.source.parent, folder)
            for name in listings[folder].beside(image.source, together[folder]):
                if self._held is not None and self._held.keeps(image.row.source.with_name(name), image.source.name):
                    continue
                sidecar = None if (folder, name) in sent else self._follower(image, name)
                if sidecar:
                    sidecar.row.run = image.row.run
                    transfers.append(sidecar)
                    sent.add((folder, name))
        for sidecar in send(transfers, journal):
            if sidecar.status is not Status.FILED:
                complain(sidecar)

    def _follower(self, image: Transfer, name: str) -> Transfer | None:
        return follower(image.row, image.source, image.target, name, settle_seconds=self._settle_seconds)

    def _listing(self, folder: Path, descriptor: int) -> _Listing:
        now = time.monotonic()
        known = self._listings.get(folder)
        if known is not None and now < known[0]:
            return known[1]
        if folder not in self._listings and len(self._listings) >= _MOST_FOLDERS:
            self._listings.clear()
        listing = _Listing(list_sidecars(descriptor))
        end = time.monotonic()
        self._listings[folder] = end + PAYS_FOR_ITSELF * (end - now), listing
        return listing


class _Listing:
    """Sidecars in a folder by the keys of `owners`; and images, where asked for."""

    def __init__(self, sidecars: dict[str, list[str]]) -> None:
        self._sidecars = sidecars
        self._images: dict[str, list[str]] | None = None

    def beside(self, image: FileAt, together: Sequence[str]) -> list[str]:
        """List the names of an image's sidecars, without those of another image.

        ``together``: the images that were filed with it, and itself.
        """
        if not self._sidecars:
            return []
        names = {name for common in beginnings(image.name) for name in self._sidecars.get(common, ())}
        return sorted(name for name in names if self._is_of(name, image, together))

    def _is_of(self, name: str, image: FileAt, together: Sequence[str]) -> bool:
        exact = exactness(name, image.name)
        if exact is None or exact == best_exactness(name):
            return exact is not None
        if self._images is None:
            self._images = _list_images(image.folder, self._sidecars)
        others = {other for common in owners(name) for other in self._images.get(common, ())} - {*together, image.name}
        return not any(_is_better(exactness(name, other), exact) for other in together) and not any(
            _is_better(exactness(name, other), exact) and _is_there(image._replace(name=other)) for other in others
        )


def _is_better(one: int | None, other: int) -> bool:
    return one is not None and one < other


def _is_there(image: FileAt) -> bool:
    try:
        image.stat()
    except OSError:
        return False
    return True


def _list_images(folder: int, sidecars: dict[str, list[str]]) -> dict[str, list[str]]:
    """List the images in an open folder that have a part of their name in common with sidecars, by that part."""
    images: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_image_name(entry.name):
                    for common in beginnings(entry.name):
                        if common in sidecars:
                            images.setdefault(common, []).append(entry.name)
    except OSError as error:
        logger.debug("the images in a folder cannot be seen now: {}", error)
    return images


def list_sidecars(folder: int) -> dict[str, list[str]]:
    """List the sidecars in an open folder, by the part of the name that they have in common with their image."""
    sidecars: dict[str, list[str]] = {}
    count = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if (commons := owners(entry.name)) and (count := count + 1) <= _MOST_NAMES:
                    for common in commons:
                        sidecars.setdefault(common, []).append(entry.name)
    except OSError as error:
        logger.debug("the sidecars in a folder cannot be seen now: {}", error)
    return sidecars


def follower(
    image: Filing, source: FileAt, target: FileAt, name: str, *, settle_seconds: float = SETTLE_SECONDS
) -> Transfer | None:
    """Make the transfer of a sidecar whose image went from ``source`` to ``target``; None: it cannot follow yet."""
    sidecar = FileAt(source.folder, name)
    try:
        status = sidecar.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or abs(time.time() - status.st_mtime) < settle_seconds:
        return None
    if is_film(name) and not _is_one_shot(status, image):
        return None
    if (film := film_of(name)) and not _follows_film(film, image, source, target):
        return None
    wanted = renamed(name, source.name, target.name)
    row = Filing(
        state=State.INTENT,
        action=image.action,
        source=image.source.with_name(name),
        identity=Identity.from_stat(status),
        folder=image.folder,
        filed_name=wanted,
        image_id=image.id,
    )
    return Transfer(wanted, row, source=sidecar, target=FileAt(target.folder, wanted), exact=True)


def _is_one_shot(film: os.stat_result, image: Filing) -> bool:
    return abs(film.st_mtime_ns - image.identity.mtime_ns) <= ONE_SHOT


def _follows_film(film: str, image: Filing, source: FileAt, target: FileAt) -> bool:
    """Whether the film that a note belongs to goes where an image goes, or has gone there."""
    try:
        return _is_one_shot(FileAt(source.folder, film).stat(), image)
    except OSError:
        return _is_there(FileAt(target.folder, renamed(film, source.name, target.name)))


def send(transfers: Sequence[Transfer], journal: Journal) -> list[Transfer]:
    """Let sidecars follow their images, except those that have done so before; return those that were tried."""
    try:
        new = [sidecar for sidecar in transfers if not _followed_before(sidecar, journal)]
    except JournalBusy:
        return []  # they are late, then
    transfer.run(new, journal)
    return new


class Complaints:
    """Logs once of each sidecar that it does not follow its image; the last few thousand are remembered."""

    def __init__(self) -> None:
        self._logged: set[tuple[Path, Identity]] = set()

    def __call__(self, sidecar: Transfer) -> None:
        """Log why a sidecar did not follow its image; it is tried again as long as it may be late."""
        which = sidecar.row.source, sidecar.row.identity
        if sidecar.status is Status.STOPPED or which in self._logged:
            return
        if len(self._logged) >= _MOST_COMPLAINTS:
            self._logged.clear()
        self._logged.add(which)
        why = sidecar.error or (None if sidecar.status is None else describe(sidecar.status))
        logger.warning(
            tr("the sidecar '{source}' does not follow its image: {why}", source=str(sidecar.row.source), why=why)
        )


complain = Complaints()


def _followed_before(sidecar: Transfer, journal: Journal) -> bool:
    row = sidecar.row
    if row.action == "move":
        return False
    if journal.filed_before(row.identity, row.source, None):
        return True
    number = journal.same_filed(row.source, row.identity.size, lambda: _content(sidecar.source))
    if number is not None:
        journal.touch(number, row.identity)
    return number is not None


def _content(sidecar: FileAt) -> str | None:
    try:
        return sha256_of(sidecar)
    except OSError:
        return None
