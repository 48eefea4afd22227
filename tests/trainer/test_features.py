from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.engines import Crops, Features
from models.errors import UserError
from models.runtime import FeatureExtractor, open_extractor, select
from models.weights import WeightsStore
from trainer.cache import FeatureCache
from trainer.data import scan
from trainer.features import Extracted, extract


class Counting(FeatureExtractor):
    """An extractor that counts what goes through its backbones."""

    def __init__(self, real: FeatureExtractor) -> None:
        super().__init__(real.parts, real._engines)
        self.seen = 0

    def features(self, crops: Sequence[Crops]) -> Features:
        self.seen += len(crops[0])
        return super().features(crops)


@pytest.fixture
def counting(store: WeightsStore) -> Counting:
    return Counting(open_extractor(select("efficientnet_lite0", {}, store), store))


def run(root: Path, extractor: FeatureExtractor, cache: WeightsStore) -> Extracted:
    with FeatureCache(extractor.parts, cache) as opened:
        return extract(scan(root).files, extractor, opened)


def test_a_second_pass_touches_no_backbone(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    cache = WeightsStore(tmp_path)
    first = run(shapes, counting, cache)
    assert (counting.seen, first.cached, len(first.samples)) == (72, 0, 72)
    second = run(shapes, counting, cache)
    assert (counting.seen, second.cached) == (72, 72)
    assert (first.features == second.features).all()
    assert first.samples == second.samples


def test_a_moved_and_renamed_image_is_known_by_its_content(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    cache = WeightsStore(tmp_path / "cache")
    run(shapes, counting, cache)
    moved = tmp_path / "moved"
    shutil.copytree(shapes / "circle", moved / "kreis" / "neu")
    shutil.copytree(shapes / "cross", moved / "kreuz")
    again = run(moved, counting, cache)
    assert (counting.seen, again.cached) == (72, 48)


def test_a_pass_that_was_stopped_goes_on(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    cache = WeightsStore(tmp_path)
    files = scan(shapes).files
    with FeatureCache(counting.parts, cache) as opened:
        extract(files[:40], counting, opened)
    rest = run(shapes, counting, cache)
    assert (counting.seen, rest.cached) == (72, 40)


def test_features_are_those_the_backbone_gives(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    from models.images import decode

    found = run(shapes, counting, WeightsStore(tmp_path))
    with found.samples[7].path.open("rb") as file:
        crops = decode(file, counting.transforms)
    assert counting.features([crop[None] for crop in crops])[0] == pytest.approx(found.features[7], abs=1e-4)


def test_unreadable_images_are_listed_and_left_out(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(shapes, root)
    (root / "circle" / "empty.jpg").touch()
    (root / "cross" / "text.png").write_text("not a picture")
    whole = (root / "square" / "000.png").read_bytes()
    (root / "square" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "square" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    found = run(root, counting, WeightsStore(tmp_path / "cache"))
    assert [(lost.name, lost.reason) for lost in found.unreadable] == [
        ("circle/empty.jpg", "empty"),
        ("cross/text.png", "not-an-image"),
        ("square/cut.png", "truncated"),
    ]
    assert len(found.samples) == len(found.features) == 72


def test_features_that_are_no_numbers_name_the_image(
    shapes: Path, counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "features", lambda crops: np.full((len(crops[0]), 1280), np.nan, np.float32))
    with pytest.raises(UserError, match=r"circle/000\.png"):
        run(shapes, counting, WeightsStore(tmp_path))
