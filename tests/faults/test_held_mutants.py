"""Holding made wrong on purpose, in each of the ways it must not be: some test has to notice, or it is blind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from daemon.filing import transfer
from daemon.filing.held import HeldImages
from daemon.filing.transfer import Transfer
from daemon.journal.held import Held
from daemon.journal.journal import Journal
from tests.daemon.filing import test_held
from tests.faults.machine import Machine
from tests.faults.test_mutants import caught
from tests.faults.test_undo_kill import Undoing, kill_and_check
from tests.faults.tracer import Point, need_strace, points, trace
from tests.filing_desk import Desk, far_folder, make_desk


@pytest.fixture
def near(tmp_path: Path) -> Desk:
    return make_desk(tmp_path)


@pytest.fixture
def quick() -> Iterator[Path]:
    need_strace()
    with far_folder() as quick:
        yield quick


#: In the line of the call that brings an image back.
MOVED = ("renameat2", "/sorted/cat>", "/inbox>", "RENAME_NOREPLACE) = 0")


def point_after(scenario: Undoing, log: Path, *parts: str, calls: int = 1) -> Point:
    """The call so many after the first one with all of these in its line."""
    scenario.prepare()
    lines = trace(scenario.work, log)
    index = next(number for number, line in enumerate(lines) if all(part in line for part in parts))
    return points(lines[: index + 1 + calls])[-1]


def test_what_is_held_is_written_after_the_move(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undoing = Undoing(quick, None)
    moved = point_after(undoing, tmp_path / "trace", *MOVED)
    kill_and_check(undoing, moved)
    held, run = Transfer.held, transfer.run

    def late(transfers: Sequence[Transfer], journal: Journal) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Transfer, "held", property(lambda self: []))
            run(transfers, journal)
        journal.write([], held=[image for each in transfers for image in held.fget(each)])  # type: ignore[attr-defined]

    monkeypatch.setattr(transfer, "run", late)
    caught(lambda: kill_and_check(undoing, moved))


def test_an_original_is_held_after_its_copy_is_gone(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undoing = Undoing(quick, None, "copy")
    removed = point_after(undoing, tmp_path / "trace", "unlink", ".drop.", "= 0")
    kill_and_check(undoing, removed)
    hold = HeldImages.hold

    def only_in_memory(self: Journal, *_: object, held: Sequence[Held] = (), **__: object) -> None:
        if not held:
            write(self, *_, **__)  # type: ignore[arg-type]

    write = Journal.write
    monkeypatch.setattr(Journal, "write", only_in_memory)
    monkeypatch.setattr(HeldImages, "hold", hold)
    caught(lambda: kill_and_check(undoing, removed))


def test_what_is_held_is_not_looked_up_after_a_restart(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "held", lambda self: [])
    caught(lambda: restarted(near))
    monkeypatch.undo()
    monkeypatch.setattr(HeldImages, "holds", lambda *_: False)
    caught(lambda: machine_that_undoes())


def restarted(desk: Desk) -> None:
    journal = desk.journal()
    try:
        test_held.test_what_is_back_is_not_filed_again(desk, journal, "move")
    finally:
        journal.close()


def machine_that_undoes() -> None:
    """The steps by which the machine finds that an image is filed although it is held."""
    machine = Machine()
    machine.begin(two=False)
    try:
        machine.write(["cat.jpg"])
        machine.file("cat")
        machine.undo(1)
        machine.file("dog")
    finally:
        machine.teardown()


def test_the_machine_finds_nothing_wrong() -> None:
    machine_that_undoes()


def test_an_undo_that_is_taken_back_stays_held(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undoing = Undoing(quick, None)
    moving = point_after(undoing, tmp_path / "trace", *MOVED, calls=0)
    kill_and_check(undoing, moving)
    monkeypatch.setattr(Journal, "release", lambda *_: None)
    caught(lambda: kill_and_check(undoing, moving))


def test_an_image_is_held_under_a_name_that_it_has_not(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldImages, "release_at", lambda *_: None)
    journal = near.journal()
    with pytest.MonkeyPatch.context() as inner:
        caught(lambda: test_held.test_a_name_that_is_taken_at_the_last_moment_is_not_held(near, journal, inner))
    journal.close()


def test_a_changed_image_stays_held(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = HeldImages.holds_state

    def by_path(self: HeldImages, path: str, size: int, mtime_ns: int, inode: int) -> bool:
        held = next((image for image in self.all() if str(image.path) == path), None)
        return held is not None or real(self, path, size, mtime_ns, inode)

    monkeypatch.setattr(HeldImages, "holds_state", by_path)
    journal = near.journal()
    caught(lambda: test_held.test_it_is_filed_once_it_has_changed_or_is_renamed(near, journal, test_held.write_again))
    journal.close()


def test_sidecars_leave_their_held_image(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldImages, "keeps", lambda *_: False)
    caught(lambda: test_held.test_sidecars_stay_with_a_held_image(near))


def test_a_release_is_not_written(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "release", lambda *_: None)
    journal = near.journal()
    caught(lambda: test_held.test_it_is_filed_once_it_is_released(near, journal, "move"))
    journal.close()
