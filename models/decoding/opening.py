"""Open an image file with the class that reads its format, and keep all libraries silent."""

from __future__ import annotations

import ctypes
import logging
import re
import threading
import warnings
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import cast

import PIL
from PIL import Image
from PIL.ImageFile import ImageFile

#: The supported formats, and what opens them; a module is imported with the first file of its format.
PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("models.decoding.pngopening", "open_png"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("models.decoding.bmpopening", "open_bmp"),
    "TIFF": ("models.decoding.tiffopening", "open_tiff"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}

_QUIET = ("ignore", None, Warning, re.compile(r"(PIL|pillow_heif)\."), 0)
_lock = threading.Lock()

# Errors of bad files are reported by us, as an ImageError.
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def open_image(data: bytes, kind: str, max_pixels: int) -> ImageFile:
    """Open an image: its header is read, no pixel is decoded."""
    module, name = PLUGINS[kind]
    plugin = getattr(import_module(module), name)
    with _lock:
        # `catch_warnings` is not thread-safe: our filter stays, and is put first again if another has come before it.
        if not warnings.filters or warnings.filters[0] != _QUIET:
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
        # Pillow refuses images of more than twice this, some before we can. Never lowered, as it is global.
        if Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, (max_pixels + 1) // 2)
    if kind == "TIFF":
        _quieten_libtiff()
    image = cast(ImageFile, plugin(BytesIO(data)))
    if kind == "JPEG":
        image.decodermaxblock = len(data)  # libjpeg cannot suspend while it decodes arithmetic codes
    return image


@cache
def _quieten_libtiff() -> None:
    """Keep libtiff from writing to standard error about bad files: we report them as an ImageError."""
    folder = Path(PIL.__file__).parent.with_name("pillow.libs")  # where Pillow's wheels keep their libraries
    for path in folder.glob("libtiff*"):
        library = ctypes.CDLL(str(path))
        for name in ("TIFFSetWarningHandler", "TIFFSetErrorHandler"):
            handler = getattr(library, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
