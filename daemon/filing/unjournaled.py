"""Find quarantined images that the journal does not know: it was lost or set aside, or somebody put them there."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from loguru import logger

from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt, close
from daemon.files.roots import Roots
from daemon.files.source import Identity
from daemon.filing.quarantine_notes import read_reason
from daemon.journal.records import Filing, State
from models.errors import UserError
from models.files.leftovers import is_leftover
from models.text.language import tr


def unjournaled_images(
    quarantine: Path,
    inboxes: Sequence[Path],
    known: Collection[Path | None],
    reasons: Collection[str],
    roots: Roots | None = None,
) -> Iterator[Filing]:
    """Yield what the journal would say of images in ``quarantine/<reason>/`` that are not ``known`` destinations.

    They go back to where the note beside them says they came from, if that is a folder of an inbox, else into the first
    inbox; raises UserError where that is not there. ``reasons``: only these kinds; empty means any.
    """
    for folder in reason_folders(quarantine):
        if reasons and folder.name not in reasons:
            continue
        try:
            descriptor = (roots or Roots()).open_folder(folder)
        except OSError as error:
            logger.warning(tr("'{folder}' cannot be read: {reason}", folder=str(folder), reason=error.strerror))
            continue
        try:
            for name in sorted(os.listdir(descriptor)):  # noqa: PTH208 - of the open folder
                hidden = name.startswith(".") or is_leftover(name)
                if not hidden and not name.endswith(".json") and folder / name not in known:
                    yield from _as_filed(FileAt(descriptor, name), folder, inboxes)
        finally:
            close(descriptor)


def reason_folders(quarantine: Path) -> list[Path]:
    """List the folders in a quarantine, each named for a reason; none where there is no quarantine."""
    try:
        folders = [path for path in quarantine.iterdir() if path.is_dir() and not path.is_symlink()]
        return sorted(path for path in folders if not is_leftover(path.name))
    except OSError:
        return []


def _as_filed(image: FileAt, folder: Path, inboxes: Sequence[Path]) -> Iterator[Filing]:
    try:
        status = image.stat()
        if not stat.S_ISREG(status.st_mode):
            return
        sha256 = sha256_of(image)
    except OSError as error:
        logger.warning(
            tr("'{folder}' cannot be read: {reason}", folder=str(folder / image.name), reason=error.strerror)
        )
        return
    note = read_reason(image)
    yield Filing(
        state=State.DONE,
        action="move",
        source=_origin(note.get("source"), inboxes) or _first(inboxes) / image.name,
        identity=Identity.from_stat(status),
        sha256=sha256,
        folder=folder,
        filed_name=image.name,
        reason=folder.name,
        detail=tr("the journal did not know it"),
    )


def _origin(noted: object, inboxes: Sequence[Path]) -> Path | None:
    """Return where a note says that an image came from, if it may go there: anybody can write a note."""
    if not isinstance(noted, str) or "\0" in noted:
        return None
    source = Path(noted)
    folder = source.parent.resolve()
    is_in_inbox = any(folder.is_relative_to(inbox) for inbox in inboxes)
    return folder / source.name if is_in_inbox and folder.is_dir() and source.name not in ("", "..") else None


def _first(inboxes: Sequence[Path]) -> Path:
    if not inboxes[0].is_dir():
        raise UserError(
            tr(
                "there are quarantined images that the journal does not know, and the inbox to bring them back to, "
                "{inboxes}, is not there: name the inbox as watch in config.toml or in IMAGESORTD_WATCH",
                inboxes=inboxes[0],
            )
        )
    return inboxes[0]
