"""A hybrid of real small models, and a checkpoint over it that is believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints.checkpoint import FILE_NAME, Checkpoint, Head, Metadata, PartRecord, write
from models.checkpoints.metadata import Unknown
from models.classifier import make_checkpoint
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.weights.store import WeightsStore
from tests.models.small_checkpoints import small_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / FILE_NAME


@pytest.fixture
def good(path: Path) -> bytes:
    """The bytes of a checkpoint that is right in every way, for the tests to spoil."""
    write(small_checkpoint(), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def hybrid(store: WeightsStore, tiny_mobilenet: Path, tiny_clip: Path) -> FeatureExtractor:
    """The hybrid of real small models."""
    weights = {"mobilenet": str(tiny_mobilenet), "clip": str(tiny_clip)}
    return open_extractor(locate_backbones("hybrid", weights, store), store)


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
    parts = [PartRecord.from_backbone(part) for part in extractor.parts]
    metadata = Metadata(
        mode="hybrid",
        parts=parts,
        classes=["cat", "개", "sea life"],
        normalisation="l2",
        temperature=0.8,
        unknown=Unknown(limit=2.0, refused=0.01),
    )
    return make_checkpoint(metadata, head, extractor, backbones)


@pytest.fixture(scope="module")
def sealed(hybrid: FeatureExtractor) -> Checkpoint:
    """A checkpoint over the hybrid that opens and predicts."""
    return fit(hybrid)
