"""Kill the program at every system call it makes while it files a batch, and again while it recovers from that."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files import renaming
from daemon.filing.duplicates import DuplicatePolicy
from daemon.filing.filer import Action
from tests.faults.scenario import Scenario
from tests.faults.tracer import Point, kill_at, need_strace, points, trace
from tests.filing_desk import failing, far_folder

pytestmark = pytest.mark.timeout(2 * 3600)


@pytest.fixture(params=["one file system", "two file systems"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path | None]]:
    need_strace()
    with far_folder() as quick:  # in memory: thousands of flushes are made here
        yield quick, None if request.param == "one file system" else tmp_path


def all_points(scenario: Scenario, log: Path) -> list[Point]:
    scenario.prepare()
    return points(trace(scenario.work, log))


def kill_and_check(scenario: Scenario, point: Point) -> None:
    scenario.prepare()
    assert kill_at(point, scenario.work), f"{point} was not reached"
    scenario.check_nothing_lost()
    scenario.recover()
    scenario.check_after_recovery()
    scenario.check_to_the_end()


def sample(population: list[Point], size: int) -> list[Point]:
    return random.Random(1).sample(population, min(size, len(population)))


@pytest.mark.parametrize(
    ("action", "folder"), [("move", "cat"), ("copy", "cat"), ("link", "cat"), ("move", "animals/cat")]
)
def test_a_kill_loses_nothing(places: tuple[Path, Path | None], tmp_path: Path, action: Action, folder: str) -> None:
    scenario = Scenario(*places, action, folder)
    population = all_points(scenario, tmp_path / "trace")
    assert len(population) > 50
    for point in sample(population, 5):
        kill_and_check(scenario, point)


@pytest.mark.parametrize("duplicates", ["folder", "leave"])
def test_a_kill_loses_no_duplicate(
    places: tuple[Path, Path | None], tmp_path: Path, duplicates: DuplicatePolicy
) -> None:
    scenario = Scenario(*places, duplicates=duplicates)
    for point in sample(all_points(scenario, tmp_path / "trace"), 6):
        kill_and_check(scenario, point)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("duplicates", ["folder", "leave"])
def test_a_kill_at_every_call_loses_no_duplicate(
    places: tuple[Path, Path | None], tmp_path: Path, action: Action, duplicates: DuplicatePolicy
) -> None:
    scenario = Scenario(*places, action, duplicates=duplicates)
    population = all_points(scenario, tmp_path / "trace")
    for point in population:
        kill_and_check(scenario, point)
    print(f"{len(population)} kill points")


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["cat", "animals/cat"])
@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_a_kill_at_every_call_loses_nothing(
    places: tuple[Path, Path | None], tmp_path: Path, action: Action, folder: str
) -> None:
    scenario = Scenario(*places, action, folder)
    population = all_points(scenario, tmp_path / "trace")
    for point in population:
        kill_and_check(scenario, point)
    print(f"{len(population)} kill points")


@pytest.fixture(params=["no rename", "neither rename nor link"])
def poor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """One file system that lacks calls."""
    need_strace()
    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    if request.param != "no rename":
        monkeypatch.setattr(renaming, "link", failing(errno.EPERM))
    with far_folder() as quick:
        yield Scenario(quick, None)


def test_a_kill_loses_nothing_where_calls_are_missing(poor: Scenario, tmp_path: Path) -> None:
    for point in sample(all_points(poor, tmp_path / "trace"), 6):
        kill_and_check(poor, point)


@pytest.mark.slow
def test_a_kill_at_every_call_loses_nothing_where_calls_are_missing(poor: Scenario, tmp_path: Path) -> None:
    population = all_points(poor, tmp_path / "trace")
    for point in population:
        kill_and_check(poor, point)
    print(f"{len(population)} kill points")


def kill_twice(scenario: Scenario, first: Point, log: Path, most: int) -> int:
    """Kill the work once, and the recovery from that at its points; returns at how many."""
    scenario.prepare()
    kill_at(first, scenario.work)
    population = points(trace(scenario.recover, log))
    seconds = sample(population, most)
    for second in seconds:
        scenario.prepare()
        kill_at(first, scenario.work)
        assert kill_at(second, scenario.recover), f"{second} was not reached"
        scenario.check_nothing_lost()
        scenario.recover()
        scenario.check_after_recovery()
        scenario.check_to_the_end()
    return len(seconds)


def test_a_kill_during_the_recovery_loses_nothing(places: tuple[Path, Path | None], tmp_path: Path) -> None:
    scenario = Scenario(*places)
    for first in sample(all_points(scenario, tmp_path / "trace"), 3):
        assert kill_twice(scenario, first, tmp_path / "trace", 2) > 0


@pytest.mark.slow
def test_a_kill_at_every_call_of_the_recovery_loses_nothing(places: tuple[Path, Path | None], tmp_path: Path) -> None:
    scenario = Scenario(*places)
    firsts = sample(all_points(scenario, tmp_path / "trace"), 40)
    count = sum(kill_twice(scenario, first, tmp_path / "trace", 1000) for first in firsts)
    print(f"{count} double crashes")
