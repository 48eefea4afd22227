from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models import checkpoint as checkpoints
from models.errors import CheckpointError, UserError
from trainer.fit import Outcome
from trainer.publish import HISTORY, as_rows, list_runs, publish, rollback


@pytest.fixture
def runs(fitted: Outcome, tmp_path: Path) -> Path:
    """Three runs a, b, c with the same checkpoint; nothing is published."""
    for name in "abc":
        shutil.copytree(fitted.run, tmp_path / name)
    return tmp_path


def current(folder: Path) -> str | None:
    pointer = checkpoints.read_pointer(folder)
    return None if pointer is None else pointer.run


def test_publishing_points_at_the_run_and_its_very_file(runs: Path) -> None:
    found = publish(runs / "b")
    assert current(runs) == "b"
    assert checkpoints.load(runs).digest == found.digest


def test_rolling_back_goes_back_step_by_step(runs: Path) -> None:
    for name in "abc":
        publish(runs / name)
    assert rollback(runs) == ("b", "c")
    assert rollback(runs) == ("a", "b")
    with pytest.raises(UserError, match="nothing to go back to"):
        rollback(runs)
    assert current(runs) == "a"


def test_publishing_again_after_a_rollback_leads_back_to_where_it_was(runs: Path) -> None:
    for name in "abc":
        publish(runs / name)
    rollback(runs)
    publish(runs / "a")
    assert rollback(runs) == ("b", "a")


def test_publishing_the_same_run_twice_is_one_step(runs: Path) -> None:
    for name in "abb":
        publish(runs / name)
    assert rollback(runs) == ("a", "b")


def test_nothing_published_is_said(runs: Path) -> None:
    with pytest.raises(UserError, match="nothing is published"):
        rollback(runs)


def test_a_damaged_run_is_not_published(runs: Path) -> None:
    publish(runs / "a")
    (runs / "b" / checkpoints.FILE_NAME).write_bytes(b"damaged")
    with pytest.raises(CheckpointError):
        publish(runs / "b")
    assert current(runs) == "a"


def test_no_step_back_to_a_damaged_or_missing_run(runs: Path) -> None:
    publish(runs / "a")
    publish(runs / "b")
    shutil.rmtree(runs / "a")
    with pytest.raises(CheckpointError):
        rollback(runs)
    assert current(runs) == "b"


def test_a_line_that_was_cut_off_is_passed_over(runs: Path) -> None:
    publish(runs / "a")
    with (runs / HISTORY).open("a") as file:
        file.write('{"run": "x", "sha\n')
    publish(runs / "b")
    assert rollback(runs) == ("a", "b")


def test_runs_are_listed_with_their_figures(runs: Path, fitted: Outcome) -> None:
    publish(runs / "b")
    (runs / "c" / checkpoints.FILE_NAME).write_bytes(b"damaged")
    (runs / ".run.half").mkdir()
    rows = as_rows(list_runs(runs))
    assert [(row["run"], row["current"], bool(row["problem"])) for row in rows] == [
        ("a", False, False),
        ("b", True, False),
        ("c", False, True),
    ]
    assert rows[0]["images"] == 72
    assert rows[0]["accuracy"] == fitted.measured.figures()["accuracy"]
