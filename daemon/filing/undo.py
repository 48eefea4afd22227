"""Undo: images go back to where they came from, by the same transfer that filed them, and replace nothing there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from loguru import logger

from daemon.files import renaming
from daemon.files.copying import Stopping, sha256_of
from daemon.files.renaming import FileAt
from daemon.files.roots import NO_FOLDER, OpenFolders, Roots
from daemon.files.sidecar_names import renamed
from daemon.files.source import Identity
from daemon.filing import transfer
from daemon.filing.free_names import free_name
from daemon.filing.held import HeldImages
from daemon.filing.identity import is_filed_image, is_one_folder, is_unchanged, is_untouched
from daemon.filing.private_names import private_name
from daemon.filing.quarantine_notes import remove_reason
from daemon.filing.status import Status, describe, sentence
from daemon.filing.transfer import Transfer
from daemon.filing.untagging import earlier, take_back, take_out
from daemon.journal.held import Held
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.records import Filing, State
from models.text.language import tr

#: Most images of a group: one flush of the journal covers them, and each holds two folders open.
_GROUP_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Undone:
    """Result of undoing one filing. ``status`` is that of the way back.

    UNDONE: the image is back, at ``destination``, or its copy is removed. PLANNED: it would be, in a real run. GONE:
    it is no longer where it was filed. CHANGED: another file is there, or a copy without its original: it stays. RETRY:
    failed for now (``error``). STOPPED: the program was told to stop. ALREADY: there is nothing to undo.
    """

    filing: Filing
    status: Status
    destination: Path | None = None
    error: str | None = None
    held: bool = False


class _Return(NamedTuple):
    """A moved image that is to return, and the transfer that brings it back."""

    filing: Filing
    image: FileAt
    transfer: Transfer


class _Original(NamedTuple):
    """An image in the inbox of which the ``copy`` is to be removed; None where it has returned already, or has a tag.

    ``path`` is where it lies: not where it came from, if that name was taken when it returned. ``may_be_held``: as it
    is, it was not filed before that.
    """

    filing: Filing
    path: Path
    entry: FileAt
    identity: Identity
    copy: FileAt | None
    may_be_held: bool = True


#: Answers whether a name still is the filed image: `is_filed_image`, unless a caller knows more.
IsFiled = Callable[[FileAt, Filing], bool]


def undo(
    journal: Journal | None,
    filings: Iterable[Filing],
    roots: Roots | None = None,
    *,
    is_filed: IsFiled = is_filed_image,
    taken: set[Path] | None = None,
    held: HeldImages | None = None,
) -> Iterator[Undone]:
    """Undo filings, some at a time, in the order given (newest first, as a history yields them).

    A moved image moves back, and its sidecars with it; of a copy or link, the copy is removed while the original is
    still there; a tag is taken out; a refusal is forgotten. Without a journal it is a dry run, which changes nothing.
    Raises JournalBusy; then all those before are undone with their sidecars, and none of the rest. ``roots``: the
    inboxes and the output, see `Roots`. ``is_filed`` is asked about moved images only; the others are always recognised
    by `is_filed_image`. ``taken``: the names that a dry run has given out, and gives out. ``held``: what is back in an
    inbox is held there.
    """
    roots, taken = roots or Roots(), set() if taken is None else taken
    for group in _groups(filings):
        sidecars = {} if journal is None else {filing.id: _sidecars(journal, filing) for filing in group}
        results, changed = _undo(journal, group, roots, taken, is_filed, held)
        if journal is not None:
            for undone in results:
                if undone.status is Status.UNDONE:
                    beside = take_back(journal, undone.filing, sidecars[undone.filing.id], roots)
                    _bring_sidecars(journal, undone, beside, roots, taken)
            # Last of all: after a kill, only an image that is not marked as undone has its sidecars looked for.
            journal.write_later(changed)
        yield from results


def _groups(filings: Iterable[Filing]) -> Iterator[list[Filing]]:
    """Split filings into groups without a path in common, so that each group can go back together."""
    group: list[Filing] = []
    places: set[Path] = set()
    for filing in filings:
        touched = {path for path in (filing.source, filing.destination) if path is not None}
        if len(group) == _GROUP_SIZE or places & touched:
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
    is_filed: IsFiled = is_filed_image,
    held: HeldImages | None = None,
) -> tuple[list[Undone], list[Filing]]:
    """Undo a group of filings; also return the rows with a new state, which the caller writes to the journal.

    ``taken`` are the names that a dry run has given out. A real one gives none twice in a group: the journal knows what
    is held by its name, and before it is there.
    """
    if journal is not None:
        taken = set()
    with OpenFolders(roots) as folders:
        begun = [_begin(journal, filing, folders, taken, is_filed, held) for filing in filings]
        returns = [one for one in begun if isinstance(one, _Return)]
        originals = [one for one in begun if isinstance(one, _Original)]
        held_before = _held_among(originals, held)
        if journal is not None:
            _hold_originals(journal, originals, held)
            _bring_back(journal, returns, held)
        results = [_result(one, held, journal) for one in begun]
    if held is not None:
        filed_still = {
            one.path
            for one, undone in zip(begun, results, strict=True)
            if isinstance(one, _Original) and undone.status is not Status.UNDONE
        }
        with suppress(JournalBusy):
            held.release_at(filed_still - held_before)
    changed = [undone.filing for undone in results if undone.status is Status.UNDONE]
    return results, changed + [one.transfer.row for one in returns if one.transfer.status is Status.FILED]


def _held_among(originals: Sequence[_Original], held: HeldImages | None) -> set[Path]:
    """List the images that are held for another undo already: they stay so, whatever becomes of this one."""
    return {one.path for one in originals if held is not None and held.holds(one.path, one.identity)}


def _hold_originals(journal: Journal, originals: Sequence[_Original], held: HeldImages | None) -> None:
    """Hold images that are in an inbox already, before their copies are removed. Raises JournalBusy."""
    if held is None:
        return
    images = [
        Held(path=one.path, identity=one.identity, filing_id=one.filing.id)
        for one in originals
        if one.may_be_held and held.applies_to(one.path)
    ]
    if images:
        journal.write([], held=images)
        held.hold(images)


def _bring_back(journal: Journal, returns: Sequence[_Return], held: HeldImages | None) -> None:
    """Move images back; the journal has those that are to be held before they are there."""
    if held is not None:
        for one in returns:
            if held.applies_to(one.filing.source):
                one.transfer.undoes = one.filing
    wanted = [one.transfer.row.destination for one in returns]
    transfer.run([one.transfer for one in returns], journal)
    if held is None:
        return
    in_vain: set[Path] = set()
    back: set[Path] = set()
    for one, first in zip(returns, wanted, strict=True):
        image = one.transfer
        if image.undoes is None:
            continue
        if image.row.state is State.VOID and image.status is not Status.FILED:
            in_vain.add(one.filing.source if image.row.destination is None else image.row.destination)
        else:
            back.update(() if image.row.destination is None else [image.row.destination])
            held.hold(_as_it_is_there(journal, image))
        if first is not None and first != image.row.destination:
            in_vain.add(first)
    with suppress(JournalBusy):  # the next look at the held images finds out, too
        held.release_at(in_vain - back)  # a name that was given up may have become another's


def _as_it_is_there(journal: Journal, image: Transfer) -> list[Held]:
    """Return what is held as it is now: a file system may round the times of a copy."""
    with suppress(OSError, JournalBusy):
        there = Identity.from_stat(image.target.stat())
        now = [replace(held, identity=there) for held in image.held]
        if image.status is Status.FILED and any(held.identity != there for held in image.held):
            journal.write([], held=now)
        return now
    return image.held


def _begin(
    journal: Journal | None,
    filing: Filing,
    folders: OpenFolders,
    taken: set[Path],
    is_filed: IsFiled,
    held: HeldImages | None,
) -> Undone | _Return | _Original:
    """Prepare the return of an image that was moved, or the removal of a copy; or say what else becomes of it."""
    if filing.state in (State.REFUSED, State.LEFT):
        return _planned(filing) if journal is None else _succeeded(filing)
    if filing.state is not State.DONE or (filing.destination is None and filing.action != "tag"):
        return Undone(filing=filing, status=Status.ALREADY)
    try:
        image = folders.entry(filing.destination or filing.source)
        if not (is_filed if filing.action == "move" else is_filed_image)(image, filing):
            return Undone(filing=filing, status=Status.CHANGED)
        if filing.action == "tag":
            if journal is None:
                return _planned(filing)
            before, status = earlier(journal, filing), image.stat()
            is_tagged_still = before is not None and is_untouched(status, before)
            return _Original(
                filing, filing.source, image, Identity.from_stat(status), None, may_be_held=not is_tagged_still
            )
        if filing.action != "move":
            return _original_of(journal, filing, image, folders)
        if journal is not None:
            return _prepare_return(journal, filing, image, folders, taken)
        return _planned(filing, _choose_free(filing.source, taken, folders))
    except FileNotFoundError:
        return _gone(journal, filing, folders, held)
    except Stopping:
        return Undone(filing=filing, status=Status.STOPPED)
    except OSError as error:
        return Undone(filing=filing, status=Status.RETRY, error=sentence(filing, error))


def _gone(journal: Journal | None, filing: Filing, folders: OpenFolders, held: HeldImages | None) -> Undone | _Original:
    """An image that is not where it was filed may be back already: an undo was killed before its sidecars followed.

    For a copy, that is certain only if its original is held because of this filing.
    """
    is_move = filing.action == "move"
    path = (held.back_at(filing) if held is not None and is_move else None) or filing.source
    with suppress(OSError):
        image = folders.entry(path)
        identity = Identity.from_stat(image.stat())
        if is_filed_image(image, filing) if is_move else held is not None and held.is_held_for(filing, identity):
            if journal is None:
                return _planned(filing, path if is_move else None)
            return _Original(filing, path, image, identity, copy=None)
    return Undone(filing=filing, status=Status.GONE)


def _prepare_return(journal: Journal, filing: Filing, image: FileAt, folders: OpenFolders, taken: set[Path]) -> _Return:
    assert filing.destination is not None
    inbox = folders.entry(filing.source, make=True)
    target = inbox._replace(name=_choose_free(filing.source, taken, folders).name)
    status = image.stat()
    row = replace(
        filing,
        state=State.INTENT,
        source=filing.destination,
        identity=Identity.from_stat(status),
        sha256=(filing.sha256 if is_untouched(status, filing) else None) or sha256_of(image),
        folder=filing.source.parent,
        filed_name=target.name,
        copy_ino=None,
        reason=None,
        run=journal.run,
        id=None,
    )
    return _Return(filing, image, Transfer(filing.source.name, row, source=image, target=target, is_return=True))


def _result(finished: Undone | _Return | _Original, held: HeldImages | None, journal: Journal | None) -> Undone:
    """Say what became of an image, and set the new states."""
    match finished:
        case _Return():
            return _returned(finished)
        case _Original():
            undone = _untagged(finished, journal) if finished.filing.action == "tag" else _undone_beside(finished)
            if held is None or undone.status is not Status.UNDONE:
                return undone
            return replace(undone, held=finished.may_be_held and held.applies_to(finished.path))
        case _:
            return finished


def _returned(finished: _Return) -> Undone:
    """Say what became of an image that was to return. Set the new states where it did: its transfer is no filing."""
    filing, transferred = finished.filing, finished.transfer
    assert transferred.status is not None
    if transferred.status is not Status.FILED:
        return Undone(filing=filing, status=transferred.status, error=transferred.error)
    if filing.reason is not None:
        remove_reason(finished.image, filing)
    # VOID deletes the row, also one that was to stay until its folder is flushed.
    filing.state, transferred.row.state = State.UNDONE, State.VOID
    is_held = transferred.undoes is not None
    return Undone(filing=filing, status=Status.UNDONE, destination=transferred.row.destination, held=is_held)


def _untagged(original: _Original, journal: Journal | None) -> Undone:
    why = None if journal is None else take_out(journal, original.filing, original.entry)
    if why is None:
        return _succeeded(original.filing)
    return Undone(filing=original.filing, status=Status.RETRY, error=why)


def _undone_beside(original: _Original) -> Undone:
    """Remove the copy of an image in the inbox, while that is there unchanged."""
    filing, copy = original.filing, original.copy
    if copy is None:
        return _succeeded(filing, original.path if filing.action == "move" else None)

    def is_one_of_two(entry: FileAt) -> bool:
        # Two mounts may show one file under both names: then the original is gone once the copy has its private name.
        return is_filed_image(entry, filing) and is_unchanged(original.entry, original.identity)

    try:
        if renaming.drop(copy, private_name("drop", filing), is_one_of_two):
            return _succeeded(filing)
    except FileNotFoundError:
        return Undone(filing=filing, status=Status.GONE)
    except OSError as error:
        return Undone(filing=filing, status=Status.RETRY, error=sentence(filing, error))
    return Undone(filing=filing, status=Status.CHANGED)


def _sidecars(journal: Journal, image: Filing) -> list[Filing]:
    return [] if image.id is None else journal.sidecars(image.id)


def _bring_sidecars(journal: Journal, undone: Undone, sidecars: list[Filing], roots: Roots, taken: set[Path]) -> None:
    """Undo the sidecars of an image, to where it went; where that fails it is only logged."""
    image, destination = undone.filing, undone.destination
    if image.destination is None:
        return
    for sidecar in sidecars:
        assert sidecar.destination is not None
        if destination is not None:
            name = sidecar.source.name  # where the image has its old name, so has the sidecar
            if destination.name != image.source.name:
                name = renamed(sidecar.destination.name, image.destination.name, destination.name)
            sidecar.source = destination.with_name(name)
    results, changed = _undo(journal, sidecars, roots, taken)
    journal.write_later(changed)
    for result in results:
        if result.status is not Status.UNDONE:
            logger.warning(
                tr(
                    "the sidecar '{destination}' stays: {error}",
                    destination=result.filing.destination,
                    error=result.error or describe(result.status),
                )
            )


def _choose_free(path: Path, taken: set[Path], folders: OpenFolders) -> Path:
    """Choose the path that an image returns to, whether its folder exists or not, and take it. Raises OSError."""
    try:
        folder = folders.entry(path).folder
    except FileNotFoundError:
        folder = None
    free = path.with_name(free_name(folder, path.name, lambda name: path.with_name(name) in taken))
    taken.add(free)
    return free


def _original_of(journal: Journal | None, filing: Filing, copy: FileAt, folders: OpenFolders) -> Undone | _Original:
    """Find the original of a copy: it must be there with the same content, and be another file or name."""
    stays = Undone(filing=filing, status=Status.CHANGED)
    try:
        original = folders.entry(filing.source)
        if is_one_folder(original.folder, copy.folder):
            return stays  # its folder was replaced by that of the copy, or this one is mounted there
        before = Identity.from_stat(original.stat())
        if sha256_of(original) != sha256_of(copy):
            return stays
    except NO_FOLDER:
        return stays
    return _planned(filing) if journal is None else _Original(filing, filing.source, original, before, copy)


def _planned(filing: Filing, destination: Path | None = None) -> Undone:
    return Undone(filing=filing, status=Status.PLANNED, destination=destination)


def _succeeded(filing: Filing, destination: Path | None = None) -> Undone:
    filing.state = State.UNDONE
    return Undone(filing=filing, status=Status.UNDONE, destination=destination)
