from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from models.weights.store import WeightsStore
from trainer.runs.resume import MAX_AGE_S, SavedProgress, UnfinishedFit, unfinished_fit

PROGRESS = SavedProgress({"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(4.0)}, {"epoch": 3})


@pytest.fixture
def cache(tmp_path: Path) -> WeightsStore:
    return WeightsStore(tmp_path)


def kept(cache: WeightsStore) -> list[str]:
    return sorted(path.suffix for path in cache.folder("unfinished").iterdir())


def test_an_interrupted_fit_goes_on_where_it_was(cache: WeightsStore) -> None:
    first = UnfinishedFit(cache, {"lr": 0.1})
    assert not first.begin(resume=True)
    first.save(PROGRESS)
    again = UnfinishedFit(cache, {"lr": 0.1})
    assert again.begin(resume=True)
    found = again.load()
    assert found is not None
    assert found.state == {"epoch": 3}
    assert {name: array.tolist() for name, array in found.arrays.items()} == {
        "weight": [[0, 1, 2], [3, 4, 5]],
        "step": 4,
    }


def test_one_that_was_done_leaves_nothing(cache: WeightsStore) -> None:
    done = UnfinishedFit(cache, {})
    done.begin(resume=False)
    done.save(PROGRESS)
    done.finish()
    assert kept(cache) == []
    assert not UnfinishedFit(cache, {}).begin(resume=True)


def test_what_was_killed_while_it_was_kept_leaves_nothing_either(cache: WeightsStore) -> None:
    folder, partial = cache.folder("unfinished"), []
    killed, other = UnfinishedFit(cache, {}), UnfinishedFit(cache, {"other": True})
    for place in (killed, other):
        place.begin(resume=False)
        place.save(PROGRESS)
        (progress,) = folder.glob("*.safetensors")
        partial.append(progress.rename(folder / f".{progress.name}.x7"))
    UnfinishedFit(cache, {}).finish()
    assert list(folder.glob(".*")) == partial[1:]


def test_keeping_takes_a_small_part_of_the_time(cache: WeightsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("trainer.runs.resume.time.monotonic", lambda: now)

    def slow(*_: object) -> bytes:
        nonlocal now
        now += 2  # seconds
        return b""

    place = UnfinishedFit(cache, {})
    assert place.is_due()
    monkeypatch.setattr("safetensors.numpy.save", slow)
    place.save(PROGRESS)
    now += 39
    assert not place.is_due()
    now += 1
    assert place.is_due()


def test_without_resume_it_starts_afresh(cache: WeightsStore) -> None:
    first = UnfinishedFit(cache, {})
    first.begin(resume=False)
    first.save(PROGRESS)
    again = UnfinishedFit(cache, {})
    assert not again.begin(resume=False)
    assert again.load() is None


def test_other_settings_and_other_folders_are_other_fits(cache: WeightsStore, tmp_path: Path) -> None:
    settings: dict[str, object] = {"lr": 0.1, "publish": "never"}
    unfinished_fit(cache, tmp_path, settings).begin(resume=False)
    assert not unfinished_fit(cache, tmp_path, {**settings, "lr": 0.2}).begin(resume=True)
    assert not unfinished_fit(cache, tmp_path / "other", settings).begin(resume=True)
    assert unfinished_fit(cache, tmp_path, {**settings, "publish": "always"}).begin(resume=True)


def test_what_is_damaged_is_as_if_it_were_not_there(cache: WeightsStore) -> None:
    place = UnfinishedFit(cache, {})
    place.begin(resume=False)
    place.save(PROGRESS)
    [file] = cache.folder("unfinished").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    assert place.load() is None


def test_what_nobody_came_back_to_is_removed(cache: WeightsStore) -> None:
    old = UnfinishedFit(cache, {"old": True})
    old.begin(resume=False)
    old.save(PROGRESS)
    long_ago = time.time() - MAX_AGE_S - 60
    for path in cache.folder("unfinished").iterdir():
        os.utime(path, (long_ago, long_ago))
    UnfinishedFit(cache, {}).begin(resume=False)
    assert kept(cache) == [".json"]
