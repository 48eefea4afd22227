"""Open BMPs, including those with masks, depths or compression that Pillow does not support."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

_PLAIN, _MASKS, _JPEG, _PNG, _MASKS_WITH_ALPHA = 0, 3, 4, 5, 6
_MASKS_AT = 54  # after the shortest header, inside the longer ones


def open_bmp(file: BytesIO) -> ImageFile:
    """Open an image: its header is read, no pixel is decoded."""
    try:
        return BmpImageFile(file)
    except OSError:
        data = file.getvalue()
        (compression,) = struct.unpack_from("<I", data, 30)
        if compression in (_JPEG, _PNG):
            content = BytesIO(data[int.from_bytes(data[10:14], "little") :])
            return JpegImageFile(content) if compression == _JPEG else PngImageFile(content)
        return _UnusualBmp(file)


def _stride(width: int, bits: int) -> int:
    return (width * bits + 31) // 32 * 4


class _UnusualBmp(ImageFile):
    """Pixels of 16 or 32 bits with any masks, or of 2 bits with a palette."""

    format = "BMP"
    format_description = "Windows Bitmap of unusual pixels"

    def __init__(self, file: BytesIO) -> None:
        self._data = file.getvalue()
        self._loaded = False
        super().__init__(file)

    def _open(self) -> None:
        self._header, width, height, self._bits, compression = struct.unpack_from("<Iii2xHI", self._data, 14)
        masked = compression in (_MASKS, _MASKS_WITH_ALPHA) and self._bits in (16, 32)
        if width <= 0 or not height or not (masked or (compression == _PLAIN and self._bits == 2)):
            raise ValueError("not a BMP that this class reads")
        self._size, self._downward = (width, abs(height)), height < 0
        self._has_alpha = self._header >= 56 or compression == _MASKS_WITH_ALPHA
        self._mode = "RGB"

    def load(self) -> Any:
        """Read the picture unless that is done."""
        if not self._loaded:
            pixels = self._indexed() if self._bits == 2 else self._masked()
            picture = Image.fromarray(pixels if self._downward else pixels[::-1])
            self.im, self._mode, self._loaded = picture.im, picture.mode, True
        return self.im.pixel_access(self.readonly)

    def _rows(self) -> npt.NDArray[np.uint8]:
        stride = _stride(self.width, self._bits)
        start = int.from_bytes(self._data[10:14], "little")
        if start + stride * self.height > len(self._data):
            raise OSError("image file is truncated")
        return np.frombuffer(self._data, np.uint8, stride * self.height, start).reshape(self.height, stride)

    def _indexed(self) -> npt.NDArray[np.uint8]:
        palette = np.frombuffer(self._data, np.uint8, 16, 14 + self._header).reshape(4, 4)[:, 2::-1]
        rows = self._rows()
        indices = np.dstack([rows >> shift & 3 for shift in (6, 4, 2, 0)]).reshape(self.height, -1)
        return palette[indices[:, : self.width]]

    def _masked(self) -> npt.NDArray[np.uint8]:
        masks = struct.unpack_from("<IIII", self._data, _MASKS_AT)
        values = self._rows().view(f"<u{self._bits // 8}")[:, : self.width]
        bands = []
        for mask in masks if self._has_alpha and masks[3] else masks[:3]:
            shift = (mask & -mask).bit_length() - 1 if mask else 0
            largest = mask >> shift or 1
            bands.append(np.rint(((values & mask) >> shift) * (255 / largest)).astype(np.uint8))
        return np.dstack(bands)
