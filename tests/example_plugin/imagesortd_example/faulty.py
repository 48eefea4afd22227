"""A plug-in that registers well, and fails when its backbone is to be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.registry import Backbone, register_backbone
from models.weights.store import Weights

from .regions import TRANSFORM, NoWeights

if TYPE_CHECKING:
    import torch


def _module() -> torch.nn.Module:
    raise RuntimeError("an operator does not exist")


@register_backbone(
    "faulty", description="an example", transform=TRANSFORM, width=3, weights=NoWeights(), licence="Apache-2.0"
)
def faulty(weights: Weights) -> Backbone:
    """Describe the backbone."""
    return Backbone(
        name="faulty", source=weights.source, digest=weights.digest, transform=TRANSFORM, width=3, module=_module
    )
