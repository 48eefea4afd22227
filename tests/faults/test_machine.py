"""Writers, renamers, deleters, faults, crashes and restarts in any order: no image is lost, doubled or changed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from daemon.files import renaming
from daemon.filing.filer import Status
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.recovery import recover
from daemon.journal import records
from tests.filing_desk import far_folder, images, make_desk

NAMES = st.sampled_from(["cat.jpg", "dog.jpg", "cat_2.jpg", os.fsdecode(b"\xff.jpg"), "x" * 251 + ".jpg"])
SIDECARS = st.sampled_from(["cat.xmp", "cat.jpg.json", "dog.mov", "cat_2.dng"])
FOLDERS = st.sampled_from(["cat", "dog", "quarantine/corrupt"])
#: Every call through which filing changes something.
SEAMS = [
    *((os, name) for name in ("open", "write", "fsync", "rename", "unlink", "utime")),
    *((renaming, name) for name in ("rename_noreplace", "link")),
]
JOURNAL = [(records, "encode"), (records, "write_one")]
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


class Machine(RuleBasedStateMachine):
    """``expected`` holds the bytes of every image that people have put in and not taken out again."""

    @initialize(two=st.booleans())
    def begin(self, two: bool) -> None:
        self._stack = ExitStack()
        near = self._stack.enter_context(far_folder())
        far = Path(tempfile.mkdtemp()) if two else None
        if far is not None:
            self._stack.callback(shutil.rmtree, far)
        self.desk = make_desk(near, far)
        self.expected: Counter[bytes] = Counter()
        self.crashed = False
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

    @rule(name=NAMES)
    def write_the_same_again(self, name: str) -> None:
        path = self.desk.inbox / name
        if not path.exists():
            self.desk.put(name, b"always the same")
            self.expected[b"always the same"] += 1

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
        assert self._file(folder) <= ({Status.FILED, Status.CHANGED} if self.writers else {Status.FILED})

    @precondition(lambda self: not self.crashed)
    @rule()
    def late_sidecars_join(self) -> None:
        journal = self.desk.journal()
        LateSidecars([self.desk.inbox], self.desk.output, journal, recursive=True).work(60.0)
        journal.close()

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

    @invariant()
    def every_image_is_in_one_place(self) -> None:
        if not hasattr(self, "desk"):
            return
        contents = self.desk.contents()
        expected = +self.expected
        assert not expected - contents, "lost"
        if not self.crashed:
            assert contents == expected
            assert [path for path in images(self.desk.output) if path.name[0] == "."] == []
            assert [path for path in images(self.desk.inbox) if path.name[0] == "."] == []

    def _file(self, folder: str, faults: Faults | None = None) -> set[Status]:
        reason = "corrupt" if "/" in folder else None
        paths = [path for path in images(self.desk.inbox) if path.name[0] != "." and path.suffix == ".jpg"]
        decisions = [self.desk.decide(path, folder, reason=reason) for path in paths]
        with faults or nullcontext():
            return {outcome.status for outcome in self.desk.file(decisions)}


def run(examples: int, steps: int) -> None:
    quiet = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=examples < 100,
        database=None,
    )
    run_state_machine_as_test(Machine, settings=quiet)


def one_writer_that_pauses() -> None:
    """The steps by which the machine finds a program that unlinks what is open."""
    machine = Machine()
    machine.begin(two=True)
    try:
        machine.somebody_opens_a_file_for_writing("cat.jpg")
        machine.go_on(machine.desk.inbox / "cat.jpg")
        machine.file("cat")
        machine.go_on(machine.desk.inbox / "cat.jpg")
        machine.every_image_is_in_one_place()
    finally:
        machine.teardown()


def test_nothing_is_lost_of_a_writer_that_pauses() -> None:
    one_writer_that_pauses()


def test_nothing_is_lost_whatever_happens() -> None:
    run(80, 30)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_is_lost_whatever_happens_for_long() -> None:
    run(2000, 50)
