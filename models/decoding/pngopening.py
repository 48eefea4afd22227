"""Opening a PNG so that no bit is lost which a picture needs: Pillow keeps the upper 8 of 16 bits of a colour."""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from models.decoding.depth import eight_bits

# Where the header has them, in the file.
_DEPTH, _COLOUR_TYPE = 24, 25
# Colour, grey with alpha, and colour with alpha, by what the header says.
_COLOUR, _GREY_ALPHA, _COLOUR_ALPHA = 2, 4, 6
# The lower bytes: samples are read as if they began with them. Of grey with alpha, both bytes of both.
_LOWER = {_COLOUR: ("RGB", "RGB;16L"), _GREY_ALPHA: ("RGBA", "RGBA"), _COLOUR_ALPHA: ("RGBA", "RGBA;16L")}
# What the upper byte is below where 2 bits or more of 16 are not in use.
_UNUSED = 64


def open_png(file: BytesIO) -> ImageFile:
    """The image with its header read, and no pixel."""
    head = file.getvalue()[:33]
    deep = len(head) == 33 and head[_DEPTH] == 16 and head[_COLOUR_TYPE] in _LOWER
    return _DeepPng(file) if deep else PngImageFile(file)


class _DeepPng(PngImageFile):
    """A picture of 16 bits that may use no more than 14 of them."""

    def __init__(self, file: BytesIO) -> None:
        self._data = file.getvalue()
        self._seen = False
        super().__init__(file)

    def load(self) -> Any:
        """Read the picture, and again in full where its upper bits say nothing."""
        begun = bool(self.tile)
        pixels = super().load()
        if not begun or self._seen or self.tell():
            return pixels
        self._seen = True
        extrema = cast(tuple[tuple[int, int], ...], self.getextrema())  # of several bands, that is
        if max(high for _, high in extrema[:3]) < _UNUSED:
            picture = self._in_full()
            self.im, self._mode = picture.im, picture.mode
        return super().load()

    def _in_full(self) -> Image.Image:
        other = PngImageFile(BytesIO(self._data))
        colour = self._data[_COLOUR_TYPE]
        other._mode, rawmode = _LOWER[colour]
        other.tile = [tile._replace(args=rawmode) for tile in other.tile]
        lower = np.asarray(other).astype(np.uint16)
        if colour == _GREY_ALPHA:
            values = (lower[..., ::2] << 8 | lower[..., 1::2])[..., [0, 0, 0, 1]]
        else:
            values = np.asarray(self).astype(np.uint16) << 8 | lower
        shown = eight_bits(values, 16, alpha=colour != _COLOUR)
        transparent = self.info.pop("transparency", None)
        if isinstance(transparent, tuple) and colour == _COLOUR:
            covers = np.where((values == transparent).all(axis=-1), np.uint8(0), np.uint8(255))
            shown = np.dstack([shown, covers])
        return Image.frombytes("RGBA" if shown.shape[2] == 4 else "RGB", self.size, shown.tobytes())
