"""Decode the preview that a camera has put into a raw file, by LibRaw: in a process whose end harms nothing else."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from typing import Any

from PIL import Image

from models.decoding.formats import kind_of
from models.decoding.images import DecodedFile, Transform, decode_file
from models.errors import ImageError
from models.text.language import tr

#: The orientation of EXIF that turns a picture upright, by LibRaw's name of the turn. Of others nothing is turned.
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}
_ORIENTATION = 274  # a tag of EXIF and TIFF
#: What a raw file begins with is that of no other format, or that of TIFF.
_OTHER_FORMATS = frozenset({"JPEG", "PNG", "WebP", "GIF", "BMP", "AVIF", "HEIC"})


def is_raw(data: bytes) -> bool:
    """Whether a file that has the name of a raw file may be one, by its first bytes."""
    return kind_of(data[:64]) not in _OTHER_FORMATS


def decode_raw(data: bytes, transforms: Sequence[Transform], *, max_pixels: int) -> DecodedFile:
    """Decode the largest preview in a raw file as `decode_file` does; else what the sensor saw, at half its size.

    Raises ImageError, ImportError where rawpy is not installed, and MemoryError.
    """
    if not data:
        raise ImageError("empty", tr("The file is empty."))
    picture = _picture(data, max_pixels)
    return decode_file(BytesIO(picture), transforms, max_pixels=max_pixels)


def _picture(data: bytes, max_pixels: int) -> bytes:
    """Return the preview as a file of its own, which says how it is turned upright."""
    rawpy = import_module("rawpy")
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            try:
                preview = raw.extract_thumb()
            except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
                return _developed(raw, max_pixels)
            orientation = _ORIENTATIONS.get(raw.sizes.flip, 1)
            if preview.format == rawpy.ThumbFormat.JPEG:
                return _with_orientation(bytes(preview.data), orientation)
            return _as_file(preview.data, orientation)
    except rawpy.LibRawFileUnsupportedError as error:
        raise ImageError("not-an-image", tr("The file is no raw file that LibRaw can read.")) from error
    except rawpy.LibRawIOError as error:
        raise ImageError("truncated", tr("The raw file ends too early.")) from error
    except rawpy.LibRawError as error:
        raise ImageError("corrupt", tr("The raw file cannot be read: {error}", error=_text(error))) from error


def _developed(raw: Any, max_pixels: int) -> bytes:
    if raw.sizes.raw_width * raw.sizes.raw_height > max_pixels:
        raise ImageError("too-large", tr("The raw file has more pixels than are allowed, and no preview."))
    return _as_file(raw.postprocess(half_size=True, use_camera_wb=True), 1)  # it is turned upright


def _as_file(pixels: Any, orientation: int) -> bytes:
    file = BytesIO()
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    Image.fromarray(pixels).save(file, "TIFF", exif=exif)
    return file.getvalue()


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return a JPEG that says how it is turned upright; what it says itself counts."""
    if orientation == 1 or not jpeg.startswith(b"\xff\xd8") or _says_orientation(jpeg):
        return jpeg
    directory = struct.pack("<HHHIHHI", 1, _ORIENTATION, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + directory
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def _says_orientation(jpeg: bytes) -> bool:
    try:
        with Image.open(BytesIO(jpeg), formats=["JPEG"]) as image:
            return _ORIENTATION in image.getexif()
    except Exception:  # of whatever kind a hostile file makes the library raise
        return False


def _text(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
