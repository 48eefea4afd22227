"""Nothing is relied on before it is durable: the order of the system calls, which no kill can show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.filing.filer import Action
from tests.faults.order import COPY, LINK, MOVE_BY_COPY, RENAME, steps
from tests.faults.tracer import need_strace, trace
from tests.filing_desk import Desk, far_folder, make_desk


@pytest.fixture(autouse=True)
def _strace() -> None:
    need_strace()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Desk]:
    with far_folder() as folder:
        yield make_desk(tmp_path, folder)


def steps_of(desk: Desk, log: Path, action: Action) -> tuple[str, ...]:
    """The steps of filing one image into a folder that is there."""
    desk.file_one(desk.put("before.jpg"))
    decision = desk.decide(desk.put())
    return steps(trace(lambda: desk.file([decision], action=action), log))


@pytest.mark.parametrize(("action", "expected"), [("move", RENAME), ("copy", COPY), ("link", LINK)])
def test_on_one_file_system(tmp_path: Path, action: Action, expected: tuple[str, ...]) -> None:
    assert steps_of(make_desk(tmp_path), tmp_path / "trace", action) == expected


@pytest.mark.parametrize(("action", "expected"), [("move", MOVE_BY_COPY), ("copy", COPY), ("link", COPY)])
def test_across_two(far: Desk, tmp_path: Path, action: Action, expected: tuple[str, ...]) -> None:
    assert steps_of(far, tmp_path / "trace", action) == expected
