"""Decode once: an image file becomes one small uint8 crop for each backbone that will look at it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path, PurePath
from typing import BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image
from PIL.ImageFile import ImageFile

from models.errors import ImageError
from models.formats import ends_early, kind_of

#: Raised whenever the same file would decode to other pixels, so that cached features and graphs are not mixed up.
DECODE_VERSION = 2

#: How the names of image files end, in lower case and with the dot. Decoding goes by the content alone.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in "jpg jpeg jpe jfif png webp gif bmp dib tif tiff avif heic heif hif".split()  # noqa: SIM905
)

Crop = npt.NDArray[np.uint8]

# A reduced-size JPEG keeps at least this many pixels a side for each one of the resized image. At 2 the features have a
# mean cosine of 0.9992 to those of a full decode (1.5: 0.9983, 1: 0.988); 12 MP take 33 ms (1: 28, 3: 43, full: 101).
_REDUCING_GAP = 2.0

# What is still large is first averaged by a whole factor that leaves this many pixels a side for each one of the
# resized image. At 4 the features have a mean cosine of 0.9998 (3: 0.99977, 2: 0.9995; rounding between rows and
# columns alone costs half as much as 4), and 12 MP are resized in 16 ms (3: 10, 2: 6, at once: 36).
_AVERAGING_GAP = 4.0

# Every format that is read, and the class that reads it; each is imported when the first file of its kind comes along.
_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}

# Tags of TIFF and EXIF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274

# What makes the stored picture upright, by the EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

_Box = tuple[float, float, float, float]  # left, top, right, bottom

_QUIET = ("ignore", None, Warning, re.compile(r"(PIL|pillow_heif)\."), 0)
_lock = threading.Lock()

# What Pillow has to say about bad files is said by us, in an ImageError.
logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How a backbone wants to see an image: shorter side to ``resize`` px, centre ``crop`` px square, normalised.

    With ``stretch`` the whole image is squeezed into the square instead, as the SigLIP models want it. ``mean`` and
    ``std`` are of RGB channels in 0..1; normalisation itself happens inside the model's graph.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stretch: bool = False

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when the pixels, or their normalisation, would."""
        text = json.dumps({"decode": DECODE_VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before any pixel is decoded: its size as stored, and if there are more frames."""

    width: int
    height: int
    animated: bool


def is_image_name(name: str) -> bool:
    """Whether a file of this name is meant as an image; upper and lower case are one."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def decode(
    file: BinaryIO, transforms: Sequence[Transform], *, max_pixels: int = 200_000_000, reduce: bool = True
) -> list[Crop]:
    """Decode the first frame once and cut one (crop, crop, 3) RGB crop out of it for each transform, in their order.

    The picture is turned upright by its EXIF orientation, and laid on white where it is transparent. The crop is what
    torchvision's ``Resize`` and ``CenterCrop`` give; transformers rounds the middle down where torchvision rounds to
    even, which moves some crops by one pixel. ``file`` is seekable, and read from its beginning. With ``reduce`` a
    large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, and what is still large is averaged by a whole factor before
    it is resampled: several times faster, the features hardly change. Safe to call from several threads at once.

    Raises ImageError for a file that is no usable image, whatever is wrong with it, and OSError only where reading
    ``file`` itself fails, which says nothing about the image.
    """
    data, kind = _read(file, max_pixels)
    try:
        return _decode(data, kind, transforms, max_pixels, reduce)
    except ImageError:
        raise
    except Exception as error:  # a hostile file can make the plug-ins raise anything
        raise _explain(error, data, kind) from error


def read_header(file: BinaryIO, *, max_pixels: int = 200_000_000) -> Header:
    """Read the header of an image that ``decode`` takes. Raises as ``decode`` does."""
    data, kind = _read(file, max_pixels)
    try:
        image = _open(data, kind, max_pixels)
    except Exception as error:  # as above
        raise _explain(error, data, kind) from error
    try:
        animated = bool(getattr(image, "is_animated", False))
    except Exception:  # what comes after the first frame is of no use to anybody
        animated = False
    return Header(*image.size, animated)


def check_size(size: int, *, max_pixels: int = 200_000_000) -> None:
    """Raise ImageError for a file of more bytes than an image of the allowed size can need: it is not to be read."""
    if size > 8 * max_pixels + (64 << 20):  # the widest layout, and room for metadata
        raise ImageError("too-large", f"The file has {size} bytes, more than an image of the allowed size can need.")


def _read(file: BinaryIO, max_pixels: int) -> tuple[bytes, str]:
    """The whole file and its format. In memory, so that nothing changes under the decoder's feet."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    if not head:
        raise ImageError("empty", "The file is empty.")
    kind = kind_of(head)
    if kind is None:
        raise ImageError("not-an-image", f"The file is none of {', '.join(_PLUGINS)}, whatever its name says.")
    check_size(size, max_pixels=max_pixels)
    file.seek(0)
    return file.read(), kind


def _decode(data: bytes, kind: str, transforms: Sequence[Transform], max_pixels: int, reduce: bool) -> list[Crop]:
    image = _open(data, kind, max_pixels)
    width, height = image.size
    if width * height > max_pixels:
        message = f"The {kind} image has {width} x {height} pixels, more than the {max_pixels} that are allowed."
        raise ImageError("too-large", message)
    scale = 1.0
    if reduce and transforms and kind == "JPEG":
        least = int(_REDUCING_GAP * max(transform.resize for transform in transforms))
        drafted = image.draft(None, (least, least))
        if drafted:
            scale = drafted[1][2] / width
    image.load()
    orientation = _orientation(image)
    plain = _plain(image)
    gap = _AVERAGING_GAP if reduce else None
    return [_crop(plain, (width, height), scale, orientation, transform, gap) for transform in transforms]


def _open(data: bytes, kind: str, max_pixels: int) -> ImageFile:
    """The image with its header read and no pixel decoded."""
    module, name = _PLUGINS[kind]
    plugin = getattr(import_module(module), name)
    with _lock:
        # `catch_warnings` is not for threads: our filter stays, and is put in front again where it was overtaken.
        if not warnings.filters or warnings.filters[0] != _QUIET:
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
        # Pillow refuses images of more than twice this, some before we can. Never lowered: it is everybody's.
        if Image.MAX_IMAGE_PIXELS is not None:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, (max_pixels + 1) // 2)
    if kind == "TIFF":
        _quieten_libtiff()
    return cast(ImageFile, plugin(BytesIO(data)))


@cache
def _quieten_libtiff() -> None:
    """Keep libtiff from writing to standard error about bad files: what matters of it is said in an ImageError."""
    folder = Path(PIL.__file__).parent.with_name("pillow.libs")  # where Pillow's wheels keep their libraries
    for path in folder.glob("libtiff*"):
        library = ctypes.CDLL(str(path))
        for name in ("TIFFSetWarningHandler", "TIFFSetErrorHandler"):
            handler = getattr(library, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8. A broken EXIF block does not spoil the picture."""
    try:
        value = image.getexif().get(_ORIENTATION)
        return value if value in _TURNS else 1
    except Exception:
        return 1


def _plain(image: Image.Image) -> Image.Image:
    """The same picture in a mode that may be resampled: L, RGB, or RGBa (colours multiplied by alpha)."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    transparency = image.info.get("transparency")
    if isinstance(transparency, str):  # a comment of this name
        del image.info["transparency"]
    elif isinstance(transparency, tuple) and max(transparency) > 255:  # of 16-bit colours, whose high bytes we have
        image.info["transparency"] = tuple(value >> 8 for value in transparency)
    if image.has_transparency_data:
        covered = image if image.mode == "RGBA" else image.convert("RGBA")
        return covered.convert("RGBa")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or floating point, as L (as LA where one value of it stands for transparent).

    16 bits are scaled from their whole range. The others tell no range, so floating point within 0..1, and
    anything within 0..255, is taken as that, and what goes beyond is stretched from its lowest to its highest value.
    """
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        grey = (values >> (bits - 8)).astype(np.uint8)
    else:
        grey = _stretched(values)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds for 8 bits only
        grey = 255 - grey
    result = Image.fromarray(grey)
    if isinstance(transparent := image.info.get("transparency"), int):
        result.putalpha(Image.fromarray(np.where(values == transparent, np.uint8(0), np.uint8(255))))
    return result


def _stretched(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    real = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(real.min()), float(real.max())
    if low >= 0 and high <= 255:
        low, high = 0.0, (1.0 if values.dtype.kind == "f" and high <= 1 else 255.0)
    slope = 255 / ((high - low) or 1.0)
    with np.errstate(all="ignore"):
        grey: npt.NDArray[np.uint8] = np.clip(np.rint(real * slope - low * slope), 0, 255).astype(np.uint8)
    return grey


def _crop(
    plain: Image.Image, size: tuple[int, int], scale: float, orientation: int, transform: Transform, gap: float | None
) -> Crop:
    """Resize, centre-crop and turn in one go: only pixels that the crop is made of are resampled.

    ``size`` is of the picture as stored at full size; ``plain`` is ``scale`` times as large. ``gap`` is how many
    pixels a side averaging leaves for each one of the crop; without it, nothing is averaged first.
    """
    left, top, right, bottom = _stored_box(size, orientation, transform)
    small = plain.resize(
        (transform.crop, transform.crop),
        _RESAMPLING[transform.interpolation],
        box=(scale * left, scale * top, scale * right, scale * bottom),
        reducing_gap=gap,
    )
    if orientation in _TURNS:
        small = small.transpose(_TURNS[orientation])
    if small.mode == "RGBa":
        pixels = np.asarray(small)
        # On white, what is not covered is white; 8 bits cannot hold the overshoot of a sharp edge.
        return 255 - np.where(pixels[..., 3:] > pixels[..., :3], pixels[..., 3:] - pixels[..., :3], np.uint8(0))
    return np.array(small if small.mode == "RGB" else small.convert("RGB"))


def _stored_box(size: tuple[int, int], orientation: int, transform: Transform) -> _Box:
    """Where the crop lies in the stored picture. Rounded as torchvision rounds ``Resize`` and ``CenterCrop``."""
    if transform.stretch:
        return 0, 0, size[0], size[1]
    width, height = size if orientation < 5 else size[::-1]
    shorter, crop = min(width, height), transform.crop
    resized_width = transform.resize * width // shorter
    resized_height = transform.resize * height // shorter
    x, y = round((resized_width - crop) / 2), round((resized_height - crop) / 2)
    left, right = x * width / resized_width, (x + crop) * width / resized_width
    top, bottom = y * height / resized_height, (y + crop) * height / resized_height
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    return left, top, right, bottom


def _explain(error: Exception, data: bytes, kind: str) -> ImageError:
    """What went wrong, in words of ours."""
    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too-large", f"The {kind} image has more pixels than are allowed.")
    if isinstance(error, MemoryError) or "out of memory" in text:
        return ImageError("too-large", f"The {kind} image needs more memory than there is.")
    if "max_text" in text:
        return ImageError("too-large", f"The {kind} image carries text or a colour profile that unpacks to too much.")
    if "limit exceeded" in text:
        return ImageError("too-large", f"The {kind} image goes beyond the limits of its decoder.")
    if "truncated" in text or ends_early(data, kind):
        return ImageError("truncated", f"The {kind} image is cut short.")
    return ImageError("corrupt", f"The {kind} image is damaged, or of a variety that cannot be decoded.")
