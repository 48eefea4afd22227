"""Undo: images go back to where they came from, by the same transfer that filed them, and replace nothing there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from loguru import logger

from daemon.files import renaming
from daemon.files.copying import sha256_of
from daemon.files.renaming import Entry
from daemon.files.roots import NO_FOLDER, OpenFolders, Roots
from daemon.files.sidecar_names import renamed
from daemon.files.source import Identity
from daemon.filing import transfer
from daemon.filing.free_names import free_name
from daemon.filing.identity import is_filed_or_edited, is_one_folder, is_unchanged
from daemon.filing.private_names import private_name
from daemon.filing.quarantine_notes import read_reason, reason_name
from daemon.filing.status import Status, said, sentence
from daemon.filing.transfer import Transfer
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from models.text.language import tr

#: The most images that go back together: one flush of the journal covers them. Each holds two folders open.
_TOGETHER = 64


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What became of one filing that was to be undone.

    FILED: the image is back, at ``destination``, or its copy is gone. PLANNED: a dry run; it would be so. GONE: it is
    not where it was filed any more. CHANGED: what lies there is another file, or the last of its kind, and stays.
    RETRY: failed for now (``error``). ALREADY: there is nothing to undo.
    """

    filing: Filing
    status: Status
    destination: Path | None = None
    error: str | None = None


class _Back(NamedTuple):
    """A filing on its way back, and where its image lies before that."""

    filing: Filing
    image: Entry
    transfer: Transfer


#: Whether a name stands for the image that was filed: `is_filed_or_edited`, or what a caller knows better.
IsFiled = Callable[[Entry, Filing], bool]


def undo(
    journal: Journal | None,
    filings: Iterable[Filing],
    roots: Roots | None = None,
    *,
    is_filed: IsFiled = is_filed_or_edited,
) -> Iterator[Undone]:
    """Undo filings, some at a time, in the order given (newest first, as a history yields them).

    A moved image moves back, and its sidecars with it; of a copy or link, the copy is removed while the original is
    still there; a refusal is forgotten. Without a journal it is a dry run, which changes nothing. Raises JournalBusy;
    then all those before are undone with their sidecars, and none of the rest. ``roots``: the inboxes and the output,
    see `Roots`. ``is_filed`` tells an image that was moved; of copies and sidecars the ordinary answer counts.
    """
    roots, taken = roots or Roots(), set[Path]()
    for group in _groups(filings):
        sidecars = {} if journal is None else {filing.id: _sidecars(journal, filing) for filing in group}
        results, served = _undo(journal, group, roots, taken, is_filed)
        if journal is not None:
            for undone in results:
                if undone.status is Status.FILED:
                    _bring_sidecars(journal, undone, sidecars[undone.filing.id], roots, taken)
            journal.write_later(served)  # last of all: else nobody would look for sidecars after a kill
        yield from results


def _groups(filings: Iterable[Filing]) -> Iterator[list[Filing]]:
    """Split filings into groups without a path in common, so that each group can go back together."""
    group: list[Filing] = []
    places: set[Path] = set()
    for filing in filings:
        touched = {path for path in (filing.source, filing.destination) if path is not None}
        if len(group) == _TOGETHER or places & touched:
            yield group
            group, places = [], set()
        group.append(filing)
        places |= touched
    if group:
        yield group


def _undo(
    journal: Journal | None,
    filings: Sequence[Filing],
    roots: Roots,
    taken: set[Path],
    is_filed: IsFiled = is_filed_or_edited,
) -> tuple[list[Undone], list[Filing]]:
    """Undo a group of filings; also return the rows that have served, which are to be written.

    ``taken`` are the names that a dry run has given out.
    """
    with OpenFolders(roots) as folders:
        ways = [_begin(journal, filing, folders, taken, is_filed) for filing in filings]
        backs = [way for way in ways if isinstance(way, _Back)]
        if journal is not None:
            transfer.run([back.transfer for back in backs], journal)
        results = [_ended(way) if isinstance(way, _Back) else way for way in ways]
    served = [undone.filing for undone in results if undone.status is Status.FILED]
    return results, served + [back.transfer.row for back in backs if back.transfer.status is Status.FILED]


def _begin(
    journal: Journal | None, filing: Filing, folders: OpenFolders, taken: set[Path], is_filed: IsFiled
) -> Undone | _Back:
    """Undo a filing, but for an image that is to move: that is made ready."""
    if filing.state is State.REFUSED:
        return _succeeded(filing, dry_run=journal is None)
    if filing.state is not State.DONE or filing.destination is None:
        return Undone(filing=filing, status=Status.ALREADY)
    try:
        image = folders.entry(filing.destination)
        if not (is_filed if filing.action == "move" else is_filed_or_edited)(image, filing):
            return Undone(filing=filing, status=Status.CHANGED)
        if filing.action != "move":
            return _remove_copy(journal, filing, image, folders)
        if journal is not None:
            return _way_back(journal, filing, image, folders)
        taken.add(free := _free(filing.source, taken, folders))
        return Undone(filing=filing, status=Status.PLANNED, destination=free)
    except FileNotFoundError:
        return _gone(journal, filing, folders)
    except OSError as error:
        return Undone(filing=filing, status=Status.RETRY, error=sentence(filing, error))


def _gone(journal: Journal | None, filing: Filing, folders: OpenFolders) -> Undone:
    """An image that is not where it was filed may be back already: an undo was killed before its sidecars followed."""
    with suppress(OSError):
        if filing.action == "move" and is_filed_or_edited(folders.entry(filing.source), filing):
            return _succeeded(filing, filing.source, dry_run=journal is None)
    return Undone(filing=filing, status=Status.GONE)


def _way_back(journal: Journal, filing: Filing, image: Entry, folders: OpenFolders) -> _Back:
    assert filing.destination is not None
    inbox = folders.entry(filing.source, make=True)
    target = inbox._replace(name=free_name(inbox.folder, inbox.name))
    row = replace(
        filing,
        state=State.INTENT,
        source=filing.destination,
        identity=Identity.from_stat(image.status()),
        sha256=sha256_of(image),
        folder=filing.source.parent,
        filed_name=target.name,
        copy_ino=None,
        reason=None,
        run=journal.run,
        id=None,
    )
    return _Back(filing, image, Transfer(filing.source.name, row, source=image, target=target))


def _ended(back: _Back) -> Undone:
    """What came of an image's way back; where it arrived, the row of that way has served."""
    filing, way = back.filing, back.transfer
    assert way.status is not None
    if way.status is not Status.FILED:
        return Undone(filing=filing, status=way.status, error=way.error)
    if filing.reason is not None:
        _remove_note(back.image, filing)
    filing.state, way.row.state = State.UNDONE, State.VOID
    return Undone(filing=filing, status=Status.FILED, destination=way.row.destination)


def _sidecars(journal: Journal, image: Filing) -> list[Filing]:
    return [] if image.id is None else journal.sidecars(image.id)


def _bring_sidecars(journal: Journal, undone: Undone, sidecars: list[Filing], roots: Roots, taken: set[Path]) -> None:
    """Let the sidecars of an image go where it went; their trouble is only logged."""
    image, back = undone.filing, undone.destination
    if image.destination is None:
        return
    for sidecar in sidecars:
        assert sidecar.destination is not None
        if back is not None:
            name = sidecar.source.name  # where the image has its old name, so has the sidecar
            if back.name != image.source.name:
                name = renamed(sidecar.destination.name, image.destination.name, back.name)
            sidecar.source = back.with_name(name)
    results, served = _undo(journal, sidecars, roots, taken)
    journal.write_later(served)
    for came in results:
        if came.status is not Status.FILED:
            logger.warning(
                tr(
                    "the sidecar '{destination}' stays: {error}",
                    destination=came.filing.destination,
                    error=came.error or said(came.status),
                )
            )


def _free(path: Path, taken: set[Path], folders: OpenFolders) -> Path:
    """Where an image would come to lie, if its folder is there or not. Raises OSError."""
    try:
        folder = folders.entry(path).folder
    except FileNotFoundError:
        folder = None
    return path.with_name(free_name(folder, path.name, lambda name: path.with_name(name) in taken))


def _remove_copy(journal: Journal | None, filing: Filing, image: Entry, folders: OpenFolders) -> Undone:
    """Remove a copy while its original is there with the same content, and is another file or name."""
    stays = Undone(filing=filing, status=Status.CHANGED)
    try:
        original = folders.entry(filing.source)
        if is_one_folder(original.folder, image.folder):
            return stays  # its folder is the copy's own now, or was mounted there
        before = Identity.from_stat(original.status())
        if sha256_of(original) != sha256_of(image):
            return stays
    except NO_FOLDER:
        return stays
    if journal is None:
        return _succeeded(filing, dry_run=True)

    def is_one_of_two(copy: Entry) -> bool:
        # Where the two are one in a way that nobody can see, the original is gone as soon as the copy is claimed.
        return is_filed_or_edited(copy, filing) and is_unchanged(original, before)

    if renaming.drop(image, private_name("drop", filing), is_one_of_two):
        return _succeeded(filing)
    return stays


def _succeeded(filing: Filing, back: Path | None = None, *, dry_run: bool = False) -> Undone:
    if dry_run:
        return Undone(filing=filing, status=Status.PLANNED, destination=back)
    filing.state = State.UNDONE
    return Undone(filing=filing, status=Status.FILED, destination=back)


def _remove_note(image: Entry, filing: Filing) -> None:
    """Take away the note that was written beside a quarantined image, if it is that note."""
    note = read_reason(image)
    same = filing.sha256 is not None and note.get("sha256") == filing.sha256
    if same or note.get("source") == str(filing.source):
        with suppress(OSError):
            Entry(image.folder, reason_name(image)).unlink()
