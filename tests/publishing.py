"""Checkpoints whose heads tell drawn pictures apart, over any backbones; publishing them; and a stream of pictures."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from models.checkpoints import checkpoint
from models.checkpoints.checkpoint import FILE_NAME, Head, Metadata, PartRecord
from models.classifier import make_checkpoint
from models.decoding.images import decode
from models.inference.runtime import FeatureExtractor
from models.scoring import normalise
from tests.pictures import KINDS, save

#: Different class sets, so that every publication changes what an image may be called.
CLASSES = (("줄무늬", "discs"), ("stripes", "discs", "checks"), ("a", "b", "c", "d"), ("one", "two"))
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
            parts=[PartRecord.from_backbone(part) for part in parts],
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
        return checkpoint.write(make_checkpoint(metadata, head, self._extractor), run / FILE_NAME)


def point_at(run: Path, digest: str) -> None:
    """Publish a run, as the trainer does once it has proved it."""
    checkpoint.publish(run, digest, datetime.now(UTC).isoformat())


@dataclass(frozen=True)
class Run:
    """A checkpoint to publish."""

    folder: Path
    digest: str
    classes: Sequence[str]


class Stream(threading.Thread):
    """Puts pictures into the inbox, one every ``seconds``, until it is told to stop; ``put`` says when each."""

    def __init__(self, inbox: Path, spare: Path, seconds: float) -> None:
        super().__init__()
        self._pictures = [save(kind, seed, spare / f"{kind}{seed}.png") for kind in KINDS for seed in range(4)]
        self._inbox, self._spare, self._seconds = inbox, spare, seconds
        self._stop_now = threading.Event()
        self.put: dict[str, float] = {}

    def run(self) -> None:
        for number, picture in enumerate(cycle(self._pictures)):
            if self._stop_now.wait(self._seconds):
                return
            name = f"{number:06}.png"
            shutil.copyfile(picture, self._spare / name)
            self.put[name] = time.time()
            (self._spare / name).rename(self._inbox / name)

    def stop(self) -> None:
        self._stop_now.set()
        self.join()


def make_runs(folder: Path, heads: Sequence[Heads]) -> list[Run]:
    """A run of each class set over each extractor, so that neighbours differ in both."""
    runs = []
    for number, classes in enumerate(CLASSES):
        for at, each in enumerate(heads):
            run = folder / f"run-{number}-{at}"
            runs.append(Run(run, each.write(run, classes, threshold=0.05 * number), classes))
    return runs
