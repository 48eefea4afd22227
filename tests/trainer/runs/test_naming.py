"""Which run a name on the command line means, and what is said where it means none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from models.checkpoints import checkpoint as checkpoints
from models.text.commandline import run
from trainer.__main__ import main
from trainer.fit import FitOutcome


@pytest.fixture
def folder(fitted: FitOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs a to c, of which b was made last; nothing is published. The folder above is the current one."""
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate("bca"):
        copy = shutil.copytree(fitted.run, tmp_path / "checkpoints" / f"{name}-mobilenet")
        os.utime(copy / checkpoints.FILE_NAME, (1_800_000_000 - age, 1_800_000_000 - age))
    (tmp_path / "checkpoints" / "zz-of-nobody").mkdir()
    return tmp_path / "checkpoints"


def published(folder: Path) -> str | None:
    pointer = checkpoints.read_pointer(folder)
    return None if pointer is None else pointer.run


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence with which a command refuses."""
    assert run(main, list(map(str, arguments))) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    return sentence


def test_the_latest_is_the_run_that_was_made_last(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["publish", "latest"]) == 0
    assert published(folder) == "b-mobilenet"
    assert f"published {folder / 'b-mobilenet'}: 3 classes" in capsys.readouterr().out


def test_a_folder_of_that_name_is_meant_first(folder: Path) -> None:
    shutil.copytree(folder / "a-mobilenet", folder / "latest")
    assert run(main, ["publish", "latest"]) == 0
    assert published(folder) == "latest"


def test_a_latest_run_that_is_damaged_is_named_and_no_older_one_is_published(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "b-mobilenet" / checkpoints.FILE_NAME
    file.write_bytes(file.read_bytes()[:100])
    os.utime(file, (1_800_000_000, 1_800_000_000))
    assert str(file) in refused(capsys, "publish", "latest")
    assert published(folder) is None


@pytest.mark.parametrize(("given", "meant"), [("lastest", "latest"), ("A-mobilnet", "a-mobilenet")])
def test_a_misspelled_run_is_guessed(given: str, meant: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "publish", given).endswith(f"there is no run {given} in checkpoints: did you mean {meant}?")


def test_a_run_that_is_not_there_is_refused_with_where_to_look(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, "publish", "20200101", "--output-dir", folder)
    assert f"there is no run 20200101, neither in {folder} nor as a folder" in sentence
    assert f"python -m trainer list --output-dir {folder}" in sentence


@pytest.mark.parametrize("given", [(), ("--checkpoint", "checkpoints")])
def test_evaluate_where_no_run_is_published_says_how_to_publish_one(
    given: tuple[str, ...], folder: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(capsys, "evaluate", "--data-dir", shapes, *given)
    assert "no run is published in checkpoints: give a run folder" in sentence
    assert "python -m trainer publish latest --output-dir checkpoints" in sentence


def test_evaluate_takes_what_is_published_unless_it_is_told_otherwise(folder: Path, shapes: Path) -> None:
    assert run(main, ["publish", "c-mobilenet"]) == 0
    assert run(main, ["evaluate", "--data-dir", str(shapes), "--output-dir", "report"]) == 0
    assert (folder.parent / "report" / "report.txt").is_file()


def test_evaluate_where_nothing_was_fitted_says_how_to_make_a_checkpoint(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = refused(capsys, "evaluate", "--data-dir", shapes)
    assert "there is no checkpoint checkpoints: make one with python -m trainer fit" in sentence
    (tmp_path / "checkpoints").mkdir()
    sentence = refused(capsys, "evaluate", "--data-dir", shapes)
    assert "nothing is published in checkpoints: make a checkpoint with python -m trainer fit" in sentence
