"""Let every system call fail once while a batch is filed: the program bears it and loses nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.filing.filer import Action
from tests.faults.scenario import Scenario
from tests.faults.tracer import Point, fail_at, need_strace, points, trace
from tests.filing_desk import far_folder

pytestmark = pytest.mark.timeout(2 * 3600)

ERRORS = ("EIO", "ENOSPC", "EMFILE", "EINVAL")


@pytest.fixture(params=["one file system", "two file systems"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path | None]]:
    need_strace()
    with far_folder() as quick:  # in memory: thousands of flushes are made here
        yield quick, None if request.param == "one file system" else tmp_path


def faults(scenario: Scenario, log: Path) -> list[tuple[Point, str]]:
    scenario.prepare()
    return [(point, error) for point in points(trace(scenario.work, log)) for error in ERRORS]


def fail_and_check(scenario: Scenario, point: Point, error: str) -> None:
    scenario.prepare()
    fail_at(point, error, scenario.work)
    scenario.check_nothing_lost()
    scenario.recover()
    scenario.check_after_recovery()
    scenario.check_to_the_end()


@pytest.mark.parametrize("action", ["move", "copy"])
def test_an_error_loses_nothing(places: tuple[Path, Path | None], tmp_path: Path, action: Action) -> None:
    scenario = Scenario(*places, action)
    for point, error in random.Random(1).sample(faults(scenario, tmp_path / "trace"), 5):
        fail_and_check(scenario, point, error)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_an_error_of_every_call_loses_nothing(places: tuple[Path, Path | None], tmp_path: Path, action: Action) -> None:
    scenario = Scenario(*places, action)
    population = faults(scenario, tmp_path / "trace")
    for point, error in population:
        fail_and_check(scenario, point, error)
    print(f"{len(population)} error points")
