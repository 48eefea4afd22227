"""Describe a model of timm as JSON: ``python -m models.weights.timm_card NAME``, run as a child process."""

from __future__ import annotations

import json
import math
import sys

from models.errors import BackboneError, UserError
from models.text.language import tr


def card(name: str) -> dict[str, object]:
    """Return its width, transform, licence and description. Raises `BackboneError` for a name unknown to timm."""
    from models.compat import import_torchvision

    import_torchvision()
    import timm
    import torch
    from timm.data import resolve_model_data_config

    if not timm.is_model(name.split(".")[0]):
        raise BackboneError(tr("timm has no model '{name}': look the name up at huggingface.co/timm", name=name))
    try:
        model = timm.create_model(name, pretrained=False, num_classes=0).eval()
    except RuntimeError as error:
        raise BackboneError(tr("timm cannot make '{name}': {error}", name=name, error=error)) from error
    config = resolve_model_data_config(model)
    channels, height, side = config["input_size"]
    if channels != 3 or height != side:
        raise BackboneError(
            tr(
                "timm's {name} wants images of {channels} x {height} x {side}: give one for RGB squares",
                name=name,
                channels=channels,
                height=height,
                side=side,
            )
        )
    with torch.inference_mode():
        width = model(torch.zeros(1, 3, side, side)).shape[1]
    resize = math.floor(side / config["crop_pct"])
    return {
        "width": width,
        "description": f"timm's {name}",
        "licence": model.pretrained_cfg.get("license") or tr("see the model's page on the hub"),
        "transform": {
            "resize": resize,
            "crop": side,
            "interpolation": "bilinear" if config["interpolation"] == "bilinear" else "bicubic",
            "mean": config["mean"],
            "std": config["std"],
            "stretch": config["crop_mode"] == "squash" and resize == side,
        },
    }


if __name__ == "__main__":
    try:
        print(json.dumps(card(sys.argv[1])))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
