"""CLIP: what an image means. Radford et al. 2021, https://arxiv.org/abs/2103.00020; loaded by transformers.

Any CLIP or SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343; SigLIP 2 is the same architecture) may be given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
_RESAMPLE: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
#: What transformers' SigLIP means where its configuration does not say.
_SIGLIP_WIDTH = 768


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
    """Describe the model in a folder of the hub's layout; features are its image embedding, beside that of texts."""
    config = _read_json(weights.path / "config.json")
    return Backbone(
        name="clip",
        source=weights.source,
        digest=weights.digest,
        transform=_transform(weights.path / "preprocessor_config.json"),
        width=_width(config, weights.path),
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


def _width(config: dict[str, Any], folder: Path) -> int:
    """The length of an embedding: CLIP projects images and texts to it, SigLIP takes the image tower's own."""
    match config:
        case {"model_type": "clip", "projection_dim": int(width)}:
            return width
        case {"model_type": "siglip", "vision_config": {"hidden_size": int(width)}}:
            return width
        case {"model_type": "siglip", "vision_config": dict()}:
            return _SIGLIP_WIDTH
    raise WeightsUnavailable(
        f"{folder} holds a model of type {config.get('model_type')}: give one of type clip or siglip"
    )


def _transform(path: Path) -> Transform:
    """The processor's geometry: shortest side and centre crop (CLIP), or the whole image in a square (SigLIP)."""
    config = _read_json(path)
    try:
        filters: Literal["bilinear", "bicubic"] = _RESAMPLE[config.get("resample", 3)]
        mean, std = tuple(config["image_mean"]), tuple(config["image_std"])
        size = config["size"]
        if isinstance(size, dict) and "height" in size and not config.get("do_center_crop"):
            side = int(size["height"])
            if side != int(size["width"]):
                raise ValueError("not a square")
            return Transform(resize=side, crop=side, interpolation=filters, mean=mean, std=std, stretch=True)
        crop = config["crop_size"]
        return Transform(
            resize=int(size["shortest_edge"] if isinstance(size, dict) else size),
            crop=int(crop["height"] if isinstance(crop, dict) else crop),
            interpolation=filters,
            mean=mean,
            std=std,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsUnavailable(
            f"{path} is neither a CLIP model's preprocessing (shortest edge, centre crop) nor a SigLIP model's (square)"
        ) from error


def _load(folder: Path) -> Any:
    from ..compat import import_torchvision

    import_torchvision()
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, found = AutoModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsUnavailable(f"the CLIP model in {folder} cannot be loaded: {error}") from error
    # transformers fills what is missing with random numbers and only mentions it.
    if lacking := sorted({*found["missing_keys"], *map(str, found["mismatched_keys"])}):
        raise WeightsUnavailable(
            f"the weights in {folder} lack {len(lacking)} tensors that its config.json describes, "
            f"{lacking[0]} among them: fetch the folder again, or give another"
        )
    return model.eval()


def _module(folder: Path) -> torch.nn.Module:
    import torch

    model = _load(folder)

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision = model.vision_model
            self.projection = getattr(model, "visual_projection", torch.nn.Identity())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.projection(self.vision(pixel_values=images).pooler_output)
            return features

    return Features().eval()


def _text(folder: Path, prompts: Sequence[str]) -> npt.NDArray[np.float32]:
    import torch

    model = _load(folder)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    length = model.config.text_config.max_position_embeddings
    # SigLIP was trained on texts padded to their full length, and reads the last place; CLIP reads its end token.
    padding = "max_length" if model.config.model_type == "siglip" else True
    tokens = tokenizer(list(prompts), padding=padding, truncation=True, max_length=length, return_tensors="pt")
    with torch.inference_mode():
        pooled = model.text_model(**tokens).pooler_output
        projection = getattr(model, "text_projection", torch.nn.Identity())
        features: npt.NDArray[np.float32] = projection(pooled).numpy()
    return features
