"""Move, copy or link a batch of images so that each is complete at its source or its destination at every instant.

The batch goes through stages, each stage with all its images, so that one flush of the journal covers them all: write
the intents; rename, or make complete and durable copies under private names; write the copies' inodes; give the copies
their final names; remove the originals of the copies. An image that fails in one stage is put back to where it was, and
the others go on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from loguru import logger

from daemon.files import copying, renaming
from daemon.files.names import NAME_REFUSED, simpler_name
from daemon.files.renaming import NOWHERE, CannotMove, FileAt, close
from daemon.files.source import BeingWritten, Identity, SourceChanged, SourceGone
from daemon.files.writers import is_being_written, unlink_closed
from daemon.filing.free_names import free_name
from daemon.filing.identity import has_inode, is_as_read, is_just_made, is_unchanged
from daemon.filing.private_names import private_name
from daemon.filing.status import Status, sentence, status_of_staying
from daemon.journal.held import Held
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.labels import Label
from daemon.journal.records import Filing, State
from models.files.atomic import sync_folder
from models.text.language import tr

#: In place of a copy's inode: the copy is about to be made under its final name, and may be there, empty.
NOT_MADE_YET = 0
#: How often another program may take the name that was free a moment ago.
_ATTEMPTS = 100
#: How many copies are written before the first of them is flushed.
COPIES_AT_ONCE = 32


class _NameTaken(Exception):
    """The name chosen for an image is taken, or the file system cannot hold it; another name may do."""


@dataclass(eq=False, slots=True)
class Transfer:
    """One image on its way from ``source`` to ``target``; ``status`` is None until it ends.

    ``wanted`` is the name it would have if that were free; ``exact``: that name or none. ``row`` says what is
    to be done (``action``, ``identity``) and is kept up to date, also with the final ``destination``. ``error`` is a
    sentence, for RETRY. ``part`` is the copy while it has a private name; ``placed``: this transfer made a copy or
    link, and it has its final name, so that backing out must remove it. ``is_return``: it is the end of a filing, and
    none itself. ``undoes``: the filing that it undoes, if the image is to be held at its target. ``label`` is what a
    person said that it is; both are written with the intent. ``then`` makes the row of what is to be done once the
    image is filed; as ``follow_up`` it is written with its end.
    """

    wanted: str
    row: Filing
    source: FileAt = NOWHERE
    target: FileAt = NOWHERE
    status: Status | None = None
    error: str | None = None
    part: FileAt | None = None
    placed: bool = False
    exact: bool = False
    is_return: bool = False
    undoes: Filing | None = None
    label: Label | None = None
    then: Callable[[Transfer], Filing] | None = None
    follow_up: Filing | None = None

    @property
    def held(self) -> list[Held]:
        """List what the journal has to know as held before the image is at its target."""
        if self.undoes is None or self.row.destination is None:
            return []
        there = self.row.identity._replace(dev=os.fstat(self.target.folder).st_dev, ino=self.row.filed_ino)
        return [Held(path=self.row.destination, identity=there, filing_id=self.undoes.id)]

    def end(self, status: Status, error: str | None = None) -> None:
        """Set the outcome, done or not; the transfer takes no further part."""
        self.status, self.error = status, error

    def private(self, purpose: str) -> str:
        """See ``private_name``."""
        return private_name(purpose, self.row)


def check_source(source: FileAt, row: Filing) -> None:
    """Raise SourceGone or SourceChanged unless the name stands for the file that was decided on."""
    try:
        is_it = is_as_read(source, row)
    except FileNotFoundError as error:
        raise SourceGone(str(error)) from error
    if not is_it:
        raise SourceChanged(tr("'{name}' is not the file that was looked at", name=source.name))


def run(transfers: Sequence[Transfer], journal: Journal) -> None:
    """Carry out all that have not ended yet. What fails for one image becomes its status, and is never raised."""
    TransferBatch(transfers, journal).run()


class TransferBatch:
    """Transfers that share their journal writes and the flushes of their folders."""

    def __init__(self, transfers: Sequence[Transfer], journal: Journal) -> None:
        self._all = list(_pending(transfers))
        self._journal = journal
        self._without_name: list[Transfer] = []  # whose chosen name is taken
        self._targets_taken: set[FileAt] = set()  # by any transfer of this batch
        self._copies: dict[Transfer, int] = {}  # those not flushed yet, with their descriptors

    def run(self) -> None:
        self.record(self._all)
        try:
            self._name_each(self._all, self._start)
            self._flush_copies()
        finally:
            self._close_copies()
        copies = [transfer for transfer in _pending(self._all) if transfer.part]
        self.record(copies)
        self._name_each(copies, self._give_final_name)
        self._flush_targets([transfer for transfer in _pending(self._all) if transfer.placed])
        originals = [transfer for transfer in _pending(copies) if transfer.row.action == "move"]
        for transfer in originals:
            transfer.row.state = State.COPIED
        self.record(originals)
        self._each(originals, self._drop_original)
        self._finish()

    def _each(self, transfers: Iterable[Transfer], step: Callable[[Transfer], None]) -> None:
        for transfer in _pending(transfers):
            try:
                step(transfer)
            except SourceGone:
                self._back_out(transfer, Status.GONE)
            except BeingWritten:
                self._back_out(transfer, Status.CHANGED, is_written=True)
            except SourceChanged:
                self._back_out(transfer, Status.CHANGED)
            except _NameTaken:
                self._without_name.append(transfer)
            except copying.Stopping:
                self._back_out(transfer, Status.STOPPED)
            except (OSError, JournalBusy) as error:
                self._back_out(transfer, Status.RETRY, sentence(transfer.row, error))

    def _name_each(self, transfers: Iterable[Transfer], step: Callable[[Transfer], None]) -> None:
        """Do a step as ``_each`` does; images whose name is taken try again under other names, all together."""
        self._each(transfers, step)
        for _ in range(_ATTEMPTS):
            if not self._without_name:
                return
            renamed, self._without_name = self._without_name, []
            self._targets_taken = {transfer.target for transfer in self._all}
            self._each(renamed, self._choose_other_name)
            self.record(renamed)
            self._each(renamed, step)
        for transfer in self._without_name:
            error = FileExistsError(
                tr("every name like '{name}' is taken as soon as it is tried", name=transfer.wanted)
            )
            self._back_out(transfer, Status.RETRY, sentence(transfer.row, error))

    def _choose_other_name(self, transfer: Transfer) -> None:
        folder = transfer.target.folder
        name = free_name(folder, transfer.wanted, lambda name: FileAt(folder, name) in self._targets_taken)
        transfer.target = FileAt(folder, name)
        transfer.row.filed_name = name
        if transfer.label is not None and transfer.row.destination is not None:
            transfer.label.path = transfer.row.destination
        if transfer.part is not None:  # `_write_under_final_name` may have written NOT_MADE_YET
            transfer.row.copy_ino = transfer.part.stat().st_ino
        self._targets_taken.add(transfer.target)

    def record(self, transfers: Iterable[Transfer]) -> None:
        """Write the rows of the pending transfers; where the journal is busy, back out of them."""
        pending = list(_pending(transfers))
        labels = [transfer.label for transfer in pending if transfer.label is not None]
        try:
            self._journal.write(
                [transfer.row for transfer in pending],
                labels=labels,
                held=[held for transfer in pending for held in transfer.held],
            )
        except JournalBusy as error:
            busy = JournalBusy(tr("the journal cannot be written ({error})", error=error))
            for transfer in pending:
                self._back_out(transfer, Status.RETRY, sentence(transfer.row, busy))

    def _start(self, transfer: Transfer) -> None:
        """Rename or link the image to its destination, or make a copy under a private name beside it."""
        row = transfer.row
        if row.state in (State.REFUSED, State.LEFT):
            return transfer.end(status_of_staying(row))
        check_source(transfer.source, row)
        if row.action == "copy":
            return self._copy(transfer)
        try:
            if row.action == "link":
                self._make_target(transfer, lambda linked: renaming.link_or_cannot(linked.source, linked.target))
                transfer.placed = True
            else:
                rename = renaming.move_noreplace
                self._make_target(transfer, lambda to: rename(to.source, to.target, lambda: to.private("claim")))
        except CannotMove:
            row.action = "copy" if row.action == "link" else row.action
            return self._copy(transfer)
        except FileNotFoundError as error:
            if transfer.source.exists():
                raise
            raise SourceGone(str(error)) from error  # another program took it in the meantime
        return self.verify(transfer)

    def verify(self, transfer: Transfer) -> None:
        """Take back a file that replaced the image between the check and the move, or that is open for writing."""
        try:
            trouble: SourceChanged
            if not is_as_read(transfer.target, transfer.row):
                trouble = SourceChanged(tr("'{name}' changed while it was filed", name=transfer.source.name))
            # No program can open it by its old name any more, so none begins to write after this check.
            elif is_being_written(transfer.target):
                trouble = BeingWritten(tr("'{name}' is open for writing", name=transfer.source.name))
            else:
                return
            linked, transfer.placed = transfer.placed, False
            if linked and os.path.samestat(transfer.target.stat(), transfer.source.stat()):
                transfer.target.unlink()
            else:
                renaming.put_back(transfer.target, transfer.source)
            raise trouble
        except FileNotFoundError:
            return  # a program that waits for filed images may have taken it by now

    def _copy(self, transfer: Transfer) -> None:
        row = transfer.row
        if row.action == "move" and not os.access(".", os.W_OK | os.X_OK, dir_fd=transfer.source.folder):
            raise PermissionError(tr("files cannot be moved out of '{folder}'", folder=row.source.parent))
        copying.report_progress()  # raises Stopping when told to stop
        part = FileAt(transfer.target.folder, transfer.private("part"))
        descriptor = copying.create(part)
        try:
            transfer.part = part
            copying.require_room(descriptor, transfer.source, row.identity.size)
            row.sha256 = copying.copy_into(descriptor, transfer.source, row.identity, row.sha256)
            row.copy_ino = os.fstat(descriptor).st_ino
        except BaseException:
            close(descriptor)  # or it keeps its room on the disk
            raise
        self._copies[transfer] = descriptor
        if len(self._copies) == COPIES_AT_ONCE:
            self._flush_copies()

    def _flush_copies(self) -> None:
        """Flush the copies; the system writes them all by now, so that the first flush covers most of them."""
        self._each(self._copies, self._flush_copy)
        self._close_copies()

    def _flush_copy(self, transfer: Transfer) -> None:
        copying.report_progress()
        os.fsync(self._copies[transfer])

    def _close_copies(self) -> None:
        for descriptor in self._copies.values():
            close(descriptor)
        self._copies.clear()

    def _give_final_name(self, transfer: Transfer) -> None:
        """Give a copy its final name."""
        part = transfer.part
        assert part is not None
        try:
            self._make_target(
                transfer, lambda to: renaming.move_noreplace(part, to.target, lambda: to.private("place"))
            )
            transfer.placed = True
        except CannotMove:
            self._make_target(transfer, self._write_under_final_name)
        transfer.part = None

    def _write_under_final_name(self, transfer: Transfer) -> None:
        """Write the copy again under its final name: this file system can neither rename without replacing nor link."""
        part = transfer.part
        assert part is not None
        if transfer.target.exists():  # else recovery might take another program's empty file for this copy
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), transfer.target.name)
        transfer.row.copy_ino = NOT_MADE_YET
        self._journal.write([transfer.row])
        descriptor = copying.create(transfer.target)
        try:
            transfer.placed = True
            transfer.row.copy_ino = os.fstat(descriptor).st_ino
            self._journal.write([transfer.row], held=transfer.held)
            copying.copy_into(descriptor, part, None, transfer.row.sha256)
            os.fsync(descriptor)
        finally:
            close(descriptor)
        part.unlink()

    def _make_target(self, transfer: Transfer, make: Callable[[Transfer], None]) -> None:
        """Call ``make`` for the target. Raises _NameTaken, see ``_name_each``.

        Which names a file system can hold is found out by trying: where an error may be about the name, one that fits
        everywhere is tried next. If that fails too, it was not the name.
        """
        try:
            make(transfer)
        except FileExistsError as error:
            if transfer.exact:
                raise
            raise _NameTaken from error
        except OSError as error:
            simpler = simpler_name(transfer.wanted)
            if transfer.exact or error.errno not in NAME_REFUSED or simpler == transfer.wanted:
                raise
            transfer.wanted = simpler
            raise _NameTaken from error

    def _flush_targets(self, transfers: Sequence[Transfer]) -> None:
        for folder in {transfer.target.folder for transfer in transfers}:
            try:
                sync_folder(folder)
            except OSError as error:
                for transfer in transfers:
                    if transfer.target.folder == folder:
                        self._back_out(transfer, Status.RETRY, sentence(transfer.row, error))

    def _drop_original(self, transfer: Transfer) -> None:
        """Remove the original of a copy. Raises BeingWritten while it is open: what is written then would be lost."""
        claim = transfer.private("claim")
        if renaming.drop(transfer.source, claim, lambda entry: is_as_read(entry, transfer.row), unlink_closed):
            return
        if not transfer.source.exists():
            # Another program took it in the meantime: the copy would be a second image.
            self._drop_copy(transfer)
            raise SourceGone(tr("'{name}' was taken while it was copied", name=transfer.source.name))
        if is_as_read(transfer.source, transfer.row):
            raise SourceChanged(tr("another program moved '{name}' away and put it back", name=transfer.source.name))

    def _drop_copy(self, transfer: Transfer) -> None:
        renaming.drop(transfer.target, transfer.private("drop"), lambda entry: is_just_made(entry, transfer.row))
        transfer.placed = False

    def _finish(self) -> None:
        done = list(_pending(self._all))
        unflushed: set[int] = set()
        for folder in {transfer.source.folder for transfer in done if transfer.row.state is State.COPIED}:
            try:
                sync_folder(folder)
            except OSError as error:
                # After a power cut the original may be back; the row stays COPIED, and the next start drops it again.
                logger.warning(tr("a folder of originals cannot be flushed: {error}", error=error))
                unflushed.add(folder)
        for transfer in done:
            if transfer.row.state is not State.COPIED or transfer.source.folder not in unflushed:
                transfer.row.state = State.VOID if transfer.is_return else State.DONE
            transfer.end(Status.FILED)
            with suppress(OSError):  # a program that waits for filed images may have taken it by now
                transfer.follow_up = transfer.then and transfer.then(transfer)
        rows = [row for transfer in self._all for row in (transfer.row, transfer.follow_up) if row is not None]
        self._journal.write_later(rows)

    def _back_out(
        self, transfer: Transfer, status: Status, error: str | None = None, *, is_written: bool = False
    ) -> None:
        """Leave the image where it was; what cannot be cleaned up now, recovery at the next start does.

        ``is_written``: a program is writing to the image, so its copy may be removed although the original has changed.
        """
        transfer.end(status, error)
        try:
            if transfer.part is not None:
                transfer.part.unlink()
            if transfer.placed:
                self._take_back(transfer, is_written=is_written)
            transfer.row.state = State.VOID
        except copying.Stopping:
            return
        except (OSError, SourceGone, SourceChanged) as trouble:
            logger.warning(
                tr("a copy of '{source}' is left behind: {trouble}", source=str(transfer.row.source), trouble=trouble)
            )

    def _take_back(self, transfer: Transfer, *, is_written: bool) -> None:
        row = transfer.row
        if not (is_written and has_inode(transfer.source, row.identity.ino)):
            check_source(transfer.source, row)
        source = Identity.from_stat(transfer.source.stat())

        def is_one_of_two(entry: FileAt) -> bool:
            is_there = is_unchanged(transfer.source, source) or (is_written and has_inode(transfer.source, source.ino))
            return is_there and is_just_made(entry, row)

        renaming.drop(transfer.target, transfer.private("drop"), is_one_of_two)
        transfer.placed = False


def _pending(transfers: Iterable[Transfer]) -> Iterable[Transfer]:
    return (transfer for transfer in transfers if transfer.status is None)
