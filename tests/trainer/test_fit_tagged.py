"""A fit on tags: the images lie in one folder, and their sidecars say what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.errors import UserError
from models.weights.store import WeightsStore
from models.xmp.tags import Tag, merge
from trainer.fit import fit
from trainer.fitted import FitOptions


def test_tags_are_the_classes_of_a_fit(
    colours: Path, store: WeightsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.root.is_absolute()
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in ("red", "green"):
        for picture in sorted((colours / colour).iterdir()):
            path = folder / f"{colour}{picture.name}"
            shutil.copy(picture, path)
            Path(f"{path}.xmp").write_bytes(merge(None, Tag(colour)))
    shutil.copy(picture, folder / "untagged.png")
    options = FitOptions(data_dir=folder, class_source="xmp", mode="efficientnet_lite0", output_dir=tmp_path / "runs")
    outcome = fit(options)
    assert list(outcome.predictions.classes) == ["green", "red"]
    assert "images without a class by their tags: 1 have none, 0 have several" in capsys.readouterr().out


def test_tags_need_their_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --labels-from xmp, too"):
        fit(FitOptions(data_dir=tmp_path, tags=("dog",), output_dir=tmp_path / "runs"))


def test_tags_are_those_of_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --data-dir, too"):
        fit(FitOptions(labels=tmp_path / "labels.jsonl", class_source="xmp", output_dir=tmp_path / "runs"))
