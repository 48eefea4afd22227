from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from models.checkpoints import checkpoint as checkpoints
from models.classifier import open_classifier
from models.decoding.images import decode
from models.errors import CheckpointError, UserError
from models.weights.store import WeightsStore
from tests.trainer.conftest import make_shapes
from trainer.evaluate import EvaluateOptions, evaluate
from trainer.fit import FitOutcome
from trainer.measuring.classify import open_checkpoint


@pytest.mark.drawn
def test_files_and_figures(
    fitted: FitOutcome, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    right = [row["label"] == row["predicted"] for row in rows]
    assert [row["right"] for row in rows] == [str(int(each)) for each in right]
    assert all(row["in_top_3"] == "1" for row in rows)  # of three classes
    assert summary["figures"]["accuracy"] == pytest.approx(sum(right) / 72)
    said = capsys.readouterr().out
    report = (out / "report.txt").read_text(encoding="utf-8")
    assert report.partition("\n\n")[2] in said
    assert f"images             72, {sum(right)} of them right" in report
    assert "72 of these images are among those it was fitted on" in said


def test_each_prediction_is_what_the_daemon_would_say(
    fitted: FitOutcome, shapes: Path, store: WeightsStore, tmp_path: Path
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
            assert prediction.strangeness == pytest.approx(float(row["strangeness"]), abs=1e-3)


def test_it_tells_what_the_daemon_would_file(
    fitted: FitOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain pictures are unlike all shapes, whatever class they are put to; none was asked of it, so half is enough."""
    data = make_shapes(tmp_path / "data", 6, labels=("circle", "cross"), first=200)
    (data / "plain").mkdir()
    for label, shade in (("circle", 20), ("plain", 60), ("plain", 250)):
        Image.new("RGB", (64, 64), (shade, 20, 90)).save(data / label / f"plain{shade}.png")
    summary = evaluate(EvaluateOptions(data_dir=data, checkpoint=fitted.run, output_dir=tmp_path / "out"))
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["fate"] for row in rows if "plain" in row["file"]} == {"unknown"}
    for row in rows:
        sure = "sure" if float(row["confidence"]) >= 0.5 else "unsure"
        assert row["fate"] == ("unknown" if float(row["strangeness"]) > 1 else sure)
    known = [row for row in rows if row["label"] != "plain"]
    filed = [row for row in known if row["fate"] == "sure"]
    filing = summary["filing"]
    assert filing["threshold"] == 0.5
    assert (filing["filed"], filing["filed_share"]) == (len(filed), pytest.approx(len(filed) / 13))
    assert filing["wrong"] == sum(row["right"] == "0" for row in filed)
    assert filing["refused_as_unknown"] == sum(row["fate"] == "unknown" for row in known) >= 1
    assert summary["unknown_classes"]["refused_as_unknown"] == 2
    assert summary["unknown_classes"]["filed"] == 0
    assert f"filed              {len(filed)} ({len(filed) / 13:.1%})" in capsys.readouterr().out


def test_classes_are_matched_by_name_whatever_folders_there_are(
    fitted: FitOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_shapes(tmp_path / "data", 4, labels=("circle",), first=200)
    make_shapes(data, 4, labels=("a first one", "cross"), first=200)  # sorts before the others
    summary = evaluate(EvaluateOptions(data_dir=data, checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert (summary["only_in_data"], summary["only_in_checkpoint"]) == (["a first one"], ["square"])
    assert summary["figures"]["images"] == 8
    assert summary["figures"]["accuracy"] > 0.4
    said = capsys.readouterr().out
    assert "does not know a first one" in said
    assert "the data has no image of square" in said
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == "a first one"]
    assert [(row["right"], row["true_probability"], row["in_top_3"]) for row in rows] == [("", "", "")] * 4
    unknown = summary["unknown_classes"]
    assert (unknown["images"], unknown["classes"]) == (4, {"a first one": 4})
    assert sum(unknown["taken_for"].values()) == 4
    assert "classes it does not know (a first one 4)" in said


def test_unreadable_images_are_named_and_left_out(fitted: FitOutcome, shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "data")
    (tmp_path / "data" / "circle" / "empty.jpg").touch()
    summary = evaluate(EvaluateOptions(data_dir=tmp_path / "data", checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert summary["unreadable"] == ["circle/empty.jpg: empty, The file is empty."]
    assert summary["figures"]["images"] == 72


def test_nothing_in_common_is_said(fitted: FitOutcome, tmp_path: Path) -> None:
    data = make_shapes(tmp_path / "data", 2, labels=("x", "y"))
    with pytest.raises(UserError, match="no class of"):
        evaluate(EvaluateOptions(data_dir=data, checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_checkpoint_is_said(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing is published"):
        evaluate(EvaluateOptions(data_dir=shapes, checkpoint=tmp_path))


def test_the_report_goes_by_run_and_data_when_nothing_else_is_said(
    fitted: FitOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_shapes(tmp_path / "나의 사진", 2)
    evaluate(EvaluateOptions(data_dir=Path("나의 사진"), checkpoint=fitted.run.parent))
    assert (tmp_path / "reports" / f"{fitted.run.name}-나의 사진" / "report.txt").is_file()


def test_upper_and_lower_case_are_one(fitted: FitOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_shapes(tmp_path / "data", 2, labels=("Circle", "CROSS"), first=200)
    summary = evaluate(EvaluateOptions(data_dir=data, checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert summary["renamed"] == {"CROSS": "cross", "Circle": "circle"}
    assert summary["figures"]["images"] == 4
    assert "images of CROSS count as its class cross" in capsys.readouterr().out


def test_one_class_alone_is_evaluated(fitted: FitOutcome, tmp_path: Path) -> None:
    data = make_shapes(tmp_path / "data", 2, labels=("circle",), first=200)
    (data / "cross").mkdir()
    summary = evaluate(EvaluateOptions(data_dir=data, checkpoint=fitted.run, output_dir=tmp_path / "out"))
    assert (summary["figures"]["images"], summary["empty_folders"]) == (2, ["cross"])


@pytest.mark.parametrize("given", ["file", "run", "folder"])
def test_a_checkpoint_is_a_file_a_run_or_the_folder_of_runs(given: str, fitted: FitOutcome) -> None:
    paths = {"file": fitted.run / "checkpoint.safetensors", "run": fitted.run, "folder": fitted.run.parent}
    assert open_checkpoint(paths[given], WeightsStore()).path.samefile(paths["file"])


def test_a_folder_without_images_is_one_sentence(fitted: FitOutcome, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        evaluate(EvaluateOptions(data_dir=tmp_path, checkpoint=fitted.run))
    (tmp_path / "circle").mkdir()
    with pytest.raises(UserError, match="no images in the class folders"):
        evaluate(EvaluateOptions(data_dir=tmp_path, checkpoint=fitted.run))


def test_two_checkpoints_are_compared_on_what_both_know(
    fitted: FitOutcome, shapes: Path, store: WeightsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = checkpoints.read(fitted.run / "checkpoint.safetensors")
    metadata = other.metadata.model_copy(update={"classes": ["cross", "circle", "triangle"]})
    path = tmp_path / "swapped.safetensors"
    checkpoints.write(replace(other, metadata=metadata), path)
    options = EvaluateOptions(data_dir=shapes, checkpoint=fitted.run, compare=path, output_dir=tmp_path / "out")
    compared = evaluate(options)["compare"]
    assert (compared["images"], compared["only_in_first"], compared["only_in_second"]) == (48, ["square"], ["triangle"])
    assert compared["better"] == fitted.run.name
    assert compared["p"] < 1e-6
    said = capsys.readouterr().out
    assert f"{fitted.run.name} is better (p = " in said
    assert "compared on images of those that both know" in said
    with (tmp_path / "out" / "only_one_right.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["right"] for row in rows} >= {"first"}
    assert sum(row["right"] == "first" for row in rows) == compared["runs"][0]["right_alone"]
    evaluate(replace(options, compare=None))
    assert not (tmp_path / "out" / "only_one_right.csv").exists()  # it would be of another evaluation


def test_a_checkpoint_is_not_compared_with_itself(fitted: FitOutcome, shapes: Path) -> None:
    with pytest.raises(UserError, match="are the same checkpoint"):
        evaluate(EvaluateOptions(data_dir=shapes, checkpoint=fitted.run, compare=fitted.run.parent))
