"""What a crash left half done, put right at the next start, before anything new is filed.

A destination counts as ours only with the inode and the content that the journal says: a stranger's file with the same
bytes is a stranger's file. What cannot be decided (a folder that cannot be opened now) waits for the start after.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from loguru import logger

from daemon import moves
from daemon.copying import sha256_of
from daemon.journal import Journal
from daemon.moves import FOLDER_FLAGS, Entry, close
from daemon.reasons import reason_name, write_reason
from daemon.rows import Filing, State
from daemon.source import OPEN_FLAGS
from daemon.transfer import NOT_MADE_YET, is_meant, private_name


def replay(journal: Journal) -> Counter[State]:
    """Settle every unfinished filing; counts the states they end in (VOID: to be filed anew). Raises JournalBusy."""
    rows = journal.unfinished()
    for row in rows:
        try:
            with ExitStack() as folders:
                _Leftover(row, folders).settle()
        except OSError as error:
            logger.warning("What became of {!r} cannot be seen now: {}", str(row.source), error)
    journal.write(rows)
    return Counter(row.state for row in rows)


class _Leftover:
    """One unfinished filing, with the names it may have left behind."""

    def __init__(self, row: Filing, folders: ExitStack) -> None:
        assert row.destination is not None
        self._row = row
        source = _open(row.source.parent, folders)
        target = _open(row.destination.parent, folders)
        self._source = None if source is None else Entry(source, row.source.name)
        self._claim = None if source is None else Entry(source, private_name("claim", row))
        self._target = None if target is None else Entry(target, row.destination.name)
        self._part, self._place, self._drop = (
            None if target is None else Entry(target, private_name(purpose, row))
            for purpose in ("part", "place", "drop")
        )

    def settle(self) -> None:
        """Bring the filing to an end, and the row to the state that says which. Raises OSError."""
        original = next((entry for entry in (self._source, self._claim) if self._is_original(entry)), None)
        copied = self._is_copy(self._target)
        if original is not None:
            self._settle_with_original(original, copied)
        elif copied:
            self._done()
        elif self._is_copy(self._drop):
            # It was being taken back when the original was still there; now it is all there is.
            assert self._drop is not None
            assert self._target is not None
            moves.put_back(self._drop, self._target)
            self._done()
        elif self._source is None or self._target is None:
            raise FileNotFoundError("its folder is not there")
        else:
            self._give_up()

    def _settle_with_original(self, original: Entry, copied: bool) -> None:
        if copied and self._flush_copy():
            if self._row.action == "move":
                self._drop_original(original)
            self._done()
            return
        if self._target is not None and (copied or self._is_unfinished_copy()):
            self._target.unlink()
        self._remove(self._part, self._place, self._drop)
        if original == self._claim and self._source is not None:
            moves.put_back(original, self._source)
        self._row.state = State.VOID

    def _give_up(self) -> None:
        """Nothing is where it should be. A whole copy may be all there is now; a torn one is of no use to anybody."""
        row, kept = self._row, ""
        for entry in (self._part, self._place):
            if entry is None or not entry.exists():
                continue
            if row.sha256 in (None, sha256_of(entry)):
                kept = f"; a copy is kept as {entry.name}"
            else:
                entry.unlink()
        row.state = State.ORPHAN
        row.detail = f"somebody moved it while the program was stopped{kept}"
        source, destination = str(row.source), str(row.destination)
        logger.error("{!r} is neither in the inbox nor at {!r}: {}", source, destination, row.detail)

    def _flush_copy(self) -> bool:
        """Make the copy durable; False when it cannot be trusted to be, and must be made anew."""
        assert self._target is not None
        try:
            with _opened(self._target) as descriptor:
                os.fsync(descriptor)
            moves.sync_folder(self._target.folder)
        except OSError as error:
            if self._row.copy_ino is None:
                raise
            logger.warning("The copy {!r} cannot be flushed: {}", str(self._row.destination), error)
            return False
        return True

    def _drop_original(self, original: Entry) -> None:
        if original == self._claim:
            original.unlink()
        else:
            assert self._claim is not None
            moves.drop(original, self._claim.name, self._is_original)
        moves.sync_folder(original.folder)

    def _done(self) -> None:
        self._remove(self._part, self._place, self._drop)
        self._row.state = State.DONE
        if self._row.reason is None or self._target is None:
            return
        if not Entry(self._target.folder, reason_name(self._target)).exists():
            write_reason(self._target, self._row)

    def _is_original(self, entry: Entry | None) -> bool:
        return entry is not None and entry.exists() and is_meant(entry, self._row)

    def _is_copy(self, entry: Entry | None) -> bool:
        """Whether a name stands for what this filing put there: its inode and its content."""
        status = _status(entry)
        if entry is None or status is None:
            return False
        row = self._row
        if row.copy_ino is not None:
            same = (status.st_ino, status.st_size) == (row.copy_ino, row.identity.size)
        else:
            same = (status.st_ino, status.st_size, status.st_mtime_ns) == row.identity[1:]
            same = same and self._is_beside_source(status)
        return same and row.sha256 in (None, sha256_of(entry))

    def _is_beside_source(self, status: os.stat_result) -> bool:
        """A renamed or linked file is on its source's file system; inode numbers of another one mean nothing."""
        return self._source is None or os.fstat(self._source.folder).st_dev == status.st_dev

    def _is_unfinished_copy(self) -> bool:
        """Whether the destination is being written under its final name, from a complete copy beside it."""
        part, target = _status(self._part), _status(self._target)
        if part is None or target is None or part.st_ino == target.st_ino:
            return False
        inode = self._row.copy_ino
        return target.st_ino == inode or (inode == NOT_MADE_YET and target.st_size == 0)

    def _remove(self, *entries: Entry | None) -> None:
        for entry in entries:
            if entry is not None:
                with suppress(FileNotFoundError):
                    entry.unlink()


def _status(entry: Entry | None) -> os.stat_result | None:
    """What a name stands for, if that is a regular file."""
    if entry is None:
        return None
    try:
        status = entry.status()
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _opened(entry: Entry) -> Iterator[int]:
    descriptor = os.open(entry.name, OPEN_FLAGS, dir_fd=entry.folder)
    try:
        yield descriptor
    finally:
        close(descriptor)


def _open(path: Path, folders: ExitStack) -> int | None:
    try:
        folder = os.open(path, FOLDER_FLAGS)
    except FileNotFoundError:
        return None
    folders.callback(close, folder)
    return folder
