from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.inference.engines import Crops, Features
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.weights.store import WeightsStore
from tests.trainer.conftest import make_shapes
from trainer.data.cache import FeatureCache
from trainer.data.dataset import scan
from trainer.data.features import Extracted, extract, read_all


class Counting(FeatureExtractor):
    """An extractor that counts what goes through each of its backbones."""

    def __init__(self, real: FeatureExtractor) -> None:
        super().__init__(real.parts, [engine for part in real.parts if (engine := real.engine_of(part))])
        self.by_part = [0] * len(real.parts)

    @property
    def seen(self) -> int:
        return sum(self.by_part)

    def part_features(self, part: int, crops: Crops) -> Features:
        self.by_part[part] += len(crops)
        return super().part_features(part, crops)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 circles, 8 crosses and 8 squares. Not to be changed."""
    return make_shapes(tmp_path_factory.mktemp("shapes"), 8)


@pytest.fixture
def counting(store: WeightsStore) -> Counting:
    return Counting(open_extractor(locate_backbones("efficientnet_lite0", {}, store), store))


def run(root: Path, extractor: FeatureExtractor, cache: WeightsStore) -> Extracted:
    with FeatureCache(extractor.parts, cache) as opened:
        return extract(scan(root).files, extractor, opened)


def test_a_second_pass_touches_no_backbone(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    cache = WeightsStore(tmp_path)
    first = run(shapes, counting, cache)
    assert (counting.seen, first.cached, len(first.samples)) == (24, 0, 24)
    second = run(shapes, counting, cache)
    assert (counting.seen, second.cached) == (24, 24)
    assert (first.features == second.features).all()
    assert first.samples == second.samples


def test_a_moved_and_renamed_image_is_known_by_its_content(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    cache = WeightsStore(tmp_path / "cache")
    run(shapes, counting, cache)
    moved = tmp_path / "moved"
    shutil.copytree(shapes / "circle", moved / "kreis" / "neu")
    shutil.copytree(shapes / "cross", moved / "kreuz")
    again = run(moved, counting, cache)
    assert (counting.seen, again.cached) == (24, 16)


def test_a_pass_that_was_stopped_goes_on(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    cache = WeightsStore(tmp_path)
    files = scan(shapes).files
    with FeatureCache(counting.parts, cache) as opened:
        extract(files[:20], counting, opened)
    rest = run(shapes, counting, cache)
    assert (counting.seen, rest.cached) == (24, 20)


def test_ten_new_images_are_looked_at_and_no_others(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    cache, root = WeightsStore(tmp_path / "cache"), tmp_path / "data"
    shutil.copytree(shapes, root)
    run(root, counting, cache)
    make_shapes(root, 10, ["circle"], first=100)
    again = run(root, counting, cache)
    assert (counting.seen, again.cached, len(again.samples)) == (24 + 10, 24, 34)


def test_modes_share_the_parts_they_have_in_common(
    shapes: Path, store: WeightsStore, tiny_clip: Path, tmp_path: Path
) -> None:
    weights, cache = {"clip": str(tiny_clip)}, WeightsStore(tmp_path)
    alone = Counting(open_extractor(locate_backbones("efficientnet_lite0", {}, store), store))
    both = Counting(open_extractor(locate_backbones("efficientnet_lite0+clip", weights, store), store))
    clip = Counting(open_extractor(locate_backbones("clip", weights, store), store))
    first = run(shapes, alone, cache)
    second = run(shapes, both, cache)
    third = run(shapes, clip, cache)
    assert (alone.by_part, both.by_part, clip.by_part) == ([24], [0, 24], [0])
    assert (second.cached, third.cached) == (0, 24)
    assert (second.features == np.hstack([first.features, third.features])).all()
    assert first.hashes == second.hashes == third.hashes


def test_features_are_those_the_backbone_gives(shapes: Path, counting: Counting, tmp_path: Path) -> None:
    from models.decoding.images import decode

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
    assert len(found.samples) == len(found.features) == 24


def test_a_file_larger_than_any_image_is_listed_and_never_read(
    shapes: Path, counting: Counting, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(shapes, root)
    with (root / "circle" / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)  # it takes no room on the disk, and in no memory there is room for it
    found = run(root, counting, WeightsStore(tmp_path / "cache"))
    assert [(lost.name, lost.reason) for lost in found.unreadable] == [("circle/huge.jpg", "too-large")]
    (read,) = read_all([file for file in scan(root).files if file.path.name == "huge.jpg"], counting.transforms)
    assert read.error == found.unreadable[0]


def test_features_that_are_no_numbers_name_the_image(
    shapes: Path, counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "part_features", lambda _, crops: np.full((len(crops), 1280), np.nan, np.float32))
    with pytest.raises(UserError, match=r"circle/000\.png"):
        run(shapes, counting, WeightsStore(tmp_path))
