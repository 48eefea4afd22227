"""Writers, renamers, deleters, faults, crashes and restarts in any order: no image is lost, doubled or changed.

What an undo brings back is held until it changes, is renamed or released, and nothing else is. All that with any
layout, and with a rule of one class: another output, or an action by which its images stay in the inbox.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from daemon.config.class_rules import ClassRule, ClassRules, Handling
from daemon.files import renaming
from daemon.files.source import Identity
from daemon.filing.duplicates import DuplicatePolicy, Duplicates
from daemon.filing.filer import Filer, Status
from daemon.filing.folder_layout import FolderLayout
from daemon.filing.held import HeldImages
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.recovery import recover
from daemon.filing.undo import undo
from daemon.journal import held as held_rows
from daemon.journal import records
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import State
from tests.filing_desk import far_folder, images, make_desk

NAMES = st.sampled_from(["cat.jpg", "dog.jpg", "cat_2.jpg", os.fsdecode(b"\xff.jpg"), "x" * 251 + ".jpg"])
SIDECARS = st.sampled_from(["cat.xmp", "cat.jpg.json", "dog.mov", "cat_2.dng"])
FOLDERS = st.sampled_from(["cat", "dog", "animals", "animals/cat", "animals/wild/cat", "quarantine/corrupt"])
LAYOUTS = st.sampled_from(
    ["{class}"] * 3 + ["{class}/{filed:%Y}/{stem}", "{class}/{taken:%Y}/{inbox}", "{class}/..{top}.{stem}/{taken:%x}"]
)
#: What the rule of dogs says, if there is one.
DOG_RULES = st.sampled_from(["none", "none", "output", "leave", "tag"])
#: Every call through which filing changes something.
SEAMS = [
    *((os, name) for name in ("open", "write", "fsync", "rename", "unlink", "utime")),
    *((renaming, name) for name in ("rename_noreplace", "link")),
]
JOURNAL = [(records, "encode"), (records, "write_one"), (held_rows, "write")]
CODES = st.sampled_from([errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EINVAL])


class Crash(BaseException):
    """The program is gone, without a chance to clean up."""


class Faults:
    """Makes the ``at``-th call through a seam raise."""

    def __init__(self, at: int, error: Callable[[], BaseException]) -> None:
        self._left = at
        self._error = error
        self._seams = [*SEAMS, *JOURNAL] if error is Crash else SEAMS
        self._stack = ExitStack()

    def __enter__(self) -> None:
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        for module, name in self._seams:
            patch.setattr(module, name, self._wrapped(getattr(module, name)))

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise self._error()
            return real(*arguments, **more)

        return call


def state_of(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


class Machine(RuleBasedStateMachine):
    """``expected`` holds the bytes of every image that people have put in and not taken out again.

    ``held`` has the state of each image that an undo has brought back, and ``others`` while the program is gone in the
    midst of an undo what else is in the inbox.
    """

    @initialize(
        two=st.booleans(), duplicates=st.sampled_from(get_args(DuplicatePolicy)), layout=LAYOUTS, dog_rule=DOG_RULES
    )
    def begin(
        self, two: bool, duplicates: DuplicatePolicy = "keep", layout: str = "{class}", dog_rule: str = "none"
    ) -> None:
        self.duplicates, self.layout, self.dog_rule = duplicates, layout, dog_rule
        self._stack = ExitStack()
        near = self._stack.enter_context(far_folder())
        far = Path(tempfile.mkdtemp()) if two else None
        if far is not None:
            self._stack.callback(shutil.rmtree, far)
        self.desk = make_desk(near, far)
        dogs = Path(tempfile.mkdtemp())
        self._stack.callback(shutil.rmtree, dogs)
        self.dogs = (near if two else dogs) / "dogs"
        self.roots = [near, dogs, *([] if far is None else [far])]
        self.expected: Counter[bytes] = Counter()
        self.crashed = False
        self.held: dict[Path, tuple[int, ...]] = {}
        self.others: set[Path] | None = None
        self.writers: dict[Path, BinaryIO] = {}
        self._contents = (b"image %d" % number for number in count())

    def teardown(self) -> None:
        if hasattr(self, "_stack"):
            for writer in self.writers.values():
                writer.close()
            self._stack.close()

    @rule(names=st.lists(NAMES | SIDECARS, min_size=1))
    def write(self, names: list[str]) -> None:
        for name in names:
            path = self.desk.inbox / name
            if path in self.writers:
                continue
            if path.exists():
                if self.crashed:
                    continue  # its copy may be filed already: then both the old and the new state are kept
                self.expected[path.read_bytes()] -= 1
            content = next(self._contents)
            os.utime(self.desk.put(name, content), (1_000_000_000, 1_000_000_000 + int(content[6:])))
            self.expected[content] += 1
            self.came(path)

    def came(self, path: Path) -> None:
        """Note that somebody has put a file into the inbox."""
        if self.others is not None:
            self.others.add(path)

    @rule(name=NAMES)
    def write_the_same_again(self, name: str) -> None:
        path = self.desk.inbox / name
        if not path.exists():
            self.desk.put(name, b"always the same")
            self.expected[b"always the same"] += 1
            self.came(path)

    @precondition(lambda self: not self.crashed)
    @rule(old=NAMES | SIDECARS, new=NAMES | SIDECARS)
    def rename(self, old: str, new: str) -> None:
        old_path, new_path = self.desk.inbox / old, self.desk.inbox / new
        if old_path.exists() and not new_path.exists() and not {old_path, new_path} & self.writers.keys():
            old_path.rename(new_path)

    @precondition(lambda self: not self.crashed)
    @rule(name=NAMES | SIDECARS)
    def delete(self, name: str) -> None:
        path = self.desk.inbox / name
        if path.exists() and path not in self.writers:
            self.expected[path.read_bytes()] -= 1
            path.unlink()

    @precondition(lambda self: not self.crashed)
    @rule(name=NAMES | SIDECARS)
    def somebody_opens_a_file_for_writing(self, name: str) -> None:
        path = self.desk.inbox / name
        if path not in self.writers:
            if not path.exists():
                self.expected[b""] += 1
                self.came(path)
            self.writers[path] = path.open("ab", buffering=0)

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def a_writer_goes_on(self, data: st.DataObject) -> None:
        self.go_on(data.draw(st.sampled_from(sorted(self.writers))))

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def a_writer_ends(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.writers)))
        self.go_on(path)
        self.writers.pop(path).close()

    def go_on(self, path: Path) -> None:
        """Write by the open file, wherever it is by now."""
        writer = self.writers[path]
        size = os.fstat(writer.fileno()).st_size
        before = Path(f"/proc/self/fd/{writer.fileno()}")
        with before.open("rb") as file:
            content = file.read(size)
        more = next(self._contents)
        writer.write(more)
        self.expected[content] -= 1
        self.expected[content + more] += 1

    @rule(name=NAMES, folder=FOLDERS)
    def somebody_puts_a_file_into_a_class_folder(self, name: str, folder: str) -> None:
        path = self.desk.output / folder / name
        if path.parent.is_dir() and not path.exists():
            path.write_bytes(b"always the same")
            self.expected[b"always the same"] += 1

    @precondition(lambda self: not self.crashed)
    @rule(folder=FOLDERS)
    def file(self, folder: str) -> None:
        good = {Status.FILED, Status.HELD}
        if self.duplicates == "leave" or self.dog_rule == "leave":
            good |= {Status.LEFT, Status.ALREADY}
        if self.dog_rule == "tag":
            good |= {Status.ALREADY, Status.REFUSED}
        assert self._file(folder) <= (good | {Status.CHANGED} if self.writers else good)

    @precondition(lambda self: not self.crashed)
    @rule(count=st.integers(1, 4))
    def undo(self, count: int) -> None:
        self._undo(count)

    @precondition(lambda self: not self.crashed)
    @rule(count=st.integers(1, 4), at=st.integers(1, 40), code=CODES)
    def undo_with_an_error(self, count: int, at: int, code: int) -> None:
        self.others = set(images(self.desk.inbox))
        self._undo(count, Faults(at, lambda: OSError(code, os.strerror(code))))
        self.restart()

    @precondition(lambda self: not self.crashed)
    @rule(count=st.integers(1, 4), at=st.integers(1, 40))
    def crash_while_undoing(self, count: int, at: int) -> None:
        self.others = set(images(self.desk.inbox))
        try:
            self._undo(count, Faults(at, Crash))
            self.others = None
        except Crash:
            self.crashed = True

    @precondition(lambda self: not self.crashed)
    @rule()
    def release(self) -> None:
        with self.held_images() as (_, held):
            held.release(held.all())
        self.held.clear()

    @precondition(lambda self: not self.crashed)
    @rule()
    def late_sidecars_join(self) -> None:
        with self.held_images() as (journal, held):
            LateSidecars([self.desk.inbox], self.desk.output, journal, recursive=True, held=held).work(60.0)

    @precondition(lambda self: not self.crashed)
    @rule(
        folder=FOLDERS,
        at=st.integers(1, 60),
        code=st.sampled_from([errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EINVAL]),
    )
    def file_with_an_error(self, folder: str, at: int, code: int) -> None:
        self._file(folder, Faults(at, lambda: OSError(code, os.strerror(code))))
        self.restart()

    @precondition(lambda self: not self.crashed)
    @rule(folder=FOLDERS, at=st.integers(1, 60))
    def crash_while_filing(self, folder: str, at: int) -> None:
        try:
            self._file(folder, Faults(at, Crash))
        except Crash:
            self.crashed = True

    @precondition(lambda self: self.crashed)
    @rule(at=st.integers(1, 30))
    def crash_while_recovering(self, at: int) -> None:
        try:
            with Faults(at, Crash):
                self.restart()
        except Crash:
            self.crashed = True

    @rule()
    def restart(self) -> None:
        journal = self.desk.journal()
        recover(journal)
        journal.close()
        self.crashed = False
        if self.others is None:
            return
        with self.held_images() as (_, held):
            for path in self._jpegs():
                is_held = held.holds(path, Identity.from_stat(path.stat()))
                assert is_held or path in self.others, "back, and not held"
                if is_held and (path not in self.others or self.dog_rule == "tag"):
                    self.held[path] = state_of(path)
        self.others = None

    @invariant()
    def every_image_is_in_one_place(self) -> None:
        if not hasattr(self, "desk"):
            return
        contents = self.contents()
        expected = +self.expected
        assert not expected - contents, "lost"
        if not self.crashed:
            assert contents == expected
            for folder in (self.desk.inbox, self.desk.output, self.dogs):
                assert [path for path in images(folder) if path.name[0] == "."] == []
        folders = (self.desk.inbox, self.desk.output, self.dogs, self.desk.journal_path.parent)
        everything = [path for root in self.roots for path in images(root)]
        assert [path for path in everything if not any(path.is_relative_to(folder) for folder in folders)] == []

    def contents(self) -> Counter[bytes]:
        """The bytes of every file there is, but for the sidecars that tags are written into."""
        folders = (self.desk.inbox, self.desk.output, self.dogs)
        paths = [path for folder in folders for path in images(folder)]
        return Counter(content for path in paths if b"imagesortd:Class" not in (content := path.read_bytes()))

    def _file(self, folder: str, faults: Faults | None = None) -> set[Status]:
        reason = "corrupt" if folder.startswith("quarantine/") else None
        paths = self._jpegs()
        held_now = {path for path in paths if self.held.get(path) == state_of(path)}
        requests = [self.desk.decide(path, folder, reason=reason) for path in paths]
        with self.held_images() as (journal, held), faults or nullcontext():
            outcomes = Filer(
                self.desk.output,
                journal=journal,
                held=held,
                duplicates=Duplicates(self.duplicates),
                layout=FolderLayout(self.layout, [self.desk.inbox]),
                rules=self._rules(),
            ).file(requests)
        if faults is None:
            assert {outcome.request.source.path for outcome in outcomes if outcome.status is Status.HELD} == held_now
        assert held_now <= set(self._jpegs()), "filed, although it is held"
        return {outcome.status for outcome in outcomes}

    def _rules(self) -> ClassRules:
        says = {
            "output": ClassRule(output=self.dogs),
            "leave": ClassRule(action="leave"),
            "tag": ClassRule(action="tag"),
        }
        usual = Handling(output=self.desk.output, layout=self.layout)
        return ClassRules(usual, {"dog": says[self.dog_rule]} if self.dog_rule in says else {})

    def _undo(self, count: int, faults: Faults | None = None) -> None:
        with self.held_images() as (journal, held):
            filings = journal.history(Wanted(states=[State.DONE], as_written=True), count)
            with faults or nullcontext():
                undone = list(undo(journal, filings, held=held))
        for image in undone:
            if image.held and image.destination is not None:
                self.held[image.destination] = state_of(image.destination)
            elif image.filing.action == "tag" and image.status is Status.UNDONE:
                self.held[image.filing.source] = state_of(image.filing.source)  # it has not moved

    def _jpegs(self) -> list[Path]:
        return [path for path in images(self.desk.inbox) if path.name[0] != "." and path.suffix == ".jpg"]

    @contextmanager
    def held_images(self) -> Iterator[tuple[Journal, HeldImages]]:
        """The held images as a program knows them that has just been started, and its journal."""
        journal = self.desk.journal()
        try:
            yield journal, HeldImages(journal, self.desk.output, [self.desk.inbox])
        finally:
            journal.close()
