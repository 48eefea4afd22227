"""The classifier over real small models: the same predictions however it is opened, and in every process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import FILE_NAME, Checkpoint, publish, write
from models.checkpoints.tuned import tuned_backbone
from models.classifier import Classifier, Prediction, open_classifier
from models.errors import CheckpointError
from models.inference.runtime import FeatureExtractor, open_extractor
from models.scoring import head_probabilities, head_strangeness
from models.starter import starter_path
from models.weights.store import WeightsStore
from tests.conftest import crops
from tests.models.conftest import fit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / FILE_NAME


def batch(classifier: Classifier | FeatureExtractor) -> list[Any]:
    """Five images, as it wants to see them."""
    return [crops(5, transform.crop) for transform in classifier.transforms]


def test_a_classifier_is_what_its_checkpoint_says(
    sealed: Checkpoint, path: Path, store: WeightsStore, hybrid: FeatureExtractor
) -> None:
    digest = write(sealed, path)
    classifier = open_classifier(path, store)
    assert classifier.classes == sealed.metadata.classes
    assert classifier.digest == digest
    assert classifier.metadata == sealed.metadata
    assert classifier.transforms == hybrid.transforms
    assert [transform.crop for transform in classifier.transforms] == [224, 64]


def test_the_prediction_is_the_most_probable_class(
    sealed: Checkpoint, path: Path, store: WeightsStore, hybrid: FeatureExtractor
) -> None:
    write(sealed, path)
    classifier = open_classifier(path, store)
    images = batch(classifier)
    features = hybrid.features(images)
    probabilities = head_probabilities(sealed.metadata, sealed.head, features)
    strangeness = head_strangeness(sealed.metadata, sealed.head, features)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert (strangeness > 0).all()
    assert classifier.predict(images) == [
        Prediction(sealed.metadata.classes[row.argmax()], float(row.max()), float(strange))
        for row, strange in zip(probabilities, strangeness, strict=True)
    ]
    assert len({prediction.confidence for prediction in classifier.predict(images)}) == len(features)
    np.testing.assert_array_equal(classifier.probabilities(images), probabilities)
    scores = classifier.score(images)
    np.testing.assert_array_equal(scores.probabilities, probabilities)
    np.testing.assert_array_equal(scores.strangeness, strangeness)


def test_an_image_is_judged_alike_whatever_lies_beside_it(sealed: Checkpoint, path: Path, store: WeightsStore) -> None:
    write(sealed, path)
    classifier = open_classifier(path, store)
    images = batch(classifier)
    together = classifier.score(images)
    for at in range(5):
        alone = classifier.score([part[at : at + 1] for part in images])
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[at], atol=1e-5)
        np.testing.assert_allclose(alone.strangeness[0], together.strangeness[at], rtol=1e-4)


def test_a_checkpoint_opens_by_its_file_its_run_and_the_folder_of_runs(
    sealed: Checkpoint, path: Path, store: WeightsStore
) -> None:
    digest = write(sealed, path)
    publish(path.parent, digest, "")
    for place in (path, path.parent, path.parent.parent):
        assert open_classifier(place, store, threads=1).digest == digest


def test_backbones_of_a_classifier_in_use_are_loaded_once(
    sealed: Checkpoint, hybrid: FeatureExtractor, path: Path, store: WeightsStore
) -> None:
    write(sealed, path)
    first = open_classifier(path, store, threads=1)
    second = open_classifier(path, store, threads=1, reuse=first)
    assert second is not first
    assert second.extractor is first.extractor
    clip = open_extractor(hybrid.parts[1:], store, threads=1, reuse=first.extractor)
    assert clip.engine_of(hybrid.parts[1]) is first.extractor.engine_of(hybrid.parts[1])
    changed = dataclasses.replace(hybrid.parts[1], digest="0" * 64)
    assert first.extractor.engine_of(changed) is None


@pytest.fixture(scope="module")
def tuned(
    hybrid: FeatureExtractor, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FeatureExtractor]:
    """A checkpoint whose MobileNet was changed a little, as fine-tuning does, and what computes it here."""
    mobilenet, clip = hybrid.parts
    state = {name: tensor.numpy() for name, tensor in mobilenet.module().state_dict().items()}
    first = state["features.0.0.weight"]
    state["features.0.0.weight"] = first + np.random.default_rng(0).normal(0, 0.3, first.shape).astype(np.float32)
    ours = open_extractor([tuned_backbone(mobilenet, state, store), clip], store)
    path = tmp_path_factory.mktemp("tuned") / FILE_NAME
    write(fit(ours, {"mobilenet": state}), path)
    return path, ours


def test_fine_tuned_weights_make_other_features_and_travel_with_the_checkpoint(
    tuned: tuple[Path, FeatureExtractor], hybrid: FeatureExtractor, store: WeightsStore
) -> None:
    path, ours = tuned
    images = batch(hybrid)
    assert ours.engine == "onnxruntime"
    expected, untuned = ours.features(images), hybrid.features(images)
    assert np.abs(expected[:, :1280] - untuned[:, :1280]).max() > 0.1 * np.abs(untuned[:, :1280]).max()
    np.testing.assert_array_equal(expected[:, 1280:], untuned[:, 1280:])
    classifier = open_classifier(path, store)
    assert [part.fine_tuned for part in classifier.metadata.parts] == [True, False]
    np.testing.assert_array_equal(classifier.extractor.features(images), expected)


def test_fine_tuned_weights_that_were_altered_are_refused(
    tuned: tuple[Path, FeatureExtractor], path: Path, store: WeightsStore
) -> None:
    checkpoint = checkpoints.read(tuned[0])
    state = dict(checkpoint.backbones["mobilenet"])
    state["features.0.0.weight"] = state["features.0.0.weight"] * np.float32(1.01)
    write(dataclasses.replace(checkpoint, backbones={"mobilenet": state}), path)
    with pytest.raises(CheckpointError, match="the fine-tuned weights of mobilenet are damaged"):
        open_classifier(path, store)


PREDICT = """
import json, sys
from pathlib import Path

from models.classifier import open_classifier
from models.starter import starter_path
from models.weights.store import WeightsStore
from tests.conftest import crops
{first}

store = WeightsStore()
found = {{}}
for path in [*sys.argv[1:], str(starter_path(store, "ko"))]:
    classifier = open_classifier(Path(path), store)
    images = [crops(5, transform.crop) for transform in classifier.transforms]
    found[path] = classifier.probabilities(images).tolist()
heavy = {{"torch", "torchvision", "transformers", "timm", "sklearn", "matplotlib", "huggingface_hub"}}
print(json.dumps([found, sorted(heavy & set(sys.modules))]))
"""


def test_a_warm_process_predicts_the_same_without_torch(
    sealed: Checkpoint, tuned: tuple[Path, FeatureExtractor], path: Path, store: WeightsStore
) -> None:
    write(sealed, path)
    for place in (path, tuned[0], starter_path(store, "ko")):
        open_classifier(place, store)  # now everything is cached

    def predicted(first: str) -> tuple[object, list[str]]:
        """In a process of its own: numpy rounds by the number of its threads, which is ours to say before it starts."""
        command = [sys.executable, "-c", PREDICT.format(first=first), str(path), str(tuned[0])]
        found, loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return found, loaded

    found, loaded = predicted("")
    assert loaded == []
    expected, loaded = predicted("import torch")
    assert loaded == ["torch"]
    assert found == expected
