"""Decode an image file once, into one small uint8 crop for each backbone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

from models.decoding.formats import ends_early, kind_of
from models.decoding.opening import PLUGINS, open_image
from models.decoding.pixels import plain_pixels
from models.decoding.repairs import repaired, sanitised
from models.errors import ImageError
from models.text.language import tr

#: Increment when ordinary images decode to other pixels: cached features, graphs and checkpoints made by another
#: version are then no longer used.
DECODE_VERSION = 2

#: Increment when only rare files, which were misread before, decode to other pixels. Cached features are then computed
#: again, so that old and new ones never mix; checkpoints stay in use, as ordinary images decode as before.
READING_VERSION = 2

Crop = npt.NDArray[np.uint8]

# A reduced-size JPEG keeps at least this many pixels a side for each one of the resized image. At 2 the features have a
# mean cosine of 0.9992 to those of a full decode (1.5: 0.9983, 1: 0.988); 12 MP take 33 ms (1: 28, 3: 43, full: 101).
_REDUCING_GAP = 2.0

# What is still large is first averaged by a whole factor that leaves this many pixels a side for each one of the
# resized image. At 4 the features have a mean cosine of 0.9998 (3: 0.99977, 2: 0.9995; rounding between rows and
# columns alone costs half as much as 4), and 12 MP are resized in 16 ms (3: 10, 2: 6, at once: 36).
_AVERAGING_GAP = 4.0

_ORIENTATION = 274  # a tag of EXIF and TIFF

# The operation that turns a stored image upright, by EXIF orientation.
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

# Limits on the frames or pages decoded of a file whose first one is blank: their number, and their pixels together.
_MOST_FRAMES, _MOST_PIXELS = 32, 64_000_000
# A frame whose levels of a colour differ by no more than this is blank; lossy formats add noise.
_BLANK = 16
# A frame is faint up to the first contrast, as where a picture fades in, and clear from the second.
_FAINT, _CLEAR = 64, 192
_MULTI_FRAME = {"GIF", "WebP", "PNG", "AVIF", "HEIC", "TIFF"}


@dataclass(frozen=True, kw_only=True)
class Transform:
    """The preprocessing of a backbone: shorter side to ``resize`` px, then the centre ``crop`` px square.

    With ``stretch`` the whole image is squeezed into the square instead, as SigLIP models require. ``mean`` and ``std``
    normalise RGB channels in 0..1; the graph of the backbone applies them.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stretch: bool = False

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with anything that changes the pixels or their normalisation."""
        text = json.dumps({"decode": DECODE_VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Header:
    """The header of an image: its size as stored, and whether it has several frames."""

    width: int
    height: int
    animated: bool


class DecodedFile(NamedTuple):
    """The crops of an image, and whether its file has an end marker: one without may still be being written.

    ``size``: width and height of the upright image.
    """

    crops: list[Crop]
    has_end: bool
    size: tuple[int, int]


def decode(
    file: BinaryIO, transforms: Sequence[Transform], *, max_pixels: int = 200_000_000, reduce: bool = True
) -> list[Crop]:
    """Decode an image once and cut one RGB crop (crop, crop, 3) for each transform, in their order.

    The image is turned upright by its EXIF orientation, and transparent parts become white. The crop equals that of
    torchvision's ``Resize`` and ``CenterCrop``; transformers rounds the centre down where torchvision rounds to even,
    which moves some crops by one pixel. ``file`` is seekable, and read from its beginning. With ``reduce`` a large JPEG
    is decoded at 1/2, 1/4 or 1/8 of its size, and an image that is still large is averaged by a whole factor before it
    is resampled: several times faster, with hardly any change of the features. Thread-safe.

    Of an animation or several pages, the first frame that is neither blank nor faint is taken. Broken metadata is
    ignored.

    Raises ImageError for a file that is not a usable image, whatever is wrong with it, and OSError only if reading
    ``file`` itself fails, which says nothing about the image.
    """
    return decode_file(file, transforms, max_pixels=max_pixels, reduce=reduce).crops


def decode_file(
    file: BinaryIO, transforms: Sequence[Transform], *, max_pixels: int = 200_000_000, reduce: bool = True
) -> DecodedFile:
    """Decode as `decode` does, and tell also whether the file has an end marker."""
    data, kind, has_end = _read(file, max_pixels)
    try:
        crops, upright = _decode(data, kind, transforms, max_pixels, reduce)
        return DecodedFile(crops, has_end, upright)
    except ImageError:
        raise
    except Exception as error:  # a hostile file can make the plug-ins raise anything
        explained = _explain(error, data, kind)
        if explained.reason != "too-large":
            for repair in repaired(data, kind, max_pixels):
                try:
                    crops, upright = _decode(repair.data, kind, transforms, max_pixels, reduce)
                    return DecodedFile(crops, has_end and repair.has_end, upright)
                except Exception:
                    continue
        raise explained from error


def read_header(file: BinaryIO, *, max_pixels: int = 200_000_000) -> Header:
    """Read the header of an image. Raises what `decode` raises."""
    data, kind, _ = _read(file, max_pixels)
    try:
        image = _open(data, kind, max_pixels)
    except Exception as error:  # as above
        raise _explain(error, data, kind) from error
    try:
        animated = bool(getattr(image, "is_animated", False))
    except Exception:  # only later frames are damaged
        animated = False
    return Header(*image.size, animated)


def _open(data: bytes, kind: str, max_pixels: int) -> ImageFile:
    """Open an image, however broken its metadata is."""
    try:
        return open_image(data, kind, max_pixels)
    except Exception:
        for repair in repaired(data, kind, max_pixels):
            try:
                return open_image(repair.data, kind, max_pixels)
            except Exception:
                continue
        raise


def check_size(size: int, *, max_pixels: int = 200_000_000) -> None:
    """Raise ImageError for a file of more bytes than an image of ``max_pixels`` can need, before it is read."""
    if size > 8 * max_pixels + (64 << 20):  # the widest layout, and room for metadata
        raise ImageError(
            "too-large", tr("The file has {size} bytes, more than an image of the allowed size can need.", size=size)
        )


def _read(file: BinaryIO, max_pixels: int) -> tuple[bytes, str, bool]:
    """Read a file: its bytes without harmful parts, its format, and whether it has an end marker.

    All of it is read into memory, so that it cannot change while it is decoded.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    if not head:
        raise ImageError("empty", tr("The file is empty."))
    kind = kind_of(head)
    if kind is None:
        raise ImageError(
            "not-an-image",
            tr(
                "The file is not an image of a supported format ({names}), whatever its name says.",
                names=", ".join(PLUGINS),
            ),
        )
    check_size(size, max_pixels=max_pixels)
    file.seek(0)
    repair = sanitised(file.read(), kind)
    return repair.data, kind, repair.has_end


def _decode(
    data: bytes, kind: str, transforms: Sequence[Transform], max_pixels: int, reduce: bool
) -> tuple[list[Crop], tuple[int, int]]:
    """Cut the crops, and return them with the width and height of the upright image."""
    image = open_image(data, kind, max_pixels)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            "too-large",
            tr(
                "The {kind} image has {width} x {height} pixels, more than the {most} that are allowed.",
                kind=kind,
                width=width,
                height=height,
                most=max_pixels,
            ),
        )
    scale = 1.0
    if reduce and transforms and kind == "JPEG":
        smallest_side = int(_REDUCING_GAP * max(transform.resize for transform in transforms))
        drafted = image.draft(None, (smallest_side, smallest_side))
        if drafted:
            scale = drafted[1][2] / width
    image.load()
    gap = _AVERAGING_GAP if reduce else None
    crops = _crops(image, (width, height), scale, transforms, gap)
    upright = (width, height) if _orientation(image) < 5 else (height, width)
    if kind in _MULTI_FRAME and crops and (contrast := _contrast(crops)) <= _FAINT:
        return _clearest(_further_frames(image, transforms, max_pixels, gap), contrast) or crops, upright
    return crops, upright


def _clearest(frames: Iterator[list[Crop]], contrast_to_beat: int) -> list[Crop] | None:
    """Return the first clear frame, else the one with most contrast; None if none has twice ``contrast_to_beat``."""
    best = None
    for crops in frames:
        contrast = _contrast(crops)
        if contrast >= _CLEAR:
            return crops
        if contrast > max(2 * contrast_to_beat, _BLANK):
            best, contrast_to_beat = crops, contrast
    return best


def _crops(
    image: ImageFile, size: tuple[int, int], scale: float, transforms: Sequence[Transform], gap: float | None
) -> list[Crop]:
    orientation = _orientation(image)
    plain = plain_pixels(image)
    return [_crop(plain, size, scale, orientation, transform, gap) for transform in transforms]


def _further_frames(
    image: ImageFile, transforms: Sequence[Transform], max_pixels: int, gap: float | None
) -> Iterator[list[Crop]]:
    """Yield the crops of the frames after the first, within the limits and as far as they can be decoded."""
    try:
        pixels = 0
        for frame in range(image.tell() + 1, min(getattr(image, "n_frames", 1), _MOST_FRAMES)):
            image.seek(frame)
            pixels += image.width * image.height
            if pixels > min(_MOST_PIXELS, max_pixels * _MOST_FRAMES) or image.width * image.height > max_pixels:
                return
            image.load()
            yield _crops(image, image.size, 1.0, transforms, gap)
    except Exception:  # then the first frame has to do
        return


def _contrast(crops: list[Crop]) -> int:
    """Return the largest difference between two levels of one colour."""
    extrema = [Image.fromarray(crop).getextrema() for crop in crops]  # ten times as fast as NumPy
    return max(int(high - low) for bands in extrema for low, high in cast(tuple[tuple[int, int], ...], bands))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 if the EXIF block is broken."""
    try:
        value = image.getexif().get(_ORIENTATION)
        return value if value in _TURNS else 1
    except Exception:
        return 1


def _crop(
    plain: Image.Image, size: tuple[int, int], scale: float, orientation: int, transform: Transform, gap: float | None
) -> Crop:
    """Resize, centre-crop and turn in one step, so that only pixels of the crop are resampled.

    ``size`` is that of the stored image; ``plain`` is ``scale`` times as large. ``gap`` is how many pixels a side
    averaging leaves for each pixel of the crop; None averages nothing.
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
        # Put it on white; colours may exceed alpha where resampling overshoots at a sharp edge.
        return 255 - np.where(pixels[..., 3:] > pixels[..., :3], pixels[..., 3:] - pixels[..., :3], np.uint8(0))
    return np.array(small if small.mode == "RGB" else small.convert("RGB"))


def _stored_box(size: tuple[int, int], orientation: int, transform: Transform) -> _Box:
    """Locate the crop in the stored image, rounded as torchvision rounds ``Resize`` and ``CenterCrop``."""
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
    """Turn what a decoder raised into an ImageError."""
    text = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too-large", tr("The {kind} image has more pixels than are allowed.", kind=kind))
    if isinstance(error, MemoryError) or "out of memory" in text:
        return ImageError("too-large", tr("The {kind} image needs more memory than there is.", kind=kind))
    if "limit exceeded" in text:
        return ImageError("too-large", tr("The {kind} image exceeds the limits of its decoder.", kind=kind))
    if "truncated" in text or ends_early(data, kind):
        return ImageError("truncated", tr("The {kind} image is cut short.", kind=kind))
    return ImageError("corrupt", tr("The {kind} image is damaged, or of a variety that cannot be decoded.", kind=kind))
