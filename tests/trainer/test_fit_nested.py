"""Nested classes from the fit to the report: two that nobody can tell apart are rolled up into their folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.errors import CheckpointError
from models.weights.store import WeightsStore
from tests.models.small_checkpoints import with_metadata
from tests.trainer.conftest import COLOURS
from tests.trainer.test_learn import paint, write_labels
from trainer.evaluate import EvaluateOptions, evaluate
from trainer.fit import FitOutcome, fit
from trainer.fitted import FitOptions
from trainer.learn import LearnOptions, learn

CLASSES = ["cold/one", "cold/two", "grass", "warm"]


@pytest.fixture(scope="module")
def data(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blue pictures under two names, and green and red ones. Not to be changed."""
    root = tmp_path_factory.mktemp("nested")
    for folder, colour, half in (("cold/one", "blue", 0), ("cold/two", "blue", 1), ("grass", "green", 2)):
        (root / folder).mkdir(parents=True)
        for number, picture in enumerate(sorted((colours / colour).iterdir())):
            if half == 2 or number % 2 == half:
                shutil.copy(picture, root / folder)
    shutil.copytree(colours / "red", root / "warm")
    shutil.copy(colours / "blue" / "000.png", root / "cold")
    return root


@pytest.fixture(scope="module")
def nested(data: Path, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> FitOutcome:
    """A published run on it, whose folders may be wrong in a tenth. Not to be changed."""
    assert store.root.is_absolute()
    folder = tmp_path_factory.mktemp("nested runs") / "checkpoints"
    options = FitOptions(
        data_dir=data, nested=True, mode="efficientnet_lite0", max_error=0.1, output_dir=folder, publish="always"
    )
    return fit(options)


def metadata_of(outcome: FitOutcome) -> Metadata:
    return checkpoints.read(outcome.run / checkpoints.FILE_NAME).metadata


def test_the_checkpoint_has_classes_in_folders_and_their_threshold(nested: FitOutcome) -> None:
    metadata = metadata_of(nested)
    assert metadata.classes == CLASSES
    assert metadata.settings["nested"] is True
    (level,) = metadata.levels
    assert level.depth == 1
    assert level.promise is not None
    assert level.promise.max_error == 0.1
    assert metadata.served_levels == {1: level.threshold}


def test_the_run_tells_of_both_levels(nested: FitOutcome) -> None:
    metrics = json.loads((nested.run / "metrics.json").read_text(encoding="utf-8"))
    at_class, above = metrics["filing"]["levels"]
    assert (at_class["depth"], above["depth"]) == (0, 1)
    assert metrics["filing"]["filed"] == at_class["filed"] + above["filed"]
    assert above["filed"] >= 8
    assert metrics["thresholds"]["levels"][0]["depth"] == 1
    report = (nested.run / "report.txt").read_text(encoding="utf-8")
    assert "sure belong in the folder above their class (cold/) go there" in report
    assert "mistakes within it" in report
    assert (nested.run / "confusion_matrix_folders.png").exists()


def test_images_directly_above_classes_are_not_fitted_on(nested: FitOutcome) -> None:
    with (nested.run / "split.csv").open(encoding="utf-8", newline="") as file:
        assert "cold/000.png" not in {row["file"] for row in csv.DictReader(file)}


def test_a_program_that_reads_up_to_version_4_would_refuse_it(nested: FitOutcome, tmp_path: Path) -> None:
    """As this one refuses what is newer: in a sentence."""
    data = (nested.run / checkpoints.FILE_NAME).read_bytes()
    assert b'\\"schema_version\\":5' in data
    (tmp_path / "newer.safetensors").write_bytes(with_metadata(data, schema_version=6))
    with pytest.raises(CheckpointError, match="format version is 6 and this program reads up to 5: update the program"):
        checkpoints.read(tmp_path / "newer.safetensors")


def test_evaluate_reads_the_data_as_the_checkpoint_does(nested: FitOutcome, data: Path, tmp_path: Path) -> None:
    summary = evaluate(EvaluateOptions(data_dir=data, checkpoint=nested.run, output_dir=tmp_path / "out"))
    assert summary["coarse"] == {"images": 1, "folders": ["cold"]}
    assert set(summary["classes"]) == set(CLASSES)
    assert "not counted: 1 image that lies directly in a folder" in (tmp_path / "out" / "report.txt").read_text()
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    filed_as = {"sure": {*CLASSES}, "rolled up": {"cold"}, "unsure": {""}, "unknown": {""}}
    assert all(row["filed_as"] in filed_as[row["fate"]] for row in rows)
    rolled_up = [row for row in rows if row["fate"] == "rolled up"]
    assert len(rolled_up) == summary["filing"]["levels"][1]["filed"]


def test_a_lesson_takes_paths_for_classes_and_leaves_folders_of_classes_out(
    nested: FitOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(nested.run.parent, runs)
    black = [paint(tmp_path / "black" / f"{number}.png", (10, 10, 10), number) for number in range(12)]
    blue = paint(tmp_path / "blue.png", COLOURS["blue"], 77)
    labels = write_labels(tmp_path / "labels.jsonl", {**dict.fromkeys(black, "cold/night"), blue: "cold"})
    outcome = learn(LearnOptions(checkpoints=runs, labels=labels))
    said = capsys.readouterr().out
    assert "1 labelled image is left out, since cold holds folders of classes" in said
    assert outcome.run is not None, outcome.reason
    metadata = checkpoints.read(outcome.run / checkpoints.FILE_NAME).metadata
    assert metadata.classes == ["cold/night", *CLASSES]
    assert [level.depth for level in metadata.levels] == [1]
