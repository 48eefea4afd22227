from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.weights.store import WeightsStore
from tests.trainer.conftest import make_shapes
from trainer.data.folds import NEVER
from trainer.fit import FitOutcome, fit
from trainer.fitted import FitOptions
from trainer.learning.files import FILE_NAME, FeaturesMissing, kept_record, read_features
from trainer.runs.folder import METRICS


def metadata_of(run: Path) -> Metadata:
    return checkpoints.read(run / checkpoints.FILE_NAME).metadata


@pytest.fixture
def run(fitted: FitOutcome, tmp_path: Path) -> Path:
    """A copy of a run, to be changed."""
    copy: Path = shutil.copytree(fitted.run, tmp_path / "run")
    return copy


def forge(run: Path, change: Callable[[dict[str, np.ndarray]], object], **header: object) -> None:
    """Write the file of a run with changed tensors, and record it as the one that was written."""
    file = run / FILE_NAME
    data = file.read_bytes()
    texts = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    texts["imagesortd"] = json.dumps(json.loads(texts["imagesortd"]) | header)
    tensors = load_file(file)
    change(tensors)
    file.unlink()
    save_file(tensors, file, texts)
    metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
    metrics["features"] = {
        "sha256": digest_of(file),
        "images": metrics["features"]["images"],
        "bytes": file.stat().st_size,
    }
    (run / METRICS).write_text(json.dumps(metrics), encoding="utf-8")


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_run_keeps_what_its_head_was_fitted_on(fitted: FitOutcome, shapes: Path) -> None:
    metadata = metadata_of(fitted.run)
    kept = read_features(fitted.run, kept_record(fitted.run), metadata)
    assert kept.features.shape == (72, metadata.width)
    assert list(kept.classes) == metadata.classes
    assert np.bincount(kept.labels).tolist() == [24, 24, 24]
    assert len(set(kept.sha256)) == 72
    assert (kept.folds != NEVER).sum() == len(fitted.predictions.labels)
    assert {digest_of(path) for path in shapes.rglob("*.png")} == set(kept.sha256)
    assert kept.recipe.kind in ("logistic", "gradient", "mean", "discriminant")
    assert kept.recipe.epochs == 10


def test_runs_of_the_same_images_share_one_file(shapes: Path, store: WeightsStore, tmp_path: Path) -> None:
    assert store.root.is_absolute()
    options = FitOptions(data_dir=shapes, mode="efficientnet_lite0", output_dir=tmp_path, epochs=2, publish="always")
    first, second = fit(options).run / FILE_NAME, fit(options).run / FILE_NAME
    assert first != second
    assert first.samefile(second)


def test_features_that_take_too_much_are_left_out_and_that_is_said(
    store: WeightsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.root.is_absolute()
    pictures = make_shapes(tmp_path / "few", 4, labels=("circle", "cross"))
    options = FitOptions(
        data_dir=pictures, mode="efficientnet_lite0", output_dir=tmp_path / "runs", epochs=2, keep_features=8 * 2560
    )
    run = fit(options).run
    assert not (run / FILE_NAME).exists()
    assert "the run keeps no features" in capsys.readouterr().out
    with pytest.raises(FeaturesMissing, match="keeps no features.*fit again"):
        kept_record(run)


def test_a_run_of_an_older_version_says_so(run: Path) -> None:
    metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
    del metrics["features"]
    (run / METRICS).write_text(json.dumps(metrics), encoding="utf-8")
    with pytest.raises(FeaturesMissing, match="is of an older version"):
        kept_record(run)


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_damaged_file_is_one_sentence(run: Path, cut: int) -> None:
    data = (run / FILE_NAME).read_bytes()
    (run / FILE_NAME).unlink()
    (run / FILE_NAME).write_bytes(data[:cut])
    with pytest.raises(FeaturesMissing, match=r"it is damaged.*fit again"):
        read_features(run, kept_record(run), metadata_of(run))


def test_a_file_that_is_gone_is_one_sentence(run: Path) -> None:
    (run / FILE_NAME).unlink()
    with pytest.raises(FeaturesMissing, match="No such file"):
        read_features(run, kept_record(run), metadata_of(run))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("folds"), "it holds the tensors"),
        (lambda tensors: tensors.update(more=np.zeros(1, np.float32)), "it holds the tensors"),
        (lambda tensors: tensors.update(labels=tensors["labels"].astype(np.float32)), "labels is float32"),
        (lambda tensors: tensors.update(labels=tensors["labels"].astype(np.int64)), "labels is of type I64"),
        (lambda tensors: tensors.update(folds=tensors["folds"][1:]), r"folds is int8\[71\]"),
        (lambda tensors: tensors.update(features=tensors["features"][:, 1:].copy()), "features is float16"),
        (lambda tensors: tensors["features"].fill(np.nan), "not numbers"),
        (lambda tensors: tensors["labels"].fill(3), "labels holds values out of range"),
        (lambda tensors: tensors["labels"].fill(-1), "labels holds values out of range"),
        (lambda tensors: tensors["folds"].fill(5), "folds holds values out of range"),
        (lambda tensors: tensors["pictures"].fill(72), "pictures holds values out of range"),
    ],
)
def test_tensors_that_do_not_fit_are_one_sentence(
    run: Path, change: Callable[[dict[str, np.ndarray]], object], words: str
) -> None:
    forge(run, change)
    with pytest.raises(FeaturesMissing, match=words):
        read_features(run, kept_record(run), metadata_of(run))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"version": 2}, "of another version"),
        ({"recipe": {"kind": "forest"}}, "of another version"),
        ({"parts": [["mobilenet", "0" * 64, 1280]]}, "of other backbones"),
        ({"classes": ["circle", "cross", "star"]}, "its classes are not those"),
    ],
)
def test_a_header_that_does_not_fit_is_one_sentence(run: Path, header: dict[str, object], words: str) -> None:
    forge(run, lambda _: None, **header)
    with pytest.raises(FeaturesMissing, match=words):
        read_features(run, kept_record(run), metadata_of(run))
