from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.images import Transform
from models.registry import Backbone
from models.weights import WeightsStore
from trainer.cache import FeatureCache

TRANSFORM = Transform(resize=8, crop=8, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def backbone(name: str, width: int = 3, digest: str = "aa") -> Backbone:
    return Backbone(name=name, source="", digest=digest, transform=TRANSFORM, width=width, module=lambda: None)  # type: ignore[arg-type, return-value]


def vector(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, np.float32)


IMAGE = "ab" * 32


def test_what_was_put_is_known_the_next_time(tmp_path: Path) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one"), backbone("two", 2)]
    with FeatureCache(parts, store) as cache:
        assert cache.known == frozenset()
        cache.put(IMAGE, vector(1, 2, 3, 4, 5))
    with FeatureCache(parts, store) as cache:
        assert cache.known == {IMAGE}
        assert cache.get(IMAGE).tolist() == [1, 2, 3, 4, 5]


def test_parts_are_kept_apart_and_joined_in_any_order(tmp_path: Path) -> None:
    store, one, two = WeightsStore(tmp_path), backbone("one"), backbone("two", 2)
    with FeatureCache([one, two], store) as cache:
        cache.put(IMAGE, vector(1, 2, 3, 4, 5))
    with FeatureCache([two, one], store) as cache:
        assert cache.get(IMAGE).tolist() == [4, 5, 1, 2, 3]
    with FeatureCache([one, backbone("three")], store) as cache:
        assert cache.known == frozenset()


def test_other_weights_and_another_transform_are_other_features(tmp_path: Path) -> None:
    store, part = WeightsStore(tmp_path), backbone("one")
    with FeatureCache([part], store) as cache:
        cache.put(IMAGE, vector(1, 2, 3))
    for other in (replace(part, digest="bb"), replace(part, transform=replace(TRANSFORM, resize=9))):
        with FeatureCache([other], store) as cache:
            assert cache.known == frozenset()


def test_two_trainers_write_at_once(tmp_path: Path) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one")]
    with FeatureCache(parts, store) as first, FeatureCache(parts, store) as second:
        for number in range(200):
            first.put(f"{number:064x}", vector(1, 1, 1))
            second.put(f"{number + 100:064x}", vector(1, 1, 1))
    with FeatureCache(parts, store) as cache:
        assert len(cache.known) == 300


def test_a_killed_trainer_leaves_what_it_had_done(tmp_path: Path) -> None:
    program = f"""
import os, signal
from tests.trainer.test_cache import FeatureCache, WeightsStore, backbone, vector
from pathlib import Path
with FeatureCache([backbone("one")], WeightsStore(Path({str(tmp_path)!r}))) as cache:
    for number in range(1000):
        cache.put(f"{{number:064x}}", vector(1, 2, 3))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    with FeatureCache([backbone("one")], WeightsStore(tmp_path)) as cache:
        assert 900 < len(cache.known) <= 1000
        assert cache.get(f"{5:064x}").tolist() == [1, 2, 3]


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one")]
    (store.folder("features") / "features.sqlite").write_bytes(b"this is no database" * 100)
    with FeatureCache(parts, store) as cache:
        cache.put(IMAGE, vector(1, 2, 3))
    with FeatureCache(parts, store) as cache:
        assert cache.known == {IMAGE}


def test_a_fit_goes_on_without_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    store = WeightsStore(tmp_path)
    (store.folder("features") / "features.sqlite").mkdir()
    with FeatureCache([backbone("one")], store) as cache:
        for number in range(200):
            cache.put(f"{number:064x}", vector(1, 2, 3))
        assert cache.known == frozenset()
    assert len([line for line in logged if "not kept" in line]) == 1


def test_a_full_disk_stops_the_keeping_but_not_the_reading(tmp_path: Path, logged: list[str]) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one")]
    with FeatureCache(parts, store) as cache:
        cache.put(IMAGE, vector(1, 2, 3))
    with FeatureCache(parts, store) as cache:
        base = cache._base
        assert isinstance(base, sqlite3.Connection)
        base.execute("PRAGMA max_page_count = 1")
        for number in range(500):
            cache.put(f"{number:064x}", np.zeros(3, np.float32))
        assert cache.get(IMAGE).tolist() == [1, 2, 3]
    assert len([line for line in logged if "not kept" in line]) == 1
