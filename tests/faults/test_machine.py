"""No image is lost, doubled or changed, whatever the machine draws; and what it has found, step by step."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from daemon.journal.history import Wanted
from daemon.journal.records import State
from tests.faults.machine import Machine


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


@contextmanager
def begun(**how: Any) -> Iterator[Machine]:
    """A machine that has begun, see `Machine.begin`."""
    machine = Machine()
    machine.begin(**how)
    try:
        yield machine
    finally:
        machine.teardown()


def one_writer_that_pauses() -> None:
    """The steps by which the machine finds a program that unlinks what is open."""
    with begun(two=True) as machine:
        machine.somebody_opens_a_file_for_writing("cat.jpg")
        machine.go_on(machine.desk.inbox / "cat.jpg")
        machine.file("cat")
        machine.go_on(machine.desk.inbox / "cat.jpg")
        machine.every_image_is_in_one_place()


def test_nothing_is_lost_of_a_writer_that_pauses() -> None:
    one_writer_that_pauses()


def two_that_would_get_one_name(at: int, two: bool) -> None:
    """The steps by which the machine finds an undo that holds only one of them; it stops at its ``at``-th call."""
    with begun(two=two) as machine:
        machine.write(["cat.jpg", "cat_2.jpg"])
        machine.file("cat")
        machine.write(["cat.jpg"])
        machine.crash_while_undoing(2, at)
        machine.restart()
        machine.undo(2)
        machine.every_image_is_in_one_place()
        machine.file("dog")


@pytest.mark.parametrize("two", [False, True], ids=["one file system", "two file systems"])
def test_an_undo_that_stops_holds_both_that_would_get_one_name(two: bool) -> None:
    for at in range(1, 41):
        two_that_would_get_one_name(at, two)


@pytest.mark.parametrize("rule", ["none", "output"], ids=["one file system", "two file systems"])
def test_an_undo_that_stops_leaves_no_filing_into_the_inbox(rule: str) -> None:
    for at in range(1, 41):
        with begun(two=False, dog_rule=rule) as machine:
            machine.write(["cat.jpg"])
            machine.file("dog")
            machine.crash_while_undoing(1, at)
            machine.restart()
            with machine.held_images() as (journal, _):
                filed = journal.history(Wanted(states=[State.DONE], as_written=True), 4)
            assert machine.desk.inbox not in [filing.folder for filing in filed], at


def test_an_equal_image_at_the_name_that_was_taken_when_one_returned_is_not_held() -> None:
    for at in range(1, 41):
        with begun(two=False) as machine:
            machine.write_the_same_again("cat.jpg")
            machine.file("cat")
            machine.write(["cat.jpg"])
            machine.crash_while_undoing(1, at)
            machine.restart()
            machine.delete("cat.jpg")
            machine.write_the_same_again("cat.jpg")
            machine.crash_while_undoing(1, 5)
            machine.restart()
            machine.file("dog")
            machine.every_image_is_in_one_place()


def test_an_undo_that_stops_leaves_no_half_written_sidecar() -> None:
    for at in range(1, 41):
        with begun(two=False, dog_rule="tag") as machine:
            machine.write(["dog.jpg"])
            machine.file("dog")
            machine.crash_while_undoing(1, at)
            machine.restart()
            machine.every_image_is_in_one_place()


def test_an_undo_that_fails_releases_nothing_that_an_undo_before_it_has_brought_back() -> None:
    for at in range(1, 41):
        with begun(two=False, dog_rule="tag") as machine:
            machine.write(["dog.jpg"])
            machine.file("dog")
            machine.desk.put("dog.jpg", b"image 1")
            machine.expected = Counter([b"image 1"])
            machine.file("cat")
            machine.undo_with_an_error(2, at, errno.EIO)
            machine.every_image_is_in_one_place()


def test_a_tag_that_is_taken_back_is_not_given_again_because_of_an_earlier_one() -> None:
    with begun(two=False, dog_rule="tag") as machine:
        machine.write(["dog.jpg"])
        machine.file("dog")
        machine.write(["dog.jpg"])
        machine.file("dog")
        machine.undo(1)
        machine.file("dog")


def test_nothing_is_lost_whatever_happens() -> None:
    run(40, 30)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_nothing_is_lost_whatever_happens_for_long() -> None:
    run(2000, 50)
