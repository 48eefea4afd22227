"""The pile is grouped by likeness, by another process, and what was seen is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daemon.review.kept_features import KeptFeatures
from daemon.review.likeness import MOST_AT_ONCE, SMALLEST_GROUP, groups_of, most_unlike_first

WIDTH = 16


def _clouds(sizes: list[int], seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.eye(WIDTH)[: len(sizes)]
    rows = [centre + 0.1 * random.normal(size=(size, WIDTH)) for centre, size in zip(centres, sizes, strict=True)]
    return np.concatenate(rows).astype(np.float32)


def test_images_that_look_alike_come_together_the_largest_group_first() -> None:
    groups = groups_of(_clouds([10, 40, 20]))
    assert [len(group) for group in groups] == [40, 20, 10]
    assert sorted(groups[0].tolist()) == list(range(10, 50))


def test_what_is_like_nothing_comes_last_and_nobody_is_lost() -> None:
    vectors = np.concatenate([_clouds([30, 30]), np.eye(WIDTH)[8:12].astype(np.float32)])
    groups = groups_of(vectors)
    assert [len(group) for group in groups] == [30, 30, 4]
    assert sorted(place for group in groups for place in group.tolist()) == list(range(64))


@pytest.mark.parametrize("count", [1, 2, SMALLEST_GROUP, 5])
def test_a_few_images_are_grouped_too(count: int) -> None:
    for vectors in (_clouds([count]), np.zeros((count, WIDTH), np.float32), np.ones((count, WIDTH), np.float32)):
        groups = groups_of(vectors)
        assert sorted(place for group in groups for place in group.tolist()) == list(range(count))


def test_many_images_are_grouped_within_the_memory() -> None:
    sizes = [MOST_AT_ONCE, MOST_AT_ONCE // 2, MOST_AT_ONCE // 4]
    groups = groups_of(_clouds(sizes))
    assert [len(group) for group in groups] == sizes


def test_features_are_kept_for_one_model_and_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "features"
    keys = [f"{number:02x}" * 31 + "00" for number in range(4)]
    kept = KeptFeatures(path, "ab" * 32, WIDTH)
    for number, key in enumerate(keys):
        kept.put(key, np.full(WIDTH, number, np.float32), number)
    kept.write(keys)
    again = KeptFeatures(path, "ab" * 32, WIDTH)
    seen = again.get(keys[3])
    assert seen is not None
    assert (seen.label, seen.features.tolist()) == (3, [3.0] * WIDTH)
    assert KeptFeatures(path, "cd" * 32, WIDTH).get(keys[3]) is None
    assert KeptFeatures(path, "ab" * 32, WIDTH + 1).get(keys[3]) is None
    path.write_bytes(path.read_bytes()[:-5])
    assert KeptFeatures(path, "ab" * 32, WIDTH).get(keys[0]) is not None
    monkeypatch.setattr("daemon.review.kept_features.MOST_BYTES", 250)
    again.write(keys[2:])
    few = KeptFeatures(path, "ab" * 32, WIDTH)
    assert [few.get(key) is not None for key in keys] == [False, False, True, True]


def test_what_is_least_like_the_others_comes_first() -> None:
    vectors = _clouds([30])
    vectors[[4, 17]] = np.eye(WIDTH)[9:11]
    assert set(most_unlike_first(vectors)[:2].tolist()) == {4, 17}
    assert sorted(most_unlike_first(vectors).tolist()) == list(range(30))
