"""A small real classifier for the daemon's tests: the embedded backbone and a head for four kinds of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import checkpoint, registry
from models.checkpoint import FILE_NAME, Head, Metadata, PartRecord
from models.classifier import normalise, seal
from models.images import decode
from models.runtime import open_extractor
from models.weights import WeightsStore
from tests.pictures import KINDS, save

Publish = Callable[..., str]


@pytest.fixture(scope="session")
def publish(store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> Publish:
    """``publish(run_folder, class names)`` writes a checkpoint whose classes are those kinds, and points at it.

    More arguments go into its metadata.

    The head compares an image with the mean features of each kind, so that it really tells them apart.
    """
    backbone = registry.locate(registry.EMBEDDED, None, store)
    extractor = open_extractor([backbone], store)
    folder = tmp_path_factory.mktemp("examples")
    examples = []
    for kind in KINDS:
        for seed in range(500, 506):
            with save(kind, seed, folder / f"{kind}{seed}.png").open("rb") as file:
                examples += decode(file, extractor.transforms)
    features = extractor.features([np.stack(examples)])

    def make(run: Path, names: Sequence[str] = KINDS, **more: Any) -> str:
        metadata = Metadata(
            mode=backbone.name,
            parts=[PartRecord.of(backbone)],
            classes=list(names),
            normalisation="l2",
            **more,
        )
        centres = normalise(features, metadata).reshape(len(KINDS), 6, -1).mean(axis=1)[: len(names)]
        head = Head(
            weight=16 * centres,
            bias=-8 * (centres**2).sum(axis=1),
            mean=np.zeros(backbone.width, np.float32),
            scale=np.ones(backbone.width, np.float32),
            basis=None if metadata.unknown is None else np.linalg.qr(centres.T)[0].T,
        )
        digest = checkpoint.write(seal(metadata, head, extractor), run / FILE_NAME)
        checkpoint.publish(run, digest, "2026-01-01T00:00:00Z")
        return digest

    return make
