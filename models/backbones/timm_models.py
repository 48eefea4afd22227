"""All models of timm as backbones ``timm/<name>``, with weights from a local file, a folder or the hub.

timm: Wightman, https://github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from models.children import run_child
from models.decoding.images import Transform
from models.errors import WeightsUnavailable
from models.registry import Backbone, BackboneEntry, register_family
from models.text.language import mark, tr
from models.weights.hub import HubFolder
from models.weights.store import Weights

if TYPE_CHECKING:
    import torch

PREFIX = "timm/"


@register_family(
    PREFIX, description=mark("any timm model by its name, such as timm/mobilenetv4_conv_small.e2400_r224_in1k")
)
@cache
def timm_model(name: str) -> BackboneEntry:
    """Make the entry of one timm model; a child process describes it, because timm imports torch."""
    card = json.loads(run_child("models.weights.timm_card", name.removeprefix(PREFIX)))
    geometry = card["transform"]
    transform = Transform(**geometry | {"mean": tuple(geometry["mean"]), "std": tuple(geometry["std"])})

    def build(weights: Weights) -> Backbone:
        return Backbone(
            name=name,
            source=weights.source,
            digest=weights.digest,
            transform=transform,
            width=card["width"],
            module=lambda: _module(name.removeprefix(PREFIX), weights, transform.crop),
        )

    return BackboneEntry(
        name=name,
        description=card["description"],
        transform=transform,
        width=card["width"],
        weights=HubFolder(name=name, default=name, required=("config.json",), file_alone=True),
        licence=card["licence"],
        build=build,
    )


def _module(name: str, weights: Weights, side: int) -> torch.nn.Module:
    from models.compat import import_torchvision

    import_torchvision()
    import timm
    from safetensors.torch import load_file

    from models.inference.padding import fix_padding

    model: torch.nn.Module = timm.create_model(name, pretrained=False)
    file = weights.path / "model.safetensors" if weights.path.is_dir() else weights.path
    try:
        model.load_state_dict(load_file(file))
    except (OSError, RuntimeError) as error:
        raise WeightsUnavailable(
            tr("{file} does not hold timm's {name}: give another file", file=file, name=name)
        ) from error
    model.reset_classifier(0)  # type: ignore[operator]
    model.eval()
    fix_padding(model, side)
    return model
