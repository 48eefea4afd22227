"""What may be mended of a file, so that nothing but its pixels decides whether it is a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from PIL.ImageFile import ImageFile

from models.decoding import containers, jpeg, png, tails, tiff
from models.decoding.formats import GENERIC_BRANDS, ends_early, missing
from models.decoding.opening import open_image


class Repair(NamedTuple):
    """A file as it may be decoded, and whether it had an end of its own."""

    data: bytes
    ended: bool = True


def sound(data: bytes, kind: str) -> Repair:
    """The file without what must never be looked at.

    Some chunks of a PNG would change its pixels, and zeros that stand for what was never written would become some.
    """
    if kind == "JPEG" and not data.startswith(b"\xff\xd8"):
        data = data[data.index(b"\xff\xd8") :]
    if kind != "PNG":
        return Repair(tails.written(data, kind))
    kept, ended = png.needed(data)
    return Repair(kept if ended else tails.without_zeros(kept), ended)


def repaired(data: bytes, kind: str, max_pixels: int) -> Iterator[Repair]:
    """What to try instead of a file that cannot be decoded, the least change first."""
    try:
        yield from _filled_up(data, kind)
        match kind:
            case "JPEG":
                yield from _repaired_jpeg(data, max_pixels)
            case "TIFF":
                yield Repair(tiff.without_metadata(data))
            case "WebP":
                yield Repair(containers.webp_without_metadata(data), ended=not ends_early(data, kind))
            case "AVIF" | "HEIC":
                if data[8:12] in GENERIC_BRANDS and int.from_bytes(data[:4], "big") >= 20:
                    yield Repair(data[:8] + b"heic" + data[12:16] + b"heic" + data[20:])
                yield Repair(containers.boxes_without_metadata(data))
    except Exception:  # it is too broken for that
        return


def _filled_up(data: bytes, kind: str) -> Iterator[Repair]:
    """The file with what it lacks at its end, where that is next to nothing."""
    if kind == "GIF":  # it does not say how long it is
        yield Repair(data + bytes(_NEXT_TO_NOTHING) + b";", ended=False)
        return
    lacks = missing(data, kind)
    if 0 < lacks <= _NEXT_TO_NOTHING:
        yield Repair(data + bytes(lacks), ended=False)


def _repaired_jpeg(data: bytes, max_pixels: int) -> Iterator[Repair]:
    def load(changed: bytes) -> ImageFile:
        image = open_image(changed, "JPEG", max_pixels)
        image.draft(None, _SMALL)
        image.load()
        return image

    for keep_exif in (True, False):
        plain = jpeg.without_metadata(data, keep_exif=keep_exif)
        if plain != data:
            yield Repair(plain)
        ended = jpeg.mended(plain, load)
        if ended is not None:
            yield Repair(ended, ended=False)


# How many bytes may be missing at the end of a file that is not a JPEG.
_NEXT_TO_NOTHING = 16

# The size at which a large picture is looked at to see what it lacks.
_SMALL = (1024, 1024)
