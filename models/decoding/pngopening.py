"""Open PNGs without losing bits that a picture needs: Pillow keeps only the upper 8 bits of 16-bit colours."""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from models.decoding.depth import eight_bits

# Offsets in the file.
_DEPTH, _COLOUR_TYPE = 24, 25
# Colour types of the header: colour, grey with alpha, and colour with alpha.
_COLOUR, _GREY_ALPHA, _COLOUR_ALPHA = 2, 4, 6
# Modes that read the lower bytes of the samples; for grey with alpha, both bytes of both.
_LOWER = {_COLOUR: ("RGB", "RGB;16L"), _GREY_ALPHA: ("RGBA", "RGBA"), _COLOUR_ALPHA: ("RGBA", "RGBA;16L")}
# The upper byte is below this if at least 2 of 16 bits are unused.
_UNUSED = 64


def open_png(file: BytesIO) -> ImageFile:
    """Open an image: its header is read, no pixel is decoded."""
    head = file.getvalue()[:33]
    deep = len(head) == 33 and head[_DEPTH] == 16 and head[_COLOUR_TYPE] in _LOWER
    return _DeepPng(file) if deep else PngImageFile(file)


class _DeepPng(PngImageFile):
    """A picture of 16 bits, which may use only 14 of them or fewer."""

    def __init__(self, file: BytesIO) -> None:
        self._data = file.getvalue()
        self._checked = False
        super().__init__(file)

    def load(self) -> Any:
        """Read the picture; read it again at full depth if its upper bits are unused."""
        had_tiles = bool(self.tile)
        pixels = super().load()
        if not had_tiles or self._checked or self.tell():
            return pixels
        self._checked = True
        extrema = cast(tuple[tuple[int, int], ...], self.getextrema())  # a tuple for each band, as there are several
        if max(high for _, high in extrema[:3]) < _UNUSED:
            picture = self._at_full_depth()
            self.im, self._mode = picture.im, picture.mode
        return super().load()

    def _at_full_depth(self) -> Image.Image:
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
            alpha = np.where((values == transparent).all(axis=-1), np.uint8(0), np.uint8(255))
            shown = np.dstack([shown, alpha])
        return Image.frombytes("RGBA" if shown.shape[2] == 4 else "RGB", self.size, shown.tobytes())
