"""The classifier: exact arithmetic, the same in every process, and no checkpoint believed without proof."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import atomic
from models import checkpoint as checkpoints
from models.checkpoint import FILE_NAME, Checkpoint, Head, Metadata, PartRecord, publish, write
from models.classifier import (
    Classifier,
    Prediction,
    head_probabilities,
    head_strangeness,
    normalise,
    open_classifier,
    seal,
)
from models.errors import CheckpointError, UserError, WeightsUnavailable
from models.images import Transform
from models.metadata import Unknown
from models.registry import Backbone
from models.runtime import FeatureExtractor, graph_path, open_extractor, select, tuned_backbone
from models.starter import starter_path
from models.weights import WeightsStore
from tests.conftest import crops
from tests.models.checkpoints import record, small_checkpoint

CLASSES = ["cat", "개", "sea life"]


@pytest.fixture(scope="module")
def extractor(store: WeightsStore, tiny_mobilenet: Path, tiny_clip: Path) -> FeatureExtractor:
    """The hybrid of real small models."""
    weights = {"mobilenet": str(tiny_mobilenet), "clip": str(tiny_clip)}
    return open_extractor(select("hybrid", weights, store), store)


def fit(extractor: FeatureExtractor, backbones: Mapping[str, Mapping[str, Any]] | None = None) -> Checkpoint:
    """A sealed checkpoint with a random head, sharp enough to tell pictures apart."""
    random = np.random.default_rng(1)
    head = Head(
        weight=random.normal(size=(3, extractor.width)).astype(np.float32),
        bias=np.zeros(3, np.float32),
        mean=random.normal(scale=0.01, size=extractor.width).astype(np.float32),
        scale=np.full(extractor.width, 3.0, np.float32),
        basis=np.eye(4, extractor.width, dtype=np.float32),
    )
    parts = [PartRecord.of(part) for part in extractor.parts]
    metadata = Metadata(
        mode="hybrid",
        parts=parts,
        classes=CLASSES,
        normalisation="l2",
        temperature=0.8,
        unknown=Unknown(limit=2.0, refused=0.01),
    )
    return seal(metadata, head, extractor, backbones)


@pytest.fixture(scope="module")
def sealed(extractor: FeatureExtractor) -> Checkpoint:
    return fit(extractor)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / FILE_NAME


def batch(classifier: Classifier | FeatureExtractor, count: int = 5) -> list[Any]:
    return [crops(count, transform.crop) for transform in classifier.transforms]


# --- the arithmetic


@pytest.mark.parametrize("normalisation", ["l2", "none"])
@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("grouped", [True, False])
def test_probabilities_are_those_of_the_formula(normalisation: str, temperature: float, grouped: bool) -> None:
    checkpoint = small_checkpoint(normalisation=normalisation, temperature=temperature)
    head = checkpoint.head if grouped else dataclasses.replace(checkpoint.head, groups=None)
    features = np.random.default_rng(3).normal(scale=5.0, size=(7, 6)).astype(np.float32)

    expected = []
    for row in features.astype(np.float64):
        pieces = [row[:4], row[4:]]
        if normalisation == "l2":
            pieces = [piece / np.sqrt((piece**2).sum()) for piece in pieces]
        inputs = (np.concatenate(pieces) - head.mean) * head.scale
        pairs = zip(head.weight, head.bias, strict=True)
        scores = np.exp([((inputs * weight).sum() + bias) / temperature for weight, bias in pairs])
        outputs = scores / scores.sum()
        expected.append([outputs[[0, 4]].sum(), outputs[[1, 3]].sum(), outputs[2]] if grouped else outputs)

    got = head_probabilities(checkpoint.metadata, head, features)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("normalisation", ["l2", "none"])
def test_strangeness_is_the_distance_from_the_span_of_the_basis_over_the_limit(normalisation: str) -> None:
    checkpoint = small_checkpoint(normalisation=normalisation)
    metadata, head = checkpoint.metadata, checkpoint.head
    assert head.basis is not None
    features = np.random.default_rng(3).normal(scale=5.0, size=(7, 6)).astype(np.float32)
    got = head_strangeness(metadata, head, features)
    inputs = ((normalise(features, metadata) - head.mean) * head.scale).astype(np.float64)
    nearest = [np.linalg.lstsq(head.basis.T, row, rcond=None)[0] @ head.basis for row in inputs]
    np.testing.assert_allclose(got, np.linalg.norm(inputs - nearest, axis=1) / 3.5, rtol=1e-4)
    np.testing.assert_allclose(got, [head_strangeness(metadata, head, row[None])[0] for row in features], rtol=1e-5)


def test_without_a_basis_nothing_is_strange() -> None:
    checkpoint = small_checkpoint(unknown=None)
    features = np.full((3, 6), 1e6, np.float32)
    assert head_strangeness(checkpoint.metadata, checkpoint.head, features).tolist() == [0, 0, 0]
    assert not Prediction("cat", 0.5).unknown
    assert not Prediction("cat", 0.5, 1.0).unknown
    assert Prediction("cat", 0.99, 1.01).unknown


def test_each_part_is_brought_to_unit_length_for_itself() -> None:
    metadata = small_checkpoint().metadata
    features = np.array([[3, 0, 4, 0, 0, 1e-3], [0, 0, 0, 0, 1e6, 0]], np.float32)
    expected = np.array([[0.6, 0, 0.8, 0, 0, 1], [0, 0, 0, 0, 1, 0]], np.float32)
    np.testing.assert_allclose(normalise(features, metadata), expected, rtol=1e-6)
    np.testing.assert_array_equal(normalise(features, metadata.model_copy(update={"normalisation": "none"})), features)


def test_scores_of_any_size_give_probabilities() -> None:
    checkpoint = small_checkpoint(normalisation="none", temperature=1e-3)
    got = head_probabilities(checkpoint.metadata, checkpoint.head, np.full((2, 6), 1e4, np.float32))
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-5)


def test_the_prediction_is_the_most_probable_class(
    sealed: Checkpoint, path: Path, store: WeightsStore, extractor: FeatureExtractor
) -> None:
    digest = write(sealed, path)
    classifier = open_classifier(path, store)
    assert classifier.classes == CLASSES
    assert classifier.digest == digest
    assert classifier.metadata == sealed.metadata
    assert classifier.transforms == extractor.transforms
    assert [transform.crop for transform in classifier.transforms] == [224, 64]
    images = batch(classifier)
    probabilities = classifier.probabilities(images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(
        probabilities, head_probabilities(sealed.metadata, sealed.head, extractor.features(images))
    )
    best = probabilities.argmax(axis=1)
    strangeness = head_strangeness(sealed.metadata, sealed.head, extractor.features(images))
    assert (strangeness > 0).all()
    assert classifier.predict(images) == [
        Prediction(CLASSES[index], float(row[index]), float(strange))
        for index, row, strange in zip(best, probabilities, strangeness, strict=True)
    ]
    assert len({prediction.confidence for prediction in classifier.predict(images)}) == 5
    together = classifier.judge(images)
    np.testing.assert_array_equal(together.probabilities, probabilities)
    np.testing.assert_array_equal(together.strangeness, strangeness)
    for at in range(5):  # whatever lies beside an image in its batch
        alone = classifier.judge([part[at : at + 1] for part in images])
        np.testing.assert_allclose(alone.probabilities[0], probabilities[at], atol=1e-5)
        np.testing.assert_allclose(alone.strangeness[0], strangeness[at], rtol=1e-4)


def test_a_checkpoint_opens_by_its_file_its_run_and_the_folder_of_runs(
    sealed: Checkpoint, path: Path, store: WeightsStore
) -> None:
    digest = write(sealed, path)
    publish(path.parent, digest, "")
    for place in (path, path.parent, path.parent.parent):
        assert open_classifier(place, store, threads=1).digest == digest


# --- proof


def altered(sealed: Checkpoint, what: str) -> Checkpoint:
    golden, head = sealed.golden, sealed.head
    features, probabilities = golden.features.copy(), golden.probabilities.copy()
    if what == "golden probabilities":
        probabilities[0] = probabilities[0][::-1]
    elif what == "golden features of clip":
        features[1, -24:] = features[1, -24:][::-1]
    elif what == "golden features of mobilenet":
        features[0, :1280] = -features[0, :1280]
    elif what == "golden strangeness":
        assert golden.strangeness is not None
        golden = dataclasses.replace(golden, strangeness=golden.strangeness * np.float32(1.1))
    elif what == "head":
        head = dataclasses.replace(head, weight=head.weight[::-1])
    elif what == "golden pictures":
        return dataclasses.replace(sealed, golden=dataclasses.replace(golden, pictures=255 - golden.pictures))
    return dataclasses.replace(
        sealed, head=head, golden=dataclasses.replace(golden, features=features, probabilities=probabilities)
    )


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("golden probabilities", r"its golden samples come out otherwise .* \(probabilities differ by 0\.\d+\)"),
        ("golden features of clip", "clip computes other features here"),
        ("golden features of mobilenet", "mobilenet computes other features here"),
        ("golden strangeness", "it takes its golden samples for more or less strange"),
        ("golden pictures", "mobilenet computes other features here"),
        ("head", "its golden samples come out otherwise"),
    ],
)
def test_a_checkpoint_that_does_not_compute_what_it_did_is_refused(
    sealed: Checkpoint, path: Path, store: WeightsStore, what: str, reason: str
) -> None:
    write(altered(sealed, what), path)
    with pytest.raises(CheckpointError, match=f"the checkpoint {path} is not used: {reason}"):
        open_classifier(path, store)


def test_a_graph_of_other_weights_in_the_cache_is_noticed(
    sealed: Checkpoint, path: Path, store: WeightsStore, tmp_path: Path
) -> None:
    own = WeightsStore(tmp_path / "cache")
    for part in sealed.metadata.parts:
        described = _described(part)
        for suffix in ("", ".sha256"):
            shutil.copy(f"{graph_path(described, store)}{suffix}", f"{graph_path(described, own)}{suffix}")
    write(sealed, path)
    open_classifier(path, own)
    graph = graph_path(_described(sealed.metadata.parts[1]), own)
    data = bytearray(graph.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = b"\x3f" * 4000  # as floats, 0.75 each, wherever they begin
    graph.write_bytes(data)
    atomic.record(graph, atomic.file_digest(graph))
    with pytest.raises(CheckpointError, match="clip computes other features here"):
        open_classifier(path, own)


def _described(part: PartRecord) -> Backbone:
    """As much of a backbone as its graph's name depends on."""

    def module() -> Any:
        raise AssertionError("no module is built here")

    transform = part.as_transform()
    return Backbone(
        name=part.name, source=part.source, digest=part.digest, transform=transform, width=part.width, module=module
    )


def with_part(sealed: Checkpoint, index: int, **changes: Any) -> Checkpoint:
    parts = list(sealed.metadata.parts)
    parts[index] = parts[index].model_copy(update=changes)
    return dataclasses.replace(sealed, metadata=sealed.metadata.model_copy(update={"parts": parts}))


def test_weights_that_changed_since_are_named(
    sealed: Checkpoint, path: Path, tiny_clip: Path, tmp_path: Path, store: WeightsStore
) -> None:
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    write(with_part(sealed, 1, source=str(folder)), path)
    open_classifier(path, store)  # the graph is in the cache, whatever becomes of the folder
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    own = WeightsStore(tmp_path / "cache")
    mobilenet = _described(sealed.metadata.parts[0])
    shutil.copy(graph_path(mobilenet, store), graph_path(mobilenet, own))
    with pytest.raises(CheckpointError, match=r"the weights of clip from .* are not those .* fit again, or bring"):
        open_classifier(path, own)
    shutil.rmtree(folder)
    with pytest.raises(WeightsUnavailable, match="there is no folder"):
        open_classifier(path, own)


def test_a_checkpoint_of_another_decoder_is_refused(sealed: Checkpoint, path: Path, store: WeightsStore) -> None:
    write(with_part(sealed, 0, fingerprint="0" * 16), path)
    with pytest.raises(CheckpointError, match="by a version that decodes images otherwise for mobilenet: fit again"):
        open_classifier(path, store)


def test_a_checkpoint_of_another_preprocessing_is_refused(
    sealed: Checkpoint, path: Path, store: WeightsStore, extractor: FeatureExtractor
) -> None:
    other: Transform = dataclasses.replace(extractor.transforms[0], resize=300)
    made_with = PartRecord.of(dataclasses.replace(extractor.parts[0], transform=other))
    write(with_part(sealed, 0, transform=made_with.transform, fingerprint=made_with.fingerprint), path)
    with pytest.raises(CheckpointError, match=r"another preprocessing of images for mobilenet .*=300.*=232"):
        open_classifier(path, store)


def test_backbones_of_a_classifier_in_use_are_loaded_once(
    sealed: Checkpoint, extractor: FeatureExtractor, path: Path, store: WeightsStore
) -> None:
    write(sealed, path)
    first = open_classifier(path, store, threads=1)
    second = open_classifier(path, store, threads=1, beside=first)
    assert second is not first
    assert second.extractor is first.extractor
    clip = open_extractor(extractor.parts[1:], store, threads=1, beside=first.extractor)
    assert clip.engine_of(extractor.parts[1]) is first.extractor.engine_of(extractor.parts[1])
    changed = dataclasses.replace(extractor.parts[1], digest="0" * 64)
    assert first.extractor.engine_of(changed) is None


def test_an_unknown_backbone_is_named(path: Path, store: WeightsStore) -> None:
    write(small_checkpoint(parts=[record("one", 4), record("two", 2, fine_tuned=True)]), path)
    with pytest.raises(UserError, match="there is no backbone 'one'"):
        open_classifier(path, store)


# --- fine-tuned parts, and other processes


@pytest.fixture(scope="module")
def tuned(
    extractor: FeatureExtractor, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FeatureExtractor]:
    """A checkpoint whose MobileNet was changed a little, as fine-tuning does, and what computes it here."""
    mobilenet, clip = extractor.parts
    state = {name: tensor.numpy() for name, tensor in mobilenet.module().state_dict().items()}
    first = state["features.0.0.weight"]
    state["features.0.0.weight"] = first + np.random.default_rng(0).normal(0, 0.3, first.shape).astype(np.float32)
    ours = open_extractor([tuned_backbone(mobilenet, state, store), clip], store)
    path = tmp_path_factory.mktemp("tuned") / FILE_NAME
    write(fit(ours, {"mobilenet": state}), path)
    return path, ours


def test_fine_tuned_weights_make_other_features_and_travel_with_the_checkpoint(
    tuned: tuple[Path, FeatureExtractor], extractor: FeatureExtractor, store: WeightsStore
) -> None:
    path, ours = tuned
    images = batch(extractor)
    assert ours.engine == "onnxruntime"
    expected, untuned = ours.features(images), extractor.features(images)
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
from models.weights import WeightsStore
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
