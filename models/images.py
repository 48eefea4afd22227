"""Decode once: an image file becomes one small uint8 crop for each backbone that will look at it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import BinaryIO, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

from models.decoding.formats import ends_early, kind_of
from models.decoding.opening import PLUGINS, open_image
from models.decoding.pixels import plain_pixels
from models.decoding.repairs import repaired, sound
from models.errors import ImageError
from models.text.language import tr

#: Raised when an ordinary picture would decode to other pixels: what was made by another version is of no use then,
#: cached features, graphs and checkpoints alike.
DECODE_VERSION = 2

#: Raised when that is so of rare files only, which were misread before. Cached features are made anew, so that none of
#: them is mixed up; a checkpoint sees ordinary pictures as it was taught to, and serves on.
READING_VERSION = 2

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

# The tag of EXIF and TIFF.
_ORIENTATION = 274

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

# What may be looked at of an animation, or of several pages, that begins with nothing: so many frames, and so many
# pixels of them.
_MOST_FRAMES, _MOST_PIXELS = 32, 64_000_000
# A frame with no two levels of a colour farther apart than this shows nothing; lossy formats make noise.
_NOTHING = 16
# Nor does it show much below this, as where a picture fades in; this much is enough.
_FAINT, _CLEAR = 64, 192
_OF_SEVERAL = {"GIF", "WebP", "PNG", "AVIF", "HEIC", "TIFF"}


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


class Picture(NamedTuple):
    """The crops of a picture, and whether its file has an end: if not, its last bytes may still be written."""

    crops: list[Crop]
    ended: bool


def decode(
    file: BinaryIO, transforms: Sequence[Transform], *, max_pixels: int = 200_000_000, reduce: bool = True
) -> list[Crop]:
    """Decode a picture once and cut one (crop, crop, 3) RGB crop out of it for each transform, in their order.

    The picture is turned upright by its EXIF orientation, and laid on white where it is transparent. The crop is what
    torchvision's ``Resize`` and ``CenterCrop`` give; transformers rounds the middle down where torchvision rounds to
    even, which moves some crops by one pixel. ``file`` is seekable, and read from its beginning. With ``reduce`` a
    large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, and what is still large is averaged by a whole factor before
    it is resampled: several times faster, the features hardly change. Safe to call from several threads at once.

    Of an animation, or of several pages, it is the first frame of whose crops one shows more than a blank or a faint
    picture. Broken metadata is passed over.

    Raises ImageError for a file that is no usable image, whatever is wrong with it, and OSError only where reading
    ``file`` itself fails, which says nothing about the image.
    """
    return decode_picture(file, transforms, max_pixels=max_pixels, reduce=reduce).crops


def decode_picture(
    file: BinaryIO, transforms: Sequence[Transform], *, max_pixels: int = 200_000_000, reduce: bool = True
) -> Picture:
    """Decode as `decode` does, and say whether the file has an end."""
    data, kind, ended = _read(file, max_pixels)
    try:
        return Picture(_decode(data, kind, transforms, max_pixels, reduce), ended)
    except ImageError:
        raise
    except Exception as error:  # a hostile file can make the plug-ins raise anything
        explained = _explain(error, data, kind)
        if explained.reason != "too-large":
            for repair in repaired(data, kind, max_pixels):
                try:
                    return Picture(_decode(repair.data, kind, transforms, max_pixels, reduce), ended and repair.ended)
                except Exception:
                    continue
        raise explained from error


def read_header(file: BinaryIO, *, max_pixels: int = 200_000_000) -> Header:
    """Read the header of an image that ``decode`` takes. Raises as ``decode`` does."""
    data, kind, _ = _read(file, max_pixels)
    try:
        image = _opened(data, kind, max_pixels)
    except Exception as error:  # as above
        raise _explain(error, data, kind) from error
    try:
        animated = bool(getattr(image, "is_animated", False))
    except Exception:  # what comes after the first frame is of no use to anybody
        animated = False
    return Header(*image.size, animated)


def _opened(data: bytes, kind: str, max_pixels: int) -> ImageFile:
    """The image with its header read, whatever its metadata is like."""
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
    """Raise ImageError for a file of more bytes than an image of the allowed size can need: it is not to be read."""
    if size > 8 * max_pixels + (64 << 20):  # the widest layout, and room for metadata
        raise ImageError(
            "too-large", tr("The file has {size} bytes, more than an image of the allowed size can need.", size=size)
        )


def _read(file: BinaryIO, max_pixels: int) -> tuple[bytes, str, bool]:
    """What matters of a file, its format, and whether it has an end.

    In memory, so that nothing changes under the decoder's feet.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    if not head:
        raise ImageError("empty", tr("The file is empty."))
    kind = kind_of(head)
    if kind is None:
        raise ImageError(
            "not-an-image", tr("The file is none of {names}, whatever its name says.", names=", ".join(PLUGINS))
        )
    check_size(size, max_pixels=max_pixels)
    file.seek(0)
    repair = sound(file.read(), kind)
    return repair.data, kind, repair.ended


def _decode(data: bytes, kind: str, transforms: Sequence[Transform], max_pixels: int, reduce: bool) -> list[Crop]:
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
        least = int(_REDUCING_GAP * max(transform.resize for transform in transforms))
        drafted = image.draft(None, (least, least))
        if drafted:
            scale = drafted[1][2] / width
    image.load()
    gap = _AVERAGING_GAP if reduce else None
    crops = _crops(image, (width, height), scale, transforms, gap)
    if kind in _OF_SEVERAL and crops and (shown := _contrast(crops)) <= _FAINT:
        return _clearer(_further_frames(image, transforms, max_pixels, gap), shown) or crops
    return crops


def _clearer(frames: Iterator[list[Crop]], shown: int) -> list[Crop] | None:
    """The first of some frames that is clear, or the one that shows most; None if none shows much more than so much."""
    best = None
    for crops in frames:
        contrast = _contrast(crops)
        if contrast >= _CLEAR:
            return crops
        if contrast > max(2 * shown, _NOTHING):
            best, shown = crops, contrast
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
    """The crops of the frames behind the first, as many as may be looked at, and as can be decoded."""
    try:
        pixels = 0
        for frame in range(image.tell() + 1, min(getattr(image, "n_frames", 1), _MOST_FRAMES)):
            image.seek(frame)
            pixels += image.width * image.height
            if pixels > min(_MOST_PIXELS, max_pixels * _MOST_FRAMES) or image.width * image.height > max_pixels:
                return
            image.load()
            yield _crops(image, image.size, 1.0, transforms, gap)
    except Exception:  # the first one is good enough
        return


def _contrast(crops: list[Crop]) -> int:
    """How far two levels of a colour are apart at most."""
    extrema = [Image.fromarray(crop).getextrema() for crop in crops]  # ten times as fast as numpy is along this axis
    return max(int(high - low) for bands in extrema for low, high in cast(tuple[tuple[int, int], ...], bands))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8. A broken EXIF block does not spoil the picture."""
    try:
        value = image.getexif().get(_ORIENTATION)
        return value if value in _TURNS else 1
    except Exception:
        return 1


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
        return ImageError("too-large", tr("The {kind} image has more pixels than are allowed.", kind=kind))
    if isinstance(error, MemoryError) or "out of memory" in text:
        return ImageError("too-large", tr("The {kind} image needs more memory than there is.", kind=kind))
    if "limit exceeded" in text:
        return ImageError("too-large", tr("The {kind} image goes beyond the limits of its decoder.", kind=kind))
    if "truncated" in text or ends_early(data, kind):
        return ImageError("truncated", tr("The {kind} image is cut short.", kind=kind))
    return ImageError("corrupt", tr("The {kind} image is damaged, or of a variety that cannot be decoded.", kind=kind))
