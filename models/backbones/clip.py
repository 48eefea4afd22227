"""CLIP: what an image means. Radford et al. 2021, https://arxiv.org/abs/2103.00020; loaded by transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import WeightsUnavailable
from ..images import Transform
from ..registry import Backbone, register_backbone
from ..weights import HubFolder, Weights

if TYPE_CHECKING:
    import torch

TRANSFORM = Transform(
    resize=224,
    crop=224,
    interpolation="bicubic",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
#: Pillow's numbers for resampling filters, as a processor's configuration gives them.
_RESAMPLE = {2: "bilinear", 3: "bicubic"}


@register_backbone(
    "clip",
    description="CLIP ViT-B/32, or another by --clip-model: what an image means",
    transform=TRANSFORM,
    width=512,
    weights=HubFolder(
        name="clip",
        repository="openai/clip-vit-base-patch32",
        # The commit that added model.safetensors; the main branch holds only a pickle.
        revision="c237dc49a33fc61debc9276459120b7eac67e7ef",
    ),
    licence="MIT",
)
def clip(weights: Weights) -> Backbone:
    """Describe the CLIP model in a folder of the hub's layout; features are its projected image embedding."""
    config = _read_json(weights.path / "config.json")
    width = config.get("projection_dim")
    if not isinstance(width, int) or "vision_config" not in config:
        raise WeightsUnavailable(f"{weights.path} does not hold a CLIP model: its config.json has no projection_dim")
    return Backbone(
        name="clip",
        source=weights.source,
        digest=weights.digest,
        transform=_transform(weights.path / "preprocessor_config.json"),
        width=width,
        module=lambda: _module(weights.path),
        text=lambda prompts: _text(weights.path, prompts),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsUnavailable(f"{path} cannot be read as JSON: the model folder is damaged") from error
    if not isinstance(content, dict):
        raise WeightsUnavailable(f"{path} is not a JSON object: the model folder is damaged")
    return content


def _transform(path: Path) -> Transform:
    """The processor's geometry: shortest side, centre crop, normalisation."""
    config = _read_json(path)
    try:
        size, crop = config["size"], config["crop_size"]
        return Transform(
            resize=int(size["shortest_edge"] if isinstance(size, dict) else size),
            crop=int(crop["height"] if isinstance(crop, dict) else crop),
            interpolation=_RESAMPLE[config.get("resample", 3)],  # type: ignore[arg-type]
            mean=tuple(config["image_mean"]),
            std=tuple(config["image_std"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsUnavailable(
            f"{path} describes a preprocessing that is not a CLIP model's (shortest side, centre crop, mean, std)"
        ) from error


def _load(folder: Path) -> Any:
    from ..compat import import_torchvision

    import_torchvision()
    from transformers import CLIPModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return CLIPModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsUnavailable(f"the CLIP model in {folder} cannot be loaded: {error}") from error


def _module(folder: Path) -> torch.nn.Module:
    import torch

    model = _load(folder)

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision = model.vision_model
            self.projection = model.visual_projection

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.projection(self.vision(pixel_values=images).pooler_output)
            return features

    return Features().eval()


def _text(folder: Path, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
    import torch

    model = _load(folder)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokens = tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        pooled = model.text_model(**tokens).pooler_output
        features: npt.NDArray[np.float32] = model.text_projection(pooled).numpy()
    return features
