"""Fits with ``--unlabelled``, from folders to the run folder."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.checkpoints import checkpoint as checkpoints
from tests.trainer.conftest import draw, make_shapes
from trainer.data.unlabelled import UnlabelledCounts
from trainer.fit import FitOutcome, fit
from trainer.fitted import FitOptions
from trainer.reports.unlabelled import unlabelled_sentences


def fitted_with(data: Path, runs: Path, *unlabelled: Path, **more: Any) -> FitOutcome:
    plain: dict[str, Any] = {"mode": "efficientnet_lite0", "epochs": 2, "unlabelled": unlabelled, "publish": "always"}
    return fit(FitOptions(data_dir=data, output_dir=runs, **(plain | more)))


def figures(outcome: FitOutcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((outcome.run / "metrics.json").read_text(encoding="utf-8"))["unlabelled"]
    return found


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return make_shapes(tmp_path / "data", 5)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Forty new shapes without order, a copy of a labelled one, and a file that is no image."""
    folder = tmp_path / "inbox" / "holiday"
    folder.mkdir(parents=True)
    for number in range(40):
        draw(("circle", "cross", "square")[number % 3], 100 + number).save(folder / f"{number}.png")
    draw("circle", 0).save(folder / "copy.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder.parent


def test_a_run_records_what_unlabelled_images_brought(
    few: Path, inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = fitted_with(few, tmp_path / "runs", inbox)
    found = figures(outcome)
    assert {name: found[name] for name in ("found", "used", "copies", "unreadable", "not_drawn")} == {
        "found": 42,
        "used": 40,
        "copies": 1,
        "unreadable": 1,
        "not_drawn": 0,
    }
    sentence = (
        "40 of 42 unlabelled images tried; 1 is already among the labelled images, or a copy of another; "
        "1 cannot be read"
    )
    verdict = "learned from them too" if found["taken"] else "not used"
    for text in (capsys.readouterr().out, (outcome.run / "report.txt").read_text(encoding="utf-8")):
        assert sentence in text
        assert verdict in text
    settings = tomllib.loads((outcome.run / "settings.toml").read_text(encoding="utf-8"))
    assert settings["unlabelled_1"] == str(inbox)
    metadata = checkpoints.load(tmp_path / "runs").metadata
    assert metadata.metrics["all_images"] == 15
    assert metadata.settings["unlabelled_1"] == str(inbox)


def test_figures_are_of_labelled_images_alone(few: Path, inbox: Path, tmp_path: Path) -> None:
    outcome = fitted_with(few, tmp_path / "runs", inbox)
    assert len(outcome.predictions.labels) == 15
    rows = (outcome.run / "split.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 16


def test_a_fit_without_them_says_nothing_of_them(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = fitted_with(few, tmp_path / "runs")
    assert figures(outcome) is None
    assert "unlabelled" not in capsys.readouterr().out
    assert "unlabelled" not in (outcome.run / "settings.toml").read_text(encoding="utf-8")


def test_an_empty_folder_changes_nothing(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = fitted_with(few, tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    outcome = fitted_with(few, tmp_path / "others", tmp_path / "empty")
    out = capsys.readouterr().out
    assert f"warning: no image in {tmp_path / 'empty'}" in out
    assert "there is no unlabelled image" in out
    assert "tried" not in out
    assert not figures(outcome)["taken"]
    assert (outcome.predictions.probabilities == plain.predictions.probabilities).all()


def test_they_are_not_tried_where_nothing_tells_what_they_do_to_a_class(
    few: Path, inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((few / "square").iterdir())[1:]:
        path.unlink()
    outcome = fitted_with(few, tmp_path / "runs", inbox)
    assert "not tried: for that, every class needs a held-out image" in capsys.readouterr().out
    assert not figures(outcome)["taken"]


def test_its_figures_are_those_of_the_comparison(few: Path, inbox: Path, tmp_path: Path) -> None:
    outcome = fitted_with(few, tmp_path / "runs", inbox)
    metrics = json.loads((outcome.run / "metrics.json").read_text(encoding="utf-8"))
    losses = [candidate["out_of_fold_loss"] for candidate in metrics["candidates"]]
    assert metrics["unlabelled"]["out_of_fold_loss"] in losses
    assert metrics["unlabelled"]["out_of_fold_loss_without"] in losses


@pytest.mark.parametrize(
    ("copies", "unreadable", "sentence"),
    [
        (0, 0, "5 of 9 unlabelled images tried"),
        (
            3,
            0,
            "5 of 9 unlabelled images tried; 3 are already among the labelled images, or copies of one another",
        ),
        (0, 2, "5 of 9 unlabelled images tried; 2 cannot be read"),
    ],
)
def test_counts_of_none_are_left_out(copies: int, unreadable: int, sentence: str) -> None:
    counts = UnlabelledCounts(found=9, used=5, undrawn=0, unreadable=unreadable, copies=copies)
    assert unlabelled_sentences(counts, None, is_tuned=True)[0] == sentence


def test_images_of_nothing_do_not_make_it_worse(few: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder = tmp_path / "noise"
    folder.mkdir()
    for number in range(30):
        Image.fromarray(random.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    plain, outcome = fitted_with(few, tmp_path / "runs"), fitted_with(few, tmp_path / "others", folder)
    assert figures(outcome)["taken"] or (outcome.predictions.losses == plain.predictions.losses).all()
    assert outcome.predictions.right.sum() >= plain.predictions.right.sum() - 1


def test_an_interrupted_fit_resumes_only_with_the_same_folders(
    few: Path, inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trainer.fit.choose_head", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted_with(few, tmp_path / "runs", inbox)
    fitted_with(few, tmp_path / "runs", inbox, resume=True)
    assert "resumes the interrupted fit" in capsys.readouterr().out
    fitted_with(few, tmp_path / "runs", resume=True)
    assert "starts from the beginning" in capsys.readouterr().out
