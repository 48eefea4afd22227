"""The mean and the spread of each colour in nine regions of an image: a backbone without weights to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.decoding.images import Transform
from models.registry import Backbone, register_backbone
from models.weights.store import Weights, WeightsStore

if TYPE_CHECKING:
    import torch

TRANSFORM = Transform(resize=96, crop=96, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
WIDTH = 54


class NoWeights:
    """A source for a backbone that is arithmetic alone."""

    label = "no weights"

    def is_local(self, store: WeightsStore) -> bool:
        """There is nothing to fetch."""
        return True

    def locate(self, given: str | None, store: WeightsStore) -> Weights:
        """The same on every machine; the digest names the version of the arithmetic."""
        return Weights(store.root, "regions-1", self.label)


@register_backbone(
    "regions",
    description="the colours of nine regions; an example",
    transform=TRANSFORM,
    width=WIDTH,
    weights=NoWeights(),
    licence="Apache-2.0",
)
def regions(weights: Weights) -> Backbone:
    """Describe the backbone; it has nothing to load."""
    return Backbone(
        name="regions",
        source=weights.source,
        digest=weights.digest,
        transform=TRANSFORM,
        width=WIDTH,
        module=_module,
    )


def _module() -> torch.nn.Module:
    import torch

    class Regions(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            cells = images.unfold(2, 32, 32).unfold(3, 32, 32).flatten(4)
            mean = cells.mean(dim=4)
            spread = (cells - mean.unsqueeze(4)).square().mean(dim=4).sqrt()
            return torch.cat([mean, spread], dim=1).flatten(1)

    return Regions().eval()
