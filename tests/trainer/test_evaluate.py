from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from models.classifier import open_classifier
from models.errors import CheckpointError, UserError
from models.images import decode
from models.weights import WeightsStore
from tests.trainer.conftest import make_shapes
from trainer.evaluate import EvaluateOptions, evaluate
from trainer.fit import Outcome


def test_files_and_figures(fitted: Outcome, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = evaluate(EvaluateOptions(data_dir=shapes, checkpoint=fitted.run.parent, output_dir=tmp_path / "out"))
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "confusion_matrix.png",
        "mistakes.png",
        "predictions.csv",
        "reliability.png",
        "report.json",
        "report.txt",
        "risk_coverage.png",
    ]
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(summary))
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    right = [row["true"] == row["predicted"] for row in rows]
    assert summary["figures"]["accuracy"] == pytest.approx(sum(right) / 72)
    said = capsys.readouterr().out
    assert (out / "report.txt").read_text(encoding="utf-8") in said
    assert "72 of these images are among those it was fitted on" in said


def test_each_prediction_is_what_the_daemon_would_say(
    fitted: Outcome, shapes: Path, store: WeightsStore, tmp_path: Path
) -> None:
    evaluate(EvaluateOptions(data_dir=shapes, checkpoint=fitted.run, output_dir=tmp_path, batch_size=3))
    classifier = open_classifier(fitted.run, store)
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        for row in list(csv.DictReader(file))[::6]:
            with (shapes / row["file"]).open("rb") as image:
                crops = decode(image, classifier.transforms)
            prediction = classifier.predict([crop[None] for crop in crops])[0]
            assert prediction.label == row["predicted"]
            assert prediction.confidence == pytest.approx(float(row["confidence"]), abs=1e-4)


def test_classes_are_matched_by_name_whatever_folders_there_are(
    fitted: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_shapes(tmp_path / "data", 4, labels=("circle",), first=200)
    make_shapes(data, 4, labels=("a first one", "cross"), first=200)  # sorts before the others
    summary = evaluate(EvaluateOptions(data_dir=data, checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert (summary["only_in_data"], summary["only_in_checkpoint"]) == (["a first one"], ["square"])
    assert summary["figures"]["images"] == 8
    assert summary["figures"]["accuracy"] > 0.4
    said = capsys.readouterr().out
    assert "does not know a first one" in said
    assert "the data has no square" in said
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["true"] for row in csv.DictReader(file)].count("a first one") == 4


def test_unreadable_images_are_named_and_left_out(fitted: Outcome, shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "data")
    (tmp_path / "data" / "circle" / "empty.jpg").touch()
    summary = evaluate(EvaluateOptions(data_dir=tmp_path / "data", checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert summary["unreadable"] == ["circle/empty.jpg: empty, The file is empty."]
    assert summary["figures"]["images"] == 72


def test_nothing_in_common_is_said(fitted: Outcome, tmp_path: Path) -> None:
    data = make_shapes(tmp_path / "data", 2, labels=("x", "y"))
    with pytest.raises(UserError, match="no class of"):
        evaluate(EvaluateOptions(data_dir=data, checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_checkpoint_is_said(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing is published"):
        evaluate(EvaluateOptions(data_dir=shapes, checkpoint=tmp_path))


def test_the_report_goes_by_run_and_data_when_nothing_else_is_said(
    fitted: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "나의 사진", 2)
    evaluate(EvaluateOptions(data_dir=Path("나의 사진"), checkpoint=fitted.run.parent))
    assert (tmp_path / "reports" / f"{fitted.run.name}-나의 사진" / "report.txt").is_file()
