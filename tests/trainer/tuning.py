"""Fine-tuning on pictures of colours, a few of which even a backbone that knows nothing can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.checkpoints.checkpoint import Array
from models.registry import Backbone
from tests.trainer.conftest import COLOURS
from trainer.data import dataset
from trainer.data.dataset import Sample
from trainer.finetuning.course import LabelledSamples
from trainer.finetuning.finetune import FineTuneOptions, fine_tune
from trainer.heads.linear import Epoch, Linear, Scaling
from trainer.runs.resume import UnfinishedFit


def side(root: Path, first: int, last: int) -> LabelledSamples:
    files = [file for file in dataset.scan(root).files if first <= int(file.path.stem) < last]
    samples = [Sample(file.path, file.name, file.label, file.name) for file in files]
    return LabelledSamples(samples, np.array([sorted(COLOURS).index(s.label) for s in samples], np.int64))


def start(width: int) -> tuple[Linear, Scaling]:
    head = Linear(np.zeros((3, width), np.float32), np.zeros(3, np.float32))
    return head, Scaling(np.zeros(width, np.float32), np.ones(width, np.float32))


def tune(
    parts: tuple[Backbone, ...],
    colours: Path,
    options: FineTuneOptions,
    place: UnfinishedFit | None = None,
    first: int = 0,
) -> tuple[dict[str, dict[str, Array]], list[Epoch], list[str]]:
    epochs: list[Epoch] = []
    said: list[str] = []
    width = sum(part.width for part in parts)
    tuned = fine_tune(
        parts,
        *start(width),
        side(colours, first, 18),
        side(colours, 18, 24),
        options,
        said.append,
        epochs.append,
        place,
    )
    return tuned, epochs, said
