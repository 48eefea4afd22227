"""Every depth and colour space as the 8 bits that a person would see."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.decoding.depth import eight_bits

# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _NODATA = 258, 262, 42113


def plain_pixels(image: Image.Image) -> Image.Image:
    """The same picture in a mode that may be resampled: L, RGB, or RGBa (colours multiplied by alpha)."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    transparency = image.info.get("transparency")
    if isinstance(transparency, str):  # a comment of this name
        del image.info["transparency"]
    elif isinstance(transparency, tuple) and max(transparency) > 255:  # of 16-bit colours, whose high bytes we have
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    if image.format in ("BMP", "TIFF") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # its writer left the alpha out, as many do
    if image.has_transparency_data:
        covered = image if image.mode == "RGBA" else image.convert("RGBA")
        return covered.convert("RGBa")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or floating point, as L (as LA where one value of it stands for transparent)."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0] if image.mode.startswith("I;16") else 32
    grey = eight_bits(values[..., None], bits, nodata=_nodata(tags.get(_NODATA)))[..., 0]
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds for 8 bits only
        grey = 255 - grey
    result = Image.fromarray(grey)
    if isinstance(transparent := image.info.get("transparency"), int):
        result.putalpha(Image.fromarray(np.where(values == transparent, np.uint8(0), np.uint8(255))))
    return result


def _nodata(text: object) -> float | None:
    """The value that stands for nothing, as maps have it."""
    try:
        return float(text.strip(" \0")) if isinstance(text, str) else None
    except ValueError:
        return None
