"""Convert images of every depth and colour space to the 8 bits that a person would see."""

from __future__ import annotations

import numpy as np
from PIL import Image

from models.decoding.depth import eight_bits

# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _NODATA = 258, 262, 42113


def plain_pixels(image: Image.Image) -> Image.Image:
    """Convert an image to a mode that can be resampled: L, RGB, or RGBa (colours multiplied by alpha)."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    transparency = image.info.get("transparency")
    if isinstance(transparency, str):  # a text chunk of this name
        del image.info["transparency"]
    elif (
        isinstance(transparency, tuple) and max(transparency) > 255
    ):  # 16-bit colours, of which the image has the high bytes
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    if image.format in ("BMP", "TIFF") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # many programs leave the alpha channel empty
    if image.has_transparency_data:
        with_alpha = image if image.mode == "RGBA" else image.convert("RGBA")
        return with_alpha.convert("RGBa")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert grey of 16 or 32 bits, or floating point, to L; to LA if one of its values means transparent."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0] if image.mode.startswith("I;16") else 32
    grey = eight_bits(values[..., None], bits, nodata=_nodata(tags.get(_NODATA)))[..., 0]
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow ignores above 8 bits
        grey = 255 - grey
    result = Image.fromarray(grey)
    if isinstance(transparent := image.info.get("transparency"), int):
        result.putalpha(Image.fromarray(np.where(values == transparent, np.uint8(0), np.uint8(255))))
    return result


def _nodata(text: object) -> float | None:
    """Parse the value that means "no data", as maps have it."""
    try:
        return float(text.strip(" \0")) if isinstance(text, str) else None
    except ValueError:
        return None
