"""No checkpoint is believed without proof: it computes here what it computed where it was made, or is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints.checkpoint import FILE_NAME, Checkpoint, PartRecord, write
from models.classifier import open_classifier
from models.decoding.images import Transform
from models.errors import CheckpointError, UserError, WeightsUnavailable
from models.files import atomic
from models.inference.runtime import FeatureExtractor, graph_path
from models.registry import Backbone
from models.weights.store import WeightsStore
from tests.models.small_checkpoints import record, small_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / FILE_NAME


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
    elif what == "energy weight":
        assert sealed.metadata.unknown is not None
        told = sealed.metadata.unknown.model_copy(update={"energy_weight": 3.0})
        return dataclasses.replace(sealed, metadata=sealed.metadata.model_copy(update={"unknown": told}))
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
        ("golden probabilities", r"its golden samples give different results .* \(probabilities differ by 0\.\d+\)"),
        ("golden features of clip", "clip computes different features here"),
        ("golden features of mobilenet", "mobilenet computes different features here"),
        ("energy weight", "it measures another strangeness of its golden samples"),
        ("golden strangeness", "it measures another strangeness of its golden samples"),
        ("golden pictures", "mobilenet computes different features here"),
        ("head", "its golden samples give different results"),
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
    atomic.record_digest(graph, atomic.file_digest(graph))
    with pytest.raises(CheckpointError, match="clip computes different features here"):
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
    with pytest.raises(CheckpointError, match="by a version that decodes images differently for mobilenet: fit again"):
        open_classifier(path, store)


def test_a_checkpoint_of_another_preprocessing_is_refused(
    sealed: Checkpoint, path: Path, store: WeightsStore, hybrid: FeatureExtractor
) -> None:
    other: Transform = dataclasses.replace(hybrid.transforms[0], resize=300)
    made_with = PartRecord.from_backbone(dataclasses.replace(hybrid.parts[0], transform=other))
    write(with_part(sealed, 0, transform=made_with.transform, fingerprint=made_with.fingerprint), path)
    with pytest.raises(CheckpointError, match=r"other preprocessing of images for mobilenet .*=300.*=232"):
        open_classifier(path, store)


def test_an_unknown_backbone_is_named(path: Path, store: WeightsStore) -> None:
    write(small_checkpoint(parts=[record("one", 4), record("two", 2, fine_tuned=True)]), path)
    with pytest.raises(UserError, match="there is no backbone 'one'"):
        open_classifier(path, store)
