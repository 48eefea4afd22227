"""int8 for transformers, and what it may not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import registry
from models.checkpoints import checkpoint
from models.checkpoints.checkpoint import Head, Metadata, PartRecord
from models.classifier import make_checkpoint, open_classifier
from models.errors import CheckpointError, UserError
from models.inference.engines import TorchEngine
from models.inference.runtime import open_extractor
from models.scoring import normalise
from models.weights.store import WeightsStore
from tests.conftest import crops


def test_a_transformer_runs_in_int8_and_says_nearly_the_same(store: WeightsStore, tiny_clip: Path) -> None:
    backbone = registry.locate("clip", str(tiny_clip), store)
    exact, small = open_extractor([backbone], store), open_extractor([backbone], store, precision="int8")
    assert (exact.engine, small.engine) == ("onnxruntime", "onnxruntime int8")
    batch = [crops(6, 64)]
    expected, got = exact.features(batch), small.features(batch)
    assert not np.array_equal(expected, got)
    cosine = (expected * got).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(got, axis=1)
    assert cosine.min() > 0.98


def test_a_convolutional_network_stays_as_it_is(store: WeightsStore) -> None:
    backbone = registry.locate(registry.EMBEDDED, None, store)
    assert open_extractor([backbone], store, precision="int8").engine == "onnxruntime"


def sealed(path: Path, clip: Path, store: WeightsStore, sharpness: float) -> Path:
    """A checkpoint over the small CLIP whose two classes are told apart the more sharply."""
    backbone = registry.locate("clip", str(clip), store)
    metadata = Metadata(mode="clip", parts=[PartRecord.from_backbone(backbone)], classes=["a", "b"], normalisation="l2")
    direction = np.random.default_rng(0).normal(0, sharpness, (1, backbone.width)).astype(np.float32)
    extractor = open_extractor([backbone], store)
    zeros, ones = np.zeros(backbone.width, np.float32), np.ones(backbone.width, np.float32)
    draft = make_checkpoint(
        metadata, Head(np.vstack([direction, -direction]), np.zeros(2, np.float32), zeros, ones), extractor
    )
    # The boundary between the classes goes through a golden sample, where every change shows.
    middle = normalise(draft.golden.features, metadata)[0] @ direction[0]
    head = Head(np.vstack([direction, -direction]), np.array([-middle, middle], np.float32), zeros, ones)
    checkpoint.write(make_checkpoint(metadata, head, extractor), path)
    return path


def test_int8_is_used_where_predictions_stay(store: WeightsStore, tiny_clip: Path, tmp_path: Path) -> None:
    path = sealed(tmp_path / "calm.safetensors", tiny_clip, store, 0.1)
    assert open_classifier(path, store, precision="int8").extractor.engine == "onnxruntime int8"


def test_int8_is_refused_where_predictions_would_change(
    store: WeightsStore, tiny_clip: Path, tmp_path: Path, logged: list[str]
) -> None:
    path = sealed(tmp_path / "sharp.safetensors", tiny_clip, store, 1000.0)
    assert open_classifier(path, store, precision="int8").extractor.engine == "onnxruntime"
    assert any("precision int8 is not used, float32 is" in line for line in logged)


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_a_convolutional_checkpoint_is_proved_as_strictly_either_way(
    store: WeightsStore, tmp_path: Path, precision: str
) -> None:
    from models.starter import starter_path

    made = checkpoint.read(starter_path(store, "en"))
    shifted = made.golden.features + np.float32(0.05) * np.abs(made.golden.features).mean()
    shifted[:, ::2] *= np.float32(0.9)
    golden = checkpoint.Golden(made.golden.pictures, shifted, made.golden.probabilities)
    path = tmp_path / "altered.safetensors"
    checkpoint.write(checkpoint.Checkpoint(made.metadata, made.head, golden), path)
    with pytest.raises(CheckpointError, match="computes different features"):
        open_classifier(path, store, precision=precision)  # type: ignore[arg-type]


def test_torch_computes_what_the_graph_does(store: WeightsStore) -> None:
    backbone = registry.locate(registry.EMBEDDED, None, store)
    engine = TorchEngine(backbone, threads=1)
    batch = crops(3, 224)
    expected = open_extractor([backbone], store).features([batch])
    np.testing.assert_allclose(engine.features(batch), expected, rtol=1e-3, atol=1e-3)
    assert engine.name == "torch"


def test_a_gpu_that_is_not_there_is_said(store: WeightsStore) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    backbone = registry.locate(registry.EMBEDDED, None, store)
    with pytest.raises(UserError, match="use the device cpu"):
        open_extractor([backbone], store, device="cuda")


def test_on_a_gpu_features_are_nearly_those_of_the_cpu(store: WeightsStore) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU that torch can use")
    backbone = registry.locate(registry.EMBEDDED, None, store)
    batch = [crops(4, 224)]
    expected = open_extractor([backbone], store).features(batch)
    got = open_extractor([backbone], store, device="cuda").features(batch)
    cosine = (expected * got).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(got, axis=1)
    assert cosine.min() >= 0.999
