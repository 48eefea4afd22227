"""CLIP, for what an image means. Radford et al. 2021, https://arxiv.org/abs/2103.00020; loaded by transformers.

Any CLIP or SigLIP model works (Zhai et al. 2023, https://arxiv.org/abs/2303.15343; SigLIP 2 has the same architecture).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from models.decoding.images import Transform
from models.errors import WeightsUnavailable
from models.registry import Backbone, TextTower, register_backbone
from models.text.language import mark, tr
from models.weights.hub import HubFolder, ModelRevision
from models.weights.store import Weights

if TYPE_CHECKING:
    import torch

TRANSFORM = Transform(
    resize=224,
    crop=224,
    interpolation="bicubic",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
#: The short names that ``--clip-model`` accepts; all but SigLIP 2 read English only.
KNOWN = {
    "openai": ModelRevision(
        "openai/clip-vit-base-patch32",
        "b33cedfd0df4e43b8238760678fcc89e1a0d38b3",  # adds model.safetensors; the main branch holds only a pickle
        "99d28a652e6ec46629ab7047a0ac82c69b1fe11e0ce672c43af65d3a9a3fc05d",
        605,
        "MIT",
    ),
    "laion": ModelRevision(
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "1a25a446712ba5ee05982a381eed697ef9b435cf",
        "74813fbcdc750f235c9784c367ca1394d2a5c25eb0aac92761752ac239db7cff",
        605,
        "MIT",
    ),
    "siglip2": ModelRevision(
        "google/siglip2-base-patch32-256",
        "94dffa8cb1179de3e03f091dbc3917e5d5a9ae84",
        "7d241bb3becad218f211f480487f491df4f8c0a472ecf7afdec5615815a301f1",
        1510,
        "Apache-2.0",
    ),
    "siglip2-b16": ModelRevision(
        "google/siglip2-base-patch16-224",
        "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        "612923381c76ec5a9bed335d1c48827e3f2e506ac31b044b63b2031fadee6a0b",
        1501,
        "Apache-2.0",
    ),
}
#: Pillow's numbers of resampling filters, as used in the configuration of a processor.
_RESAMPLE: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
#: The default width of SigLIP in transformers.
_SIGLIP_WIDTH = 768
_VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
#: The batch size of the text encoder.
_PROMPTS = 64


@register_backbone(
    "clip",
    description=mark("CLIP ViT-B/32, or another by --clip-model: what an image means"),
    transform=TRANSFORM,
    width=512,
    weights=HubFolder(name="clip", default="openai", known=KNOWN, option="--clip-model"),
    licence="MIT",
)
def clip(weights: Weights) -> Backbone:
    """Describe the model in a folder of the hub's layout; features are image embeddings, comparable to text ones."""
    config = _read_json(weights.path / "config.json")
    return Backbone(
        name="clip",
        source=weights.source,
        digest=weights.digest,
        transform=_transform(weights.path / "preprocessor_config.json"),
        width=_width(config, weights.path),
        module=lambda: _module(weights.path),
        text=lambda: _text_tower(weights.path),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsUnavailable(tr("{path} cannot be read as JSON: the model folder is damaged", path=path)) from error
    if not isinstance(content, dict):
        raise WeightsUnavailable(tr("{path} is not a JSON object: the model folder is damaged", path=path))
    return content


def _width(config: dict[str, Any], folder: Path) -> int:
    """Return the length of an embedding: CLIP projects images and texts to it, SigLIP has that of its image encoder."""
    match config:
        case {"model_type": "clip", "projection_dim": int(width)}:
            return width
        case {"model_type": "siglip", "vision_config": {"hidden_size": int(width)}}:
            return width
        case {"model_type": "siglip", "vision_config": dict()}:
            return _SIGLIP_WIDTH
    raise WeightsUnavailable(
        tr(
            "{folder} holds a model of type {kind}: give one of type clip or siglip",
            folder=folder,
            kind=config.get("model_type"),
        )
    )


def _transform(path: Path) -> Transform:
    """Read the geometry of a processor: shortest side and centre crop (CLIP), or the whole image squeezed (SigLIP)."""
    config = _read_json(path)
    try:
        interpolation: Literal["bilinear", "bicubic"] = _RESAMPLE[config.get("resample", 3)]
        mean, std = tuple(config["image_mean"]), tuple(config["image_std"])
        size = config["size"]
        if isinstance(size, dict) and "height" in size and not config.get("do_center_crop"):
            side = int(size["height"])
            if side != int(size["width"]):
                raise ValueError("not a square")
            return Transform(resize=side, crop=side, interpolation=interpolation, mean=mean, std=std, stretch=True)
        crop = config["crop_size"]
        return Transform(
            resize=int(size["shortest_edge"] if isinstance(size, dict) else size),
            crop=int(crop["height"] if isinstance(crop, dict) else crop),
            interpolation=interpolation,
            mean=mean,
            std=std,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsUnavailable(
            tr(
                "{path} is neither a CLIP model's preprocessing (shortest edge, centre crop) nor a "
                "SigLIP model's (square)",
                path=path,
            )
        ) from error


def _load(folder: Path) -> Any:
    from models.compat import import_torchvision

    import_torchvision()
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, report = AutoModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsUnavailable(
            tr("the CLIP model in {folder} cannot be loaded: {error}", folder=folder, error=error)
        ) from error
    # transformers fills missing tensors with random numbers, and only logs it.
    if missing := sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])}):
        raise WeightsUnavailable(
            tr(
                "the weights in {folder} lack {count} tensors that its config.json describes, {lacking} "
                "among them: fetch the folder again, or give another",
                folder=folder,
                count=len(missing),
                lacking=missing[0],
            )
        )
    return model.eval()


def _module(folder: Path) -> torch.nn.Module:
    import torch

    model = _load(folder)

    class ImageEmbedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision = model.vision_model
            self.projection = getattr(model, "visual_projection", torch.nn.Identity())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.projection(self.vision(pixel_values=images).pooler_output)
            return features

    return ImageEmbedding().eval()


def _text_tower(folder: Path) -> TextTower:
    import torch

    model = _load(folder)
    tokenizer = _tokenizer(folder)
    siglip = model.config.model_type == "siglip"
    length = model.config.text_config.max_position_embeddings
    projection = getattr(model, "text_projection", torch.nn.Identity())

    def embed(prompts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = []
        for start in range(0, len(prompts), _PROMPTS):
            # Both families were trained on lower case, which not every SigLIP tokenizer produces.
            texts = [prompt.lower() for prompt in prompts[start : start + _PROMPTS]]
            # SigLIP was trained on texts padded to full length without a mask, and reads the last position; CLIP reads
            # the end token.
            tokens = tokenizer(
                texts,
                padding="max_length" if siglip else True,
                truncation=True,
                max_length=length,
                return_attention_mask=not siglip,
                return_tensors="pt",
            )
            with torch.inference_mode():
                rows.append(projection(model.text_model(**tokens).pooler_output).float().numpy())
        return np.concatenate(rows)

    def reads(text: str) -> bool:
        tokens = tokenizer(text.lower(), add_special_tokens=False)["input_ids"]
        # A character outside the vocabulary becomes the unknown token, or single bytes that do not decode.
        return not any(token == tokenizer.unk_token_id or "\ufffd" in tokenizer.decode([token]) for token in tokens)

    bias = getattr(model, "logit_bias", None)  # SigLIP's
    return TextTower(
        embed=embed,
        scale=float(model.logit_scale.detach().exp()),
        bias=0.0 if bias is None else float(bias.detach()),
        reads=reads,
    )


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    # Without any of these files transformers silently makes an empty tokenizer.
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise WeightsUnavailable(
            tr("there is no tokenizer in {folder}: fetch the whole folder, with its tokenizer.json", folder=folder)
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged file may raise anything, also from the Rust library
        raise WeightsUnavailable(
            tr("the tokenizer in {folder} cannot be loaded: {error}", folder=folder, error=error)
        ) from error
