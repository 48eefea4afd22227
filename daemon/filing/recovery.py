"""Recovery: finish or take back what a crash interrupted, at the next start, before anything new is filed.

A destination counts as ours only with the inode and the content that are in the journal: a file that somebody else
put there with the same bytes is theirs. What cannot be decided (a folder cannot be opened now) is left to the next
start.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from loguru import logger

from daemon.files import renaming
from daemon.files.copying import Stopping, report_progress, sha256_of
from daemon.files.renaming import FileAt, close
from daemon.files.roots import NO_FOLDER, OpenFolders, Roots
from daemon.files.source import OPEN_FLAGS, BeingWritten, Identity
from daemon.files.writers import is_being_written, unlink_closed
from daemon.filing import tagging
from daemon.filing.growth import is_earlier_state
from daemon.filing.identity import is_as_read, is_one_folder, is_put_here, is_same_inode, is_unchanged
from daemon.filing.private_names import private_name
from daemon.filing.quarantine_notes import complete_reason, lacks_reason
from daemon.filing.transfer import NOT_MADE_YET
from daemon.filing.untagging import earlier
from daemon.journal.held import Held
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from models.files.atomic import sync_folder
from models.text.language import tr

#: Filings that are read at a time.
_MANY = 1_000
#: The last filings, whose notes may be missing: more than are ever filed at a time.
_LAST = 256


def recover(journal: Journal, roots: Roots | None = None) -> Counter[State]:
    """Finish or take back every interrupted filing; count the states they end in (VOID: to be filed again).

    ``roots``: the inboxes and the output, see `Roots`. Raises JournalBusy.
    """
    rows = journal.interrupted()
    # Tags come last: a sidecar that has gone after its image would not be recognised any more once it has one.
    for row in sorted(rows, key=lambda row: row.action == "tag"):
        try:
            report_progress()
            with OpenFolders(roots or Roots()) as folders:
                if row.action == "tag":
                    tagging.recover(row, folders)
                else:
                    InterruptedFiling(row, folders).recover()
        except Stopping:
            break
        except OSError as error:
            logger.warning(
                tr(
                    "'{source}' cannot be recovered now, and is at the next start: {error}",
                    source=str(row.source),
                    error=error,
                )
            )
    ends = Counter(row.state for row in rows if row.action != "tag" or row.image_id is None)
    held = journal.held()
    _recover_returns(rows, held, journal)
    journal.write(rows)
    _clear_up_after_undo([image.filing_id for image in held if image.filing_id is not None], journal, roots or Roots())
    _complete_notes(journal, roots or Roots())
    return ends


def _complete_notes(journal: Journal, roots: Roots) -> None:
    """Write the notes of quarantined images that are missing since a kill. Raises JournalBusy."""
    for row in journal.history(Wanted(states=[State.DONE], as_written=True), _LAST):
        if row.reason is not None and row.destination is not None:
            with suppress(OSError), OpenFolders(roots) as folders:
                image = folders.entry(row.destination)
                if lacks_reason(image) and is_put_here(image, row, None):
                    complete_reason(image, row)


def _recover_returns(rows: Sequence[Filing], held: Sequence[Held], journal: Journal) -> None:
    """Of images that an undo was bringing back, hold those that are there, and no others. Raises JournalBusy.

    Their rows go: a return is no filing. The filing itself stays as it is until its undo is asked for once more, which
    finds the image back and brings its sidecars.
    """
    places = {image.path for image in held}
    came_to_nothing = set()
    for row in rows:
        if row.destination is None or row.destination not in places:
            continue
        if row.state is State.VOID:
            came_to_nothing.add(row.destination)
        elif row.state is State.DONE:
            row.state = State.VOID
    if came_to_nothing:
        journal.release([image for image in held if image.path in came_to_nothing])


def _clear_up_after_undo(filing_ids: Sequence[int], journal: Journal, roots: Roots) -> None:
    """Clear up where an undo was killed, before it had marked these filings. Raises JournalBusy.

    Copies that it was about to remove get their names back, and so do their sidecars; what it was writing into
    sidecars goes.
    """
    for start in range(0, len(filing_ids), _MANY):
        for row in journal.history(Wanted(ids=filing_ids[start : start + _MANY], states=[State.DONE])):
            _clear_up_tags(row, journal, roots)
            if row.action in ("copy", "link") and row.id is not None:
                for copied in (row, *journal.sidecars(row.id)):
                    _name_copy_again(copied, roots)


def _clear_up_tags(row: Filing, journal: Journal, roots: Roots) -> None:
    with suppress(OSError), OpenFolders(roots) as folders:
        image = folders.entry(row.destination or row.source)
        if tagging.is_left_half(image, row):
            before = earlier(journal, row)
            tagging.clear_up(image, row, None if before is None else tagging.tag_of(before))


def _name_copy_again(row: Filing, roots: Roots) -> None:
    assert row.destination is not None
    with suppress(OSError), OpenFolders(roots) as folders:
        copy = folders.entry(row.destination)
        hidden = copy._replace(name=private_name("drop", row))
        if hidden.exists():
            renaming.put_back(hidden, copy)


class InterruptedFiling:
    """An interrupted filing, and the names that its file may have."""

    def __init__(self, row: Filing, folders: OpenFolders) -> None:
        assert row.destination is not None
        self._row = row
        self._source = _entry(row.source, folders)
        self._target = _entry(row.destination, folders)
        if self._source and self._target and is_one_folder(self._source.folder, self._target.folder):
            # The source folder was replaced by the output's, or is reached through a mount: both names are one file,
            # which must not count as its own original.
            self._source = None
        self._claimed_original = _beside(self._source, private_name("claim", row))
        # The private names are explained in `private_name`.
        self._unnamed_copy = _beside(self._target, private_name("part", row))
        self._copy_being_named = _beside(self._target, private_name("place", row))
        self._copy_being_removed = _beside(self._target, private_name("drop", row))

    def recover(self) -> None:
        """Finish the filing or take it back, and say which in the state of its row. Raises OSError.

        An unchanged original comes first; then an original that its writer has changed since; a copy counts only where
        neither is left.
        """
        original = next((entry for entry in (self._source, self._claimed_original) if self._is_original(entry)), None)
        arrived = self.is_ours(self._target)
        if original is not None:
            self._recover_with_original(original, arrived)
        elif self._has_writer_continued(arrived):
            self._return_to_inbox(arrived)
        elif arrived:
            self._finish()
        elif self.is_ours(self._copy_being_removed):
            # The copy was being removed while the original was still there; now the copy is the only one left.
            assert self._copy_being_removed is not None
            assert self._target is not None
            renaming.put_back(self._copy_being_removed, self._target)
            self._finish()
        elif self._source is None or self._target is None:
            raise FileNotFoundError(tr("its folder is not there"))
        else:
            self._give_up()

    def _recover_with_original(self, original: FileAt, arrived: bool) -> None:
        with suppress(BeingWritten):
            if arrived and self._flush_copy():
                if self._row.action == "move":
                    self._drop_original(original)
                self._finish()
                return
        if self._target is not None and (arrived or self._is_unfinished_copy()):
            self._target.unlink()
        self._remove(self._unnamed_copy, self._copy_being_named, self._copy_being_removed)
        if original == self._claimed_original and self._source is not None:
            renaming.put_back(original, self._source)
        self._row.state = State.VOID

    def _has_writer_continued(self, arrived: bool) -> bool:
        """Whether a program has written to the image since it was renamed or copied, or may still do so."""
        if self._row.action != "move" or self._source is None or self._target is None:
            return False
        if _stat_of(self._claimed_original) is not None:
            return True
        if self._is_moved():
            return not arrived or is_being_written(self._target)
        if not self._is_source_there():
            return False
        copies = (self._target if arrived else None, self._unnamed_copy, self._copy_being_named)
        return all(is_earlier_state(copy, self._source) for copy in copies if copy is not None and _stat_of(copy))

    def _is_source_there(self) -> bool:
        """Whether the image is still in the inbox; `recover` has ruled out that it is unchanged."""
        return self._source is not None and self._is_itself(self._source)

    def _is_moved(self) -> bool:
        """Whether the destination is the original itself, renamed, edited or not."""
        if self._target is None or self._row.copy_ino is not None or not self._is_itself(self._target):
            return False
        # Inode numbers of another file system mean nothing.
        return self._source is None or os.fstat(self._source.folder).st_dev == self._target.stat().st_dev

    def _is_itself(self, entry: FileAt) -> bool:
        return entry.exists() and is_same_inode(entry, self._row, self._row.identity.ino)

    def _return_to_inbox(self, arrived: bool) -> None:
        """Return the image to its name in the inbox and remove its copies: once it is complete, it is filed again."""
        assert self._source is not None
        assert self._target is not None
        if self._claimed_original is not None and self._claimed_original.exists():
            renaming.put_back(self._claimed_original, self._source)
        source, target = _stat_of(self._source), _stat_of(self._target)
        if self._is_moved():
            if source is not None and target is not None and os.path.samestat(source, target):
                self._target.unlink()
            else:
                renaming.put_back(self._target, self._source)
        elif arrived:
            self._target.unlink()
        self._remove(self._unnamed_copy, self._copy_being_named, self._copy_being_removed)
        self._row.state = State.VOID

    def _give_up(self) -> None:
        """Mark the filing as an orphan: the image is at neither place. Keep a complete copy, which may be the last."""
        row, kept = self._row, None
        for entry in (self._unnamed_copy, self._copy_being_named):
            if entry is None or not entry.exists():
                continue
            if row.sha256 in (None, sha256_of(entry)):
                kept = entry.name
            else:
                entry.unlink()
        row.state = State.ORPHAN
        row.detail = tr("somebody moved it while the program was stopped")
        if kept is not None:
            row.detail = tr("somebody moved it while the program was stopped; a copy is kept as {name}", name=kept)
        source, destination = str(row.source), str(row.destination)
        logger.error(
            tr(
                "'{source}' is neither in the inbox nor at '{destination}': {detail}",
                source=source,
                destination=destination,
                detail=row.detail,
            )
        )

    def _flush_copy(self) -> bool:
        """Make the copy durable; return False when the flush failed, so that the copy must be made again."""
        assert self._target is not None
        try:
            with _opened(self._target) as descriptor:
                os.fsync(descriptor)
            sync_folder(self._target.folder)
        except OSError as error:
            if self._row.copy_ino is None:
                raise
            logger.warning(
                tr(
                    "the copy '{destination}' cannot be flushed: {error}",
                    destination=str(self._row.destination),
                    error=error,
                )
            )
            return False
        return True

    def _drop_original(self, original: FileAt) -> None:
        if original == self._claimed_original:
            unlink_closed(original, self._is_original)
        else:
            assert self._claimed_original is not None
            assert self._target is not None
            target, copy = self._target, Identity.from_stat(self._target.stat())
            # Two mounts may show one file under both names unnoticed: then claiming the original takes the copy away.
            renaming.drop(
                original,
                self._claimed_original.name,
                lambda entry: self._is_original(entry) and is_unchanged(target, copy),
                unlink_closed,
            )
        sync_folder(original.folder)

    def _finish(self) -> None:
        self._remove(self._unnamed_copy, self._copy_being_named, self._copy_being_removed)
        self._row.state = State.DONE
        if self._row.reason is None or self._target is None:
            return
        if lacks_reason(self._target):
            complete_reason(self._target, self._row)

    def _is_original(self, entry: FileAt | None) -> bool:
        return entry is not None and entry.exists() and is_as_read(entry, self._row)

    def is_ours(self, entry: FileAt | None) -> bool:
        """Whether this filing put the file there, by a copy or a rename."""
        return entry is not None and is_put_here(
            entry, self._row, None if self._source is None else self._source.folder
        )

    def _is_unfinished_copy(self) -> bool:
        """Whether the destination was being written directly, from a complete copy under a private name beside it."""
        part, target = _stat_of(self._unnamed_copy), _stat_of(self._target)
        if part is None or target is None or part.st_ino == target.st_ino:
            return False
        inode = self._row.copy_ino
        return target.st_ino == inode or (inode == NOT_MADE_YET and target.st_size == 0)

    def _remove(self, *entries: FileAt | None) -> None:
        for entry in entries:
            if entry is not None:
                with suppress(FileNotFoundError):
                    entry.unlink()


def _stat_of(entry: FileAt | None) -> os.stat_result | None:
    """Return the status of a regular file; None for anything else."""
    if entry is None:
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _opened(entry: FileAt) -> Iterator[int]:
    descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    try:
        yield descriptor
    finally:
        close(descriptor)


def _entry(path: Path, folders: OpenFolders) -> FileAt | None:
    """Open the folder of a path; None where it is missing or a symbolic link is in its place."""
    try:
        return folders.entry(path)
    except NO_FOLDER:
        return None


def _beside(entry: FileAt | None, name: str) -> FileAt | None:
    return None if entry is None else entry._replace(name=name)
