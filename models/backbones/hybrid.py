"""The hybrid mode: how an image looks (MobileNetV3) and what it means (CLIP)."""

from __future__ import annotations

from models.registry import register_composition
from models.text.language import mark

register_composition(
    "hybrid", ("mobilenet", "clip"), description=mark("looks and meaning together; the recommended one")
)
