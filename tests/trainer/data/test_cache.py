from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.decoding.images import Transform
from models.registry import Backbone
from models.weights.store import WeightsStore
from trainer.data.cache import FeatureCache, Features
from trainer.data.perceptual_hash import PerceptualHash

TRANSFORM = Transform(resize=8, crop=8, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
LOOK = PerceptualHash(640, 480, True, 12.5, (1 << 63) + 7, bytes(192), b"\x81" * 575)


def backbone(name: str, width: int = 3, digest: str = "aa") -> Backbone:
    return Backbone(name=name, source="", digest=digest, transform=TRANSFORM, width=width, module=lambda: None)  # type: ignore[arg-type, return-value]


def vector(*values: float) -> Features:
    return np.array(values, np.float32)


def image(number: int) -> str:
    return f"{number:064x}"


def put(cache: FeatureCache, numbers: Sequence[int], width: int = 3) -> None:
    for number in numbers:
        cache.put_features(0, image(number), np.full(width, number, np.float32))


def known(store: WeightsStore, numbers: Sequence[int], part: Backbone | None = None) -> list[int]:
    """Which of the images have the features that `put` gives them; asking does not count as use."""
    found = []
    with FeatureCache([part or backbone("one")], store) as cache:
        for number in numbers:
            [features] = cache.features(image(number))
            if features is not None:
                assert (features == number).all()
                found.append(number)
        # private: nobody but a test asks without leaving a trace of it
        cache._used.clear()
    return found


def test_what_was_put_is_there_the_next_time(tmp_path: Path) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one"), backbone("two", 2)]
    with FeatureCache(parts, store) as cache:
        assert cache.features(image(1)) == [None, None]
        assert cache.perceptual_hash(image(1)) is None
        cache.put_features(0, image(1), vector(1, 2, 3))
        cache.put_features(1, image(1), vector(4, 5))
        cache.put_perceptual_hash(image(1), LOOK)
    with FeatureCache(parts, store) as cache:
        one, two = cache.features(image(1))
        assert one is not None
        assert two is not None
        assert (one.tolist(), two.tolist()) == ([1, 2, 3], [4, 5])
        assert cache.perceptual_hash(image(1)) == LOOK


def test_each_part_is_kept_for_itself(tmp_path: Path) -> None:
    store, one, two = WeightsStore(tmp_path), backbone("one"), backbone("two", 2)
    with FeatureCache([one], store) as cache:
        put(cache, [1])
        cache.put_perceptual_hash(image(1), LOOK)
    with FeatureCache([two, one], store) as cache:
        other, same = cache.features(image(1))
        assert other is None
        assert same is not None
        assert same.tolist() == [1, 1, 1]
        assert cache.perceptual_hash(image(1)) == LOOK


def test_other_weights_and_another_transform_are_other_features(tmp_path: Path) -> None:
    store, part = WeightsStore(tmp_path), backbone("one")
    with FeatureCache([part], store) as cache:
        put(cache, [1])
    for other in (replace(part, digest="bb"), replace(part, transform=replace(TRANSFORM, resize=9))):
        assert known(store, [1], other) == []


def test_two_trainers_write_at_once(tmp_path: Path) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one")]
    with FeatureCache(parts, store) as first, FeatureCache(parts, store) as second:
        for number in range(200):
            put(first, [number])
            put(second, [number + 100])
    assert known(store, range(300)) == list(range(300))


def test_a_killed_trainer_leaves_what_it_had_done(tmp_path: Path) -> None:
    program = f"""
import os, signal
from tests.trainer.data.test_cache import FeatureCache, WeightsStore, backbone, put
from pathlib import Path
with FeatureCache([backbone("one")], WeightsStore(Path({str(tmp_path)!r}))) as cache:
    put(cache, range(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3])
    assert done.returncode == -9
    assert 900 < len(known(WeightsStore(tmp_path), range(1000))) <= 1000


def test_what_was_put_is_soon_safe_however_slowly_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one")]
    with FeatureCache(parts, store) as cache:
        put(cache, [1])
        assert known(store, [1, 2]) == []
        later = time.monotonic() + 3
        monkeypatch.setattr("trainer.data.cache.time.monotonic", lambda: later)
        put(cache, [2])
        assert known(store, [1, 2]) == [1, 2]


SIZE = 1_500_000
WIDTH = 1000


def fill(store: WeightsStore, numbers: Sequence[int], size: int = SIZE) -> None:
    with FeatureCache([backbone("one", WIDTH)], store, size=size) as cache:
        put(cache, numbers, WIDTH)


def test_what_was_used_least_recently_makes_room(tmp_path: Path) -> None:
    store, part = WeightsStore(tmp_path), backbone("one", WIDTH)
    fill(store, range(100))
    fill(store, range(100, 200))
    with FeatureCache([part], store, size=SIZE) as cache:  # used again
        for number in range(10):
            cache.features(image(number))
    fill(store, range(200, 350))
    left = known(store, range(350), part)
    assert set(range(10)) | set(range(200, 350)) <= set(left)
    assert set(range(10, 100)) - set(left)
    assert (tmp_path / "features" / "features.sqlite").stat().st_size <= SIZE


def test_a_smaller_size_makes_the_file_smaller(tmp_path: Path) -> None:
    store, file = WeightsStore(tmp_path), tmp_path / "features" / "features.sqlite"
    fill(store, range(1000), 10 * SIZE)
    assert file.stat().st_size > 2 * SIZE
    fill(store, [1999])
    assert file.stat().st_size <= SIZE
    left = known(store, range(2000), backbone("one", WIDTH))
    assert 1999 in left
    assert len(left) > 200


def test_what_is_larger_than_the_cache_keeps_what_fits(tmp_path: Path, logged: list[str]) -> None:
    store = WeightsStore(tmp_path)
    fill(store, range(600))
    kept = known(store, range(600), backbone("one", WIDTH))
    assert len(kept) > 200
    assert kept == list(range(len(kept)))
    assert len([line for line in logged if "--cache-size" in line]) == 1


def test_of_size_nought_nothing_is_kept(tmp_path: Path, logged: list[str]) -> None:
    store = WeightsStore(tmp_path)
    with FeatureCache([backbone("one")], store, size=0) as cache:
        put(cache, range(100))
        assert cache.features(image(1)) == [None]
    assert not (tmp_path / "features" / "features.sqlite").exists()
    assert logged == []


@pytest.mark.parametrize("content", [b"this is no database" * 100, b""])
def test_a_damaged_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    store = WeightsStore(tmp_path)
    (store.folder("features") / "features.sqlite").write_bytes(content)
    fill(store, [1])
    assert known(store, [1], backbone("one", WIDTH)) == [1]


def test_a_file_of_another_layout_is_made_anew(tmp_path: Path) -> None:
    store = WeightsStore(tmp_path)
    with sqlite3.connect(store.folder("features") / "features.sqlite") as base:
        base.execute("CREATE TABLE entries (something)")
    base.close()
    fill(store, [1])
    assert known(store, [1], backbone("one", WIDTH)) == [1]


def test_a_file_that_turns_out_to_be_damaged_is_gone_afterwards(tmp_path: Path, logged: list[str]) -> None:
    store, file = WeightsStore(tmp_path), tmp_path / "features" / "features.sqlite"
    fill(store, range(100), 10 * SIZE)
    with file.open("r+b") as opened:
        opened.seek(5 * 4096)
        opened.write(b"\xff" * (file.stat().st_size - 6 * 4096))
    with FeatureCache([backbone("one", WIDTH)], store) as cache:
        found = [cache.features(image(number))[0] for number in range(100)]
    assert None in found
    assert not file.exists()
    assert len([line for line in logged if "not kept" in line]) == 1


def test_a_content_that_has_changed_on_the_disk_does_not_count(tmp_path: Path) -> None:
    store = WeightsStore(tmp_path)
    fill(store, [1, 2])
    with sqlite3.connect(tmp_path / "features" / "features.sqlite") as base:
        base.execute("UPDATE entries SET content = substr(content, 1, 100) || x'77' || substr(content, 102) LIMIT 1")
    base.close()
    assert known(store, [1, 2], backbone("one", WIDTH)) == [2]
    fill(store, [1])
    assert known(store, [1, 2], backbone("one", WIDTH)) == [1, 2]


def test_a_fit_goes_on_without_a_cache_that_cannot_be_written(tmp_path: Path, logged: list[str]) -> None:
    store = WeightsStore(tmp_path)
    (store.folder("features") / "features.sqlite").mkdir()
    with FeatureCache([backbone("one")], store) as cache:
        put(cache, range(200))
        assert cache.features(image(1)) == [None]
    assert len([line for line in logged if "not kept" in line]) == 1


def test_a_full_disk_stops_the_keeping_but_not_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    store, parts = WeightsStore(tmp_path), [backbone("one")]
    with FeatureCache(parts, store) as cache:
        put(cache, [1])
    bases: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def kept(*arguments: Any, **more: Any) -> sqlite3.Connection:
        bases.append(connect(*arguments, **more))
        return bases[-1]

    monkeypatch.setattr(sqlite3, "connect", kept)
    with FeatureCache(parts, store) as cache:
        bases[-1].execute("PRAGMA max_page_count = 1")
        put(cache, range(1000, 2500))
        [features] = cache.features(image(1))
        assert features is not None
        assert features.tolist() == [1, 1, 1]
    assert len([line for line in logged if "not kept" in line]) == 1
