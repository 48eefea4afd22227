"""Checkpoints whose heads tell the drawn kinds of pictures apart, over any backbones, and a place to publish them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from models import checkpoint
from models.checkpoint import FILE_NAME, Head, Metadata, PartRecord
from models.classifier import normalise, seal
from models.images import decode
from models.runtime import FeatureExtractor
from tests.pictures import KINDS, save

#: Pictures of each kind that a head is made from.
_EXAMPLES = 6


class Heads:
    """Makes checkpoints over one extractor. A head compares an image with the mean features of each kind."""

    def __init__(self, extractor: FeatureExtractor, folder: Path) -> None:
        """``folder``: for the pictures that stand for the kinds."""
        self._extractor = extractor
        examples = []
        for kind in KINDS:
            for seed in range(500, 500 + _EXAMPLES):
                with save(kind, seed, folder / f"{kind}{seed}.png").open("rb") as file:
                    examples.append(decode(file, extractor.transforms))
        self._features = extractor.features([np.stack(part) for part in zip(*examples, strict=True)])

    def write(self, run: Path, names: Sequence[str] = KINDS, **more: Any) -> str:
        """A run whose classes are so many of the kinds, in their order; returns the sha256 of its checkpoint.

        ``more`` goes into its metadata.
        """
        parts = self._extractor.parts
        metadata = Metadata(
            mode="+".join(part.name for part in parts),
            parts=[PartRecord.of(part) for part in parts],
            classes=list(names),
            normalisation="l2",
            **more,
        )
        width = self._extractor.width
        centres = normalise(self._features, metadata).reshape(len(KINDS), _EXAMPLES, width).mean(axis=1)[: len(names)]
        head = Head(
            weight=16 * centres,
            bias=-8 * (centres**2).sum(axis=1),
            mean=np.zeros(width, np.float32),
            scale=np.ones(width, np.float32),
            basis=None if metadata.unknown is None else np.linalg.qr(centres.T)[0].T,
        )
        return checkpoint.write(seal(metadata, head, self._extractor), run / FILE_NAME)


def point_at(run: Path, digest: str) -> None:
    """Publish a run, as the trainer does once it has proved it."""
    checkpoint.publish(run, digest, datetime.now(UTC).isoformat())
