"""A plug-in that imports torchvision like any library: the spread of an image's edges, found by its transforms."""

from __future__ import annotations

import torch
import torchvision
from torchvision.transforms import functional

from models.registry import Backbone, register_backbone
from models.weights.store import Weights

from .regions import TRANSFORM, NoWeights


class _Edges(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        blurred = functional.resize(functional.resize(images, [12, 12], antialias=False), [96, 96], antialias=False)
        edges: torch.Tensor = (images - blurred).abs().mean(dim=(2, 3))
        return edges


@register_backbone(
    "edges",
    description=f"edges, by torchvision {torchvision.__version__}; an example",
    transform=TRANSFORM,
    width=3,
    weights=NoWeights(),
    licence="Apache-2.0",
)
def edges(weights: Weights) -> Backbone:
    """Describe the backbone; it has nothing to load."""
    return Backbone(
        name="edges", source=weights.source, digest=weights.digest, transform=TRANSFORM, width=3, module=_Edges
    )
