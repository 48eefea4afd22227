"""Pictures with known pixels, and files of every format made of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageOps

from models.decoding.images import Crop, Transform, decode

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
}
LOSSY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
}
FORMATS = {**LOSSLESS, **LOSSY}

_ORIENTATION = 0x0112
#: How a picture must be stored so that the orientation turns it upright.
_STORED: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: ImageOps.mirror,
    3: lambda image: image.rotate(180),
    4: ImageOps.flip,
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.rotate(-90, expand=True),
}


def transform(resize: int, crop: int | None = None, interpolation: Any = "bicubic") -> Transform:
    half = (0.5, 0.5, 0.5)
    return Transform(resize=resize, crop=crop or resize, interpolation=interpolation, mean=half, std=half)


def encode(image: Image.Image, format_: str, **options: Any) -> BytesIO:
    """The image as a file of a format, as nearly without loss as it can be."""
    if format_ == "HEIF":
        pillow_heif.register_heif_opener()
    file = BytesIO()
    image.save(file, format_, **{**FORMATS[format_], **options})
    return file


def turned(image: Image.Image, format_: str, orientation: int) -> BytesIO:
    """The image as a file that stores it turned, and says by its orientation how it is upright."""
    stored = _STORED.get(orientation, _STORED[1])(image)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return encode(stored, format_, exif=exif.tobytes())


def one(file: BytesIO, size: int, **options: Any) -> Crop:
    """The one crop of a file whose shorter side is ``size``: nothing is resampled."""
    return decode(file, [transform(size)], **options)[0]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Pixels that have nothing to do with each other, of a contrast so low that no resampling is cut off at 0 or 255.

    Pillow takes rows or columns first, whichever is cheaper, and rounds and cuts off between the two.
    """
    pixels = np.random.default_rng(seed).integers(64, 192, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def quadrants(size: int = 32) -> Image.Image:
    """Red and green above blue and white: no two of its eight turns look alike."""
    image = Image.new("RGB", (size, size), WHITE)
    half = size // 2
    image.paste(RED, (0, 0, half, half))
    image.paste(GREEN, (half, 0, size, half))
    image.paste(BLUE, (0, half, half, size))
    return image


def naive(image: Image.Image, transform: Transform) -> npt.NDArray[np.int64]:
    """Resize all of it, then cut the middle out, as torchvision's PIL transforms do: what a crop should be."""
    width, height = image.size
    shorter, longer = sorted(image.size)
    other = int(transform.resize * longer / shorter)
    size = (transform.resize, other) if width <= height else (other, transform.resize)
    resized = image.convert("RGB").resize(size, getattr(Image.Resampling, transform.interpolation.upper()))
    left, top = (round((edge - transform.crop) / 2.0) for edge in size)
    return np.asarray(resized.crop((left, top, left + transform.crop, top + transform.crop))).astype(int)


def worst(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> int:
    """The largest difference between two pictures, or a picture and a colour, in levels."""
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> BytesIO:
    """A PNG written by hand; ``rows`` each begin with their filter byte 0."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return BytesIO(b"\x89PNG\r\n\x1a\n" + body)


def tiff(
    values: npt.NDArray[Any] | bytes,
    size: tuple[int, int],
    *,
    bits: int,
    photometric: int = 1,
    sample_format: int = 1,
    order: str = "<",
) -> BytesIO:
    """A grey, uncompressed TIFF written by hand, in either byte order."""
    data = values if isinstance(values, bytes) else values.tobytes()
    width, height = size
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(data), 339: sample_format}
    data += b"\0" * (len(data) % 2)
    directory = struct.pack(order + "H", len(tags))
    for tag, value in tags.items():
        directory += struct.pack(order + "HHII", tag, 4, 1, value)
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    return BytesIO(head + data + directory + b"\0\0\0\0")
