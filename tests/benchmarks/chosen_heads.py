"""Heads chosen on labelled sets as ``fit`` chooses them, and what they make of other images as the daemon would."""

from __future__ import annotations

import numpy as np

from models import registry
from models.checkpoints.checkpoint import Pretrained
from models.checkpoints.metadata import Metadata, PartRecord
from models.registry import Backbone
from models.scoring import Probabilities, Strangeness, score
from models.weights.store import WeightsStore
from tests.benchmarks.labelled_sets import FOLDER, LabelledSet
from trainer.data.cache import Features
from trainer.heads.choice import Choice
from trainer.heads.choosing import choose_head
from trainer.heads.linear import GradientOptions
from trainer.heads.views import Part


def chosen_head(data: LabelledSet) -> Choice:
    """Choose a head on the features that the embedded backbone has of a set."""
    backbone = _backbone()
    assert backbone.imagenet_head is not None
    part = Part(backbone.name, backbone.width, None, Pretrained.rounded(*backbone.imagenet_head()))
    folds = data.folds.astype(np.int64)
    return choose_head(data.features.copy(), data.labels, folds, len(data.classes), [part], GradientOptions())


def score_images(choice: Choice, features: Features) -> tuple[Probabilities, Strangeness]:
    """Probabilities (n, classes) and strangeness (n,) that a daemon finds for raw features (n, width)."""
    backbone = _backbone()
    metadata = Metadata(
        mode=backbone.name,
        parts=[PartRecord.from_backbone(backbone)],
        classes=[f"class {label}" for label in range(len(choice.head.bias))],
        normalisation=choice.normalisation,
        temperature=choice.temperature,
        unknown=None if choice.span is None else choice.span.rule,
    )
    return score(metadata, choice.served, features)


def _backbone() -> Backbone:
    return registry.locate(registry.EMBEDDED, None, WeightsStore(FOLDER / "weights"))
