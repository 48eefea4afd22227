"""Take tags back: an undo takes ours out of the sidecar, or puts in the one that the image had before."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from loguru import logger

from daemon.files import tag_files
from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt
from daemon.files.roots import OpenFolders, Roots
from daemon.files.source import Identity
from daemon.filing.status import sentence
from daemon.filing.tagging import Tagging, carry_out, clear_up, tag_of
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from models.text.printable import shown
from models.xmp.document import XmpError
from models.xmp.tags import Tag


def earlier(journal: Journal, filing: Filing) -> Filing | None:
    """Find the filing before this one: it put the image where this one took it from. Raises JournalBusy."""
    rows = journal.filed_with_inode([filing.identity.ino])
    return next((row for row in rows if row.destination == filing.source and _is_before(row, filing)), None)


def _is_before(row: Filing, filing: Filing) -> bool:
    is_of_image = row.image_id is None and row.reason is None
    return is_of_image and row.id is not None and filing.id is not None and row.id < filing.id


def has_lost_tag(filing: Filing, roots: Roots) -> bool:
    """Whether somebody has removed the tag of a filing, or its sidecar, since."""
    with suppress(OSError, XmpError), OpenFolders(roots) as folders:
        return tag_files.read_own(folders.entry(filing.source)) is None
    return False


def take_out(journal: Journal, filing: Filing, image: FileAt) -> str | None:
    """Take the tag of a filing out, or put in the one before; a sentence where this cannot be done now.

    Raises JournalBusy.
    """
    before = earlier(journal, filing)
    return untag(filing, image, None if before is None else tag_of(before))


def untag(filing: Filing, image: FileAt, tag: Tag | None) -> str | None:
    """Put the tag that an image had before in place of that of a filing; a sentence where this cannot be done now."""
    tagging = Tagging(filing, image, tag)
    try:
        clear_up(image, filing, tag)
        tagging.prepare()
        carry_out([tagging])
    except OSError as error:
        return sentence(filing, error)
    return tagging.refusal or (None if tagging.error is None else sentence(filing, tagging.error))


def take_back(journal: Journal, filing: Filing, sidecars: list[Filing], roots: Roots) -> list[Filing]:
    """Untag an image that has gone back, where its filing had put it; returns its ``sidecars``, and any that we made.

    Raises JournalBusy.
    """
    if filing.action == "tag" or filing.destination is None:
        return sidecars
    with suppress(OSError, XmpError), OpenFolders(roots) as folders:
        place = folders.entry(filing.destination)
        if tag_files.read_own(place) is None:
            return sidecars
        if (why := take_out(journal, filing, place)) is not None:
            logger.warning("{}", shown(why))
        sidecar = tag_files.sidecar_of(place)
        path = filing.destination.with_name(sidecar.name)
        for row in sidecars:
            if row.destination == path and row.action == "link" and row.sha256 is None:
                row.sha256 = sha256_of(folders.entry(row.source))  # a link that was tagged is a file of its own
        if filing.action == "move" and path not in [row.destination for row in sidecars]:
            return [*sidecars, _made_there(filing, path, Identity.from_stat(sidecar.stat()))]
    return sidecars


def _made_there(filing: Filing, path: Path, identity: Identity) -> Filing:
    """Make the row of a sidecar that we have made beside an image, to go back with it."""
    return replace(
        filing,
        id=None,
        state=State.DONE,
        source=filing.source.with_name(path.name),
        identity=identity,
        sha256=None,
        folder=path.parent,
        filed_name=path.name,
        copy_ino=None,
        label=None,
        confidence=None,
        model_digest=None,
        detail=None,
        image_id=filing.id,
    )
