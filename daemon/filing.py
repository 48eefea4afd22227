"""Filing: an image moves from the inbox into its folder, and whatever happens it is in exactly one place, intact.

A batch goes through stages, each stage over all its images, so that one flush of the journal covers them all: intents;
renames, or complete and durable copies under a private name; the copies' inodes; the copies' final names; then the
originals of the copies. An image that fails in one stage is put back to where it was, and its neighbours go on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Literal

from loguru import logger

from daemon import copying, moves
from daemon.folders import Folders, Output
from daemon.journal import Journal, JournalBusy
from daemon.moves import NOWHERE, CannotMove, Entry
from daemon.names import free_number, numbered
from daemon.rows import Filing, State
from daemon.source import Identity, Source, SourceChanged, SourceGone

Action = Literal["move", "copy", "link"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Where one image shall go: ``folder`` is relative to the output, such as ``dog`` or ``quarantine/truncated``.

    ``reason`` marks an unreadable image (a slug, with ``detail`` as the sentence for people); else it is None.
    """

    source: Source
    folder: PurePath
    label: str | None = None
    confidence: float | None = None
    model_digest: str | None = None
    reason: str | None = None
    detail: str | None = None


class Status(StrEnum):
    """What became of a decision."""

    FILED = "filed"
    PLANNED = "planned"  # a dry run: it would have been filed there
    CHANGED = "changed"  # written to or replaced meanwhile: back to settling
    GONE = "gone"  # somebody took it away
    ALREADY = "already"  # copied, linked or refused before, in this very state
    REFUSED = "refused"  # unreadable and left where it is, because images are not to be moved
    RETRY = "retry"  # failed for now; the image is still in the inbox


@dataclass(frozen=True, kw_only=True)
class Filed:
    """The outcome for one decision; ``error`` says in a sentence why it is to be tried again."""

    decision: Decision
    status: Status
    destination: Path | None = None
    error: str | None = None


@dataclass(eq=False)
class _Task:
    """One decision on its way through the stages; ``filed`` is None until it is settled."""

    decision: Decision
    source: Entry = NOWHERE
    target: Entry = NOWHERE
    row: Filing | None = None
    part: Entry | None = None
    placed: bool = False
    filed: Filed | None = None

    def settle(self, status: Status, error: str | None = None) -> None:
        there = self.row.destination if self.row and status in (Status.FILED, Status.PLANNED) else None
        self.filed = Filed(decision=self.decision, status=status, destination=there, error=error)

    @property
    def journaled(self) -> Filing:
        assert self.row is not None
        return self.row

    def private(self, purpose: str) -> str:
        """A name that is nobody else's, and that a later run can work out from the journal."""
        return private_name(purpose, self.journaled)

    def check_source(self) -> None:
        """Raise SourceGone or SourceChanged unless the name still stands for the file that was decided on."""
        try:
            identity = Identity.of(self.source.status())
        except FileNotFoundError as error:
            raise SourceGone(str(error)) from error
        if identity != self.decision.source.identity:
            raise SourceChanged(f"{self.source.name!r} is not the file that was looked at")


def private_name(purpose: str, row: Filing) -> str:
    """The hidden name under which a filing keeps something for a moment: ``part``, ``claim`` or ``drop``."""
    return f".{purpose}.{row.run}-{row.id}"


class Filer:
    """Files images into the folders under ``output``.

    ``move`` takes them out of the inbox; ``copy`` and ``link`` (a hard link, or a copy where none is possible) leave
    them there and remember in the journal which ones are filed. Without a journal the memory ends with this object,
    and a crash may leave a ``.part`` file. A dry run changes nothing anywhere.
    """

    def __init__(
        self, output: Path, *, action: Action = "move", journal: Journal | None = None, dry_run: bool = False
    ) -> None:
        self._output = Output(output)
        self._action = action
        self._journal = journal or Journal(None)
        self._dry_run = dry_run
        self._planned: set[tuple[PurePath, str]] = set()

    def filed_before(self, path: Path, identity: Identity) -> bool:
        """Whether ``file`` would answer ALREADY: nothing need be read or decoded then. Raises JournalBusy."""
        return self._action != "move" and self._journal.filed_before(identity, path)

    def file(self, decisions: Sequence[Decision]) -> list[Filed]:
        """File a batch; one outcome per decision, in order. An image's trouble is in its outcome, never raised."""
        tasks = [_Task(decision) for decision in decisions]
        with Folders(self._output) as folders:
            taken = self._planned if self._dry_run else set()
            identities: set[Identity] = set()
            self._each(tasks, lambda task: self._plan(task, folders, taken, identities))
            self._record(tasks)
            self._each(tasks, self._start)
            copies = [task for task in _unsettled(tasks) if task.part]
            self._record(copies)
            self._each(copies, self._place)
            self._flush_targets([task for task in _unsettled(tasks) if task.placed])
            originals = [task for task in _unsettled(copies) if task.journaled.action == "move"]
            for task in originals:
                task.journaled.state = State.COPIED
            self._record(originals)
            self._each(originals, self._drop_original)
            self._finish(tasks)
        return [task.filed for task in tasks if task.filed]

    def _each(self, tasks: Iterable[_Task], step: Callable[[_Task], None]) -> None:
        for task in _unsettled(tasks):
            try:
                step(task)
            except SourceGone:
                self._back_out(task, Status.GONE)
            except SourceChanged:
                self._back_out(task, Status.CHANGED)
            except (OSError, JournalBusy) as error:
                self._back_out(task, Status.RETRY, _sentence(task.decision.source.path, error))

    def _record(self, tasks: Iterable[_Task]) -> None:
        tasks = list(_unsettled(tasks))
        try:
            self._journal.write([task.journaled for task in tasks])
        except JournalBusy as error:
            for task in tasks:
                self._back_out(task, Status.RETRY, f"The journal cannot be written now: {error}.")

    def _plan(self, task: _Task, folders: Folders, taken: set[tuple[PurePath, str]], identities: set[Identity]) -> None:
        """Choose the destination and prepare the row."""
        decision, source = task.decision, task.decision.source
        task.source = folders.entry(source.path)
        task.check_source()
        if self._action != "move":
            if source.identity in identities or self._journal.filed_before(source.identity, source.path):
                return task.settle(Status.ALREADY)
            identities.add(source.identity)
        refused = decision.reason is not None and self._action != "move"
        task.row = Filing(
            state=State.REFUSED if refused else State.INTENT,
            action=self._action,
            source=source.path,
            identity=source.identity,
            sha256=source.sha256,
            label=decision.label,
            confidence=decision.confidence,
            model_digest=decision.model_digest,
            reason=decision.reason,
            detail=decision.detail,
        )
        if not refused:
            folder = folders.class_folder(decision.folder, make=not self._dry_run)
            name = _free_name(folder, source.path.name, {name for where, name in taken if where == decision.folder})
            taken.add((decision.folder, name))
            task.target = Entry(-1 if folder is None else folder, name)
            task.row.destination = self._output.path / decision.folder / name
        if self._dry_run:
            task.settle(Status.REFUSED if refused else Status.PLANNED)
        return None

    def _start(self, task: _Task) -> None:
        """Rename or link the image to its destination, or make a copy under a private name beside it."""
        row = task.journaled
        if row.state is State.REFUSED:
            return task.settle(Status.REFUSED)
        task.check_source()
        if row.action == "copy":
            return self._copy(task)
        claim = task.private("claim")
        try:
            if row.action == "link":
                self._to_free_name(task, lambda: moves.link_or_cannot(task.source, task.target))
                task.placed = True
            else:
                self._to_free_name(task, lambda: moves.move_noreplace(task.source, task.target, claim=claim))
        except CannotMove:
            row.action = "copy" if row.action == "link" else row.action
            return self._copy(task)
        return self._verify(task)

    def _verify(self, task: _Task) -> None:
        """Take back a file that took the place of the one meant between the last look and the move."""
        with suppress(FileNotFoundError):  # who waits for images to be filed may have taken it by now
            filed = task.target.status()
            if Identity.of(filed) != task.decision.source.identity:
                linked, task.placed = task.placed, False
                if linked and os.path.samestat(filed, task.source.status()):
                    task.target.unlink()
                else:
                    moves.put_back(task.target, task.source)
                raise SourceChanged(f"{task.source.name!r} changed while it was filed")

    def _copy(self, task: _Task) -> None:
        row = task.journaled
        if row.action == "move" and not os.access(".", os.W_OK | os.X_OK, dir_fd=task.source.folder):
            raise PermissionError(f"from {str(row.source.parent)!r} no file can be taken away")
        part = Entry(task.target.folder, task.private("part"))
        descriptor = copying.create(part)
        try:
            task.part = part
            row.sha256 = copying.copy_into(descriptor, task.source, row.identity, row.sha256)
            row.copy_ino = os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)

    def _place(self, task: _Task) -> None:
        """Give a copy its final name."""
        part = task.part
        assert part is not None
        try:
            self._to_free_name(task, lambda: moves.move_noreplace(part, task.target, claim=task.private("claim")))
            task.placed = True
        except CannotMove:
            self._place_directly(task, part)
        task.part = None

    def _place_directly(self, task: _Task, part: Entry) -> None:
        """Write the copy once more, under its final name: this file system can neither rename nor link with care."""
        opened: list[int] = []
        self._to_free_name(task, lambda: opened.append(copying.create(task.target)))
        try:
            task.placed = True
            task.journaled.copy_ino = os.fstat(opened[0]).st_ino
            self._journal.write([task.journaled])
            copying.copy_into(opened[0], part, Identity.of(part.status()), task.journaled.sha256)
        finally:
            os.close(opened[0])
        part.unlink()

    def _to_free_name(self, task: _Task, put: Callable[[], None]) -> None:
        """Do ``put``, under other names while somebody else is quicker to take the one chosen."""
        for _ in range(100):
            try:
                return put()
            except FileExistsError:
                name = _free_name(task.target.folder, task.decision.source.path.name, set())
                task.target = task.target._replace(name=name)
                row = task.journaled
                row.destination = self._output.path / task.decision.folder / name
                self._journal.write([row])
        raise FileExistsError(f"no name is free in {str(task.decision.folder)!r}")

    def _flush_targets(self, tasks: Sequence[_Task]) -> None:
        for folder in {task.target.folder for task in tasks}:
            inside = [task for task in tasks if task.target.folder == folder]
            try:
                moves.sync_folder(folder)
            except OSError as error:
                for task in inside:
                    self._back_out(task, Status.RETRY, _sentence(task.decision.source.path, error))

    def _drop_original(self, task: _Task) -> None:
        identity = task.decision.source.identity
        moves.drop(task.source, task.private("claim"), lambda status: Identity.of(status) == identity)

    def _finish(self, tasks: Sequence[_Task]) -> None:
        done = list(_unsettled(tasks))
        unsure: set[int] = set()
        for folder in {task.source.folder for task in done if task.journaled.state is State.COPIED}:
            try:
                moves.sync_folder(folder)
            except OSError as error:
                # After a power cut the original may be back; the rows stay COPIED, and the next start drops it again.
                logger.warning("A folder in the inbox cannot be flushed: {}", error)
                unsure.add(folder)
        for task in done:
            row = task.journaled
            if row.state is not State.COPIED or task.source.folder not in unsure:
                row.state = State.DONE
            task.settle(Status.FILED)
            if row.reason is not None:
                write_reason(task.target, row)
        self._journal.write_later([task.row for task in tasks if task.row and not self._dry_run])

    def _back_out(self, task: _Task, status: Status, error: str | None = None) -> None:
        """Leave the image in the inbox alone; what cannot be cleaned up now, the next start's replay does."""
        task.settle(status, error)
        if task.row is None:
            return
        try:
            if task.part is not None:
                task.part.unlink()
            if task.placed:
                self._unplace(task, task.row)
            task.row.state = State.VOID
        except (OSError, SourceGone, SourceChanged) as trouble:
            logger.warning("A copy of {!r} is left behind: {}", str(task.row.source), trouble)

    def _unplace(self, task: _Task, row: Filing) -> None:
        task.check_source()
        inode = row.identity.ino if row.copy_ino is None else row.copy_ino
        moves.drop(task.target, task.private("drop"), lambda status: status.st_ino == inode)


def write_reason(target: Entry, row: Filing) -> None:
    """Put ``<name>.json`` beside an unreadable image, saying why it is there. Its own trouble is only logged."""
    record = {
        "reason": row.reason,
        "detail": row.detail,
        "source": str(row.source),
        "sha256": row.sha256,
        "size": row.identity.size,
        "time": row.time.isoformat(timespec="seconds"),
    }
    try:
        name = _free_name(target.folder, f"{target.name}.json", set())
        with os.fdopen(copying.create(Entry(target.folder, name), 0o666), "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
    except OSError as error:
        logger.warning("No reason could be written beside {!r}: {}", str(row.destination), error)


def _free_name(folder: int | None, name: str, taken: set[str]) -> str:
    """A name that seems free in an open folder (None: one that is not there yet)."""
    limit = 255 if folder is None else os.fpathconf(folder, "PC_NAME_MAX")

    def occupied(number: int) -> bool:
        choice = numbered(name, number, limit)
        return choice in taken or (folder is not None and Entry(folder, choice).exists())

    return numbered(name, free_number(occupied), limit)


def _unsettled(tasks: Iterable[_Task]) -> Iterable[_Task]:
    return (task for task in tasks if task.filed is None)


def _sentence(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{str(path)!r} cannot be filed now: {reason}."
