from __future__ import annotations

import csv
import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints import checkpoint as checkpoints
from models.classifier import open_classifier
from models.decoding.images import decode
from models.errors import UserError
from models.weights.store import WeightsStore
from tests.trainer.conftest import draw, make_shapes
from trainer.data import features
from trainer.data.folds import Folds
from trainer.fit import FitOutcome, fit
from trainer.fitted import FitOptions, Policy
from trainer.heads.choice import Choice
from trainer.heads.choosing import choose_head


def options(data: Path, folder: Path, **more: object) -> FitOptions:
    plain: dict[str, object] = {"data_dir": data, "mode": "efficientnet_lite0", "output_dir": folder, "epochs": 4}
    return FitOptions(**(plain | more))  # type: ignore[arg-type]


def test_a_run_folder_holds_everything_and_is_published(fitted: FitOutcome) -> None:
    assert sorted(path.name for path in fitted.run.iterdir()) == [
        "advice.txt",
        "audit.csv",
        "checkpoint.safetensors",
        "confusion_matrix.png",
        "curves.png",
        "features.safetensors",
        "history.csv",
        "metrics.json",
        "mistakes.png",
        "reliability.png",
        "report.txt",
        "risk_coverage.png",
        "settings.toml",
        "split.csv",
    ]
    assert fitted.published
    assert checkpoints.resolve(fitted.run.parent).parent == fitted.run
    assert fitted.run.name.endswith("-efficientnet_lite0")


def test_the_files_agree_with_each_other(fitted: FitOutcome, shapes: Path) -> None:
    metrics = json.loads((fitted.run / "metrics.json").read_text(encoding="utf-8"))
    with (fitted.run / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    held = [row for row in rows if row["side"] == "held-out"]
    assert len(rows) == 72
    assert metrics["images"] == {"all": 72, "held_out": len(held), "unreadable": 0}
    right = [row["predicted"] == row["label"] for row in held]
    assert metrics["held_out"]["accuracy"] == pytest.approx(np.mean(right))
    assert f"{len(held)} of 72 images" in (fitted.run / "report.txt").read_text(encoding="utf-8")
    settings = tomllib.loads((fitted.run / "settings.toml").read_text(encoding="utf-8"))
    assert (settings["data_dir"], settings["epochs"], settings["mode"]) == (str(shapes), 10, "efficientnet_lite0")


def test_the_checkpoint_says_what_it_is(fitted: FitOutcome) -> None:
    found = checkpoints.read(fitted.run / checkpoints.FILE_NAME)
    assert found.metadata.classes == ["circle", "cross", "square"]
    assert found.metadata.metrics == {**fitted.predictions.figures(), "all_images": 72.0}
    assert found.metadata.settings["lr"] == 1e-3
    assert found.metadata.versions["python"]
    assert len(found.metadata.data_digest) == 64
    assert (fitted.run / checkpoints.FILE_NAME).stat().st_size < 1 << 20


def test_shapes_are_told_apart_also_new_ones(fitted: FitOutcome, store: WeightsStore, tmp_path: Path) -> None:
    assert fitted.predictions.figures()["accuracy"] > 0.6
    classifier = open_classifier(fitted.run, store)
    right = 0
    for number in range(500, 510):
        for shape in classifier.classes:
            draw(shape, number).save(tmp_path / "new.png")
            with (tmp_path / "new.png").open("rb") as file:
                crops = decode(file, classifier.transforms)
            right += classifier.predict([crop[None] for crop in crops])[0].label == shape
    assert right > 20  # of 30


def test_a_seed_gives_the_same_run_again_and_another_seed_another_split(shapes: Path, tmp_path: Path) -> None:
    heads, splits = [], []
    for number, seed in enumerate((3, 3, 4)):
        outcome = fit(options(shapes, tmp_path / str(number), seed=seed))
        heads.append(checkpoints.read(outcome.run / checkpoints.FILE_NAME).head.weight)
        splits.append((outcome.run / "split.csv").read_text(encoding="utf-8"))
    assert (heads[0] == heads[1]).all()
    assert splits[0] == splits[1] != splits[2]


def test_a_second_fit_decodes_nothing(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    for name in ("weights", "graphs"):  # those of other backbones may be written at this moment
        for file in WeightsStore().folder(name).glob("efficientnet?lite0-*"):
            shutil.copy(file, WeightsStore(cache).folder(name))
    fit(options(shapes, tmp_path / "runs", cache_dir=cache))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image was decoded again")

    monkeypatch.setattr(features, "decode", refuse)
    assert fit(options(shapes, tmp_path / "runs", cache_dir=cache)).published


def relabelled(shapes: Path, outcome: FitOutcome, root: Path) -> Path:
    """The same images, but those of all folds but the first lie in the folder of the next class."""
    with (outcome.run / "split.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            label = row["label"]
            if row["fold"] != "0":
                label = {"circle": "cross", "cross": "square", "square": "circle"}[label]
            (root / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(shapes / row["file"], root / label / row["file"].replace("/", "-"))
    return root


def test_a_worse_checkpoint_is_not_published_unless_it_must_be(
    shapes: Path, fitted: FitOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(fitted.run.parent, folder)
    worse = relabelled(shapes, fitted, tmp_path / "data")
    outcome = fit(options(worse, folder))
    assert not outcome.published
    assert checkpoints.resolve(folder).parent.name == fitted.run.name
    assert "python -m trainer publish" in capsys.readouterr().out
    assert fit(options(worse, folder, publish="always")).published
    assert not fit(options(shapes, folder, publish="never")).published


def test_fitting_the_same_again_is_not_worse(shapes: Path, fitted: FitOutcome, tmp_path: Path) -> None:
    shutil.copytree(fitted.run.parent, tmp_path / "runs")
    outcome = fit(options(shapes, tmp_path / "runs", epochs=10))
    assert outcome.published
    assert "that neither had seen when it classified them" in outcome.reason


def test_what_may_be_guessing_is_said_and_not_published(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, path in enumerate(sorted(shapes.glob("*/*"))):
        label = "odd" if number % 2 else "even"
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "data" / label / f"{number}.png")
    outcome = fit(options(tmp_path / "data", tmp_path / "runs"))
    assert not outcome.published
    assert not (tmp_path / "runs" / "current.json").exists()
    said = capsys.readouterr().out
    assert "of 72 are right, and guessing has 36.0 right on average" in said
    assert "not published: nothing shows that it is better than guessing" in said


def test_other_classes_are_published_and_said(
    fitted: FitOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(fitted.run.parent, tmp_path / "runs")
    data = make_shapes(tmp_path / "data", 6, labels=("동그라미", "십자가"))
    outcome = fit(options(data, tmp_path / "runs"))
    assert outcome.published
    assert "new: 동그라미, 십자가; gone: circle, cross, square" in capsys.readouterr().out
    assert checkpoints.load(tmp_path / "runs").metadata.classes == ["동그라미", "십자가"]
    assert "동그라미" in (outcome.run / "report.txt").read_text(encoding="utf-8")


def test_max_samples_limits_each_class(shapes: Path, tmp_path: Path) -> None:
    outcome = fit(options(shapes, tmp_path, max_samples=5))
    assert checkpoints.load(tmp_path).metadata.metrics["all_images"] == 15
    assert outcome.run.parent == tmp_path


def test_few_images_are_folded_in_other_ways_too_in_which_copies_stay_together(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Folds]] = []

    def spied(*given: Any, redrawn_folds: list[Folds], **more: Any) -> Choice:
        asked.append([given[2], *redrawn_folds])
        return choose_head(*given, redrawn_folds=redrawn_folds, **more)

    monkeypatch.setattr("trainer.fit.choose_head", spied)
    shutil.copytree(shapes, tmp_path / "few")
    shutil.copy(tmp_path / "few/circle/003.png", tmp_path / "few/circle/copy.png")  # the last of 25
    make_shapes(tmp_path / "many", 40)
    for name in ("few", "many"):
        fit(options(tmp_path / name, tmp_path / "runs", publish="never"))
    few, many = asked
    assert (len(few), len(many)) == (5, 1)
    assert len({folds.tobytes() for folds in few}) == 5
    assert all(folds[3] == folds[24] for folds in few)


@pytest.mark.drawn
def test_one_image_a_class_makes_a_checkpoint_of_unknown_accuracy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_shapes(tmp_path / "data", 1)
    outcome = fit(options(data, tmp_path / "runs"))
    assert outcome.published
    assert "the accuracy of this checkpoint is unknown" in capsys.readouterr().out
    assert not (outcome.run / "confusion_matrix.png").exists()
    assert checkpoints.load(tmp_path / "runs").metadata.temperature == 1.0


def test_what_is_odd_about_the_images_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_shapes(tmp_path / "data", 6)
    (data / "leer").mkdir()
    (data / "circle" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    shutil.copy(data / "circle" / "000.png", data / "circle" / "copy.png")
    shutil.copy(data / "circle" / "001.png", data / "cross" / "again.png")
    fit(options(data, tmp_path / "runs"))
    said = capsys.readouterr().out
    assert "no images in leer" in said
    assert "1 image cannot be read and is left out: circle/broken.jpg (truncated: " in said
    assert "2 images are copies of another, byte for byte: circle/copy.png (a copy of circle/000.png), cross/ag" in said
    assert "images show pictures that lie under several labels: " in said
    assert "(the same picture, or nearly, lies under circle, cross)" in said


@pytest.mark.parametrize("publish", ["if-better", "always"])
def test_classes_named_like_folders_of_the_daemon_are_refused_before_anything_is_fitted(
    tmp_path: Path, publish: Policy
) -> None:
    data = make_shapes(tmp_path / "data", 2, labels=("Others", "quarantine", "otherwise"))
    with pytest.raises(UserError, match=r"class Others.*take that folder out of the data set") as refused:
        fit(options(data, tmp_path / "runs", epochs=1, publish=publish))
    assert "--publish never" in str(refused.value)
    assert not (tmp_path / "runs").exists()
    assert not fit(options(data, tmp_path / "runs", epochs=1, publish="never")).published


def test_a_fit_says_in_short_what_came_out_and_in_its_report_how(
    shapes: Path, fitted: FitOutcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = fit(options(shapes, tmp_path / "runs"))
    said = capsys.readouterr().out
    right = int(outcome.predictions.right.sum())
    assert f"{right} of 72 images are classified right by models that had not seen them" in said
    assert f"{outcome.run / 'report.txt'}" in said
    for detail in ("epoch ", "out-of-fold loss", "log-loss", "precision", "1280 features", "checkpoint.safetensors"):
        assert detail not in said
    assert len(said.splitlines()) <= 15
    report = (fitted.run / "report.txt").read_text(encoding="utf-8")
    for detail in ("out-of-fold loss", "log-loss", "precision", "is taken: "):
        assert detail in report


def test_verbose_says_how_it_came_about_and_is_no_other_fit(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = fit(options(shapes, tmp_path / "runs", verbose=True))
    said = capsys.readouterr().out
    for detail in ("epoch ", "out-of-fold loss", "log-loss", "precision", "1280 features", "checkpoint.safetensors"):
        assert detail in said
    assert "\nverbose" not in (outcome.run / "settings.toml").read_text(encoding="utf-8")


def test_all_unreadable_is_said_with_a_reason(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.jpg").write_text("no image")
    with pytest.raises(UserError, match="fewer than two classes"):
        fit(options(tmp_path, tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("mode", ["clip", "efficientnet_lite0+clip"])
def test_other_modes_fit_too(shapes: Path, tiny_clip: Path, tmp_path: Path, store: WeightsStore, mode: str) -> None:
    weights = {"clip": str(tiny_clip)}  # so small that it may as well guess
    outcome = fit(options(shapes, tmp_path, mode=mode, max_samples=8, weights=weights, publish="always"))
    classifier = open_classifier(tmp_path, store)
    assert [part.name for part in classifier.metadata.parts] == mode.split("+")
    assert outcome.run.name.endswith(f"-{mode}")


def test_parts_that_do_not_help_are_left_out_where_that_was_allowed(
    shapes: Path, tiny_clip: Path, tmp_path: Path, store: WeightsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    mode = "efficientnet_lite0+clip"
    outcome = fit(
        options(
            shapes, tmp_path, mode=mode, max_samples=8, weights={"clip": str(tiny_clip)}, drop_parts=True, verbose=True
        )
    )
    classifier = open_classifier(tmp_path, store)
    assert [part.name for part in classifier.metadata.parts] == ["efficientnet_lite0"]
    assert classifier.metadata.mode == "efficientnet_lite0"
    assert outcome.run.name.endswith("-efficientnet_lite0")
    with (shapes / "circle" / "000.png").open("rb") as file:
        crops = decode(file, classifier.transforms)
    assert classifier.predict([crop[None] for crop in crops])[0].label == "circle"
    said = capsys.readouterr().out
    assert "clip: logistic" in said
    assert "all parts: logistic" in said
    assert "not clearly better than this one alone" in said


def test_an_interruption_leaves_no_run(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> Callable[[], None]:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.run_writer.write_report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(options(shapes, tmp_path / "runs"))
    assert list((tmp_path / "runs").iterdir()) == []
