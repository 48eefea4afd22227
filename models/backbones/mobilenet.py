"""MobileNetV3, for how an image looks. Howard et al. 2019, https://arxiv.org/abs/1905.02244; torchvision's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.decoding.images import Transform
from models.errors import WeightsUnavailable
from models.registry import Backbone, register_backbone
from models.text.language import mark, tr
from models.weights.store import TorchvisionPickle, Weights

if TYPE_CHECKING:
    import torch

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
LARGE = Transform(resize=232, crop=224, interpolation="bilinear", mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
SMALL = Transform(resize=256, crop=224, interpolation="bilinear", mean=_IMAGENET_MEAN, std=_IMAGENET_STD)


@register_backbone(
    "mobilenet",
    description=mark("MobileNetV3-Large, ImageNet: how an image looks"),
    transform=LARGE,
    width=1280,
    weights=TorchvisionPickle("mobilenet", "https://download.pytorch.org/models/mobilenet_v3_large-5c1a4163.pth"),
    licence="BSD-3-Clause",
)
def mobilenet(weights: Weights) -> Backbone:
    """Describe MobileNetV3-Large; features are the 1,280 inputs of the last layer of its classifier."""
    return _describe("mobilenet", weights, LARGE, 1280, "mobilenet_v3_large")


@register_backbone(
    "mobilenet_small",
    description=mark("MobileNetV3-Small, ImageNet: half the work of mobilenet, a little less sharp"),
    transform=SMALL,
    width=1024,
    weights=TorchvisionPickle("mobilenet_small", "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth"),
    licence="BSD-3-Clause",
)
def mobilenet_small(weights: Weights) -> Backbone:
    """Describe MobileNetV3-Small; features are the 1,024 inputs of the last layer of its classifier."""
    return _describe("mobilenet_small", weights, SMALL, 1024, "mobilenet_v3_small")


def _describe(name: str, weights: Weights, transform: Transform, width: int, architecture: str) -> Backbone:
    return Backbone(
        name=name,
        source=weights.source,
        digest=weights.digest,
        transform=transform,
        width=width,
        module=lambda: _module(weights, architecture),
    )


def _module(weights: Weights, architecture: str) -> torch.nn.Module:
    from models.compat import import_torchvision

    torchvision = import_torchvision()
    import torch
    from safetensors.torch import load_file

    model: torch.nn.Module = getattr(torchvision.models, architecture)(weights=None)
    try:
        model.load_state_dict(load_file(weights.path))
    except RuntimeError as error:
        raise WeightsUnavailable(
            tr("{path} does not hold a {architecture}: give another file", path=weights.path, architecture=architecture)
        ) from error
    # The classifier is linear, hardswish, dropout, linear: the first two layers compute the features.
    model.classifier = torch.nn.Sequential(model.get_submodule("classifier.0"), torch.nn.Hardswish())
    return model.eval()
