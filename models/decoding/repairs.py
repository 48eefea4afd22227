"""Repair files, so that nothing but their pixels decides whether they can be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from PIL.ImageFile import ImageFile

from models.decoding import containers, jpeg, png, tails, tiff
from models.decoding.formats import GENERIC_BRANDS, ends_early, missing_bytes
from models.decoding.opening import open_image


class Repair(NamedTuple):
    """A changed file to decode, and whether the original had an end marker."""

    data: bytes
    has_end: bool = True


def sanitised(data: bytes, kind: str) -> Repair:
    """Return the file without what must never be decoded.

    Some chunks of a PNG would change its pixels, and zeros that were never overwritten would be decoded to some.
    """
    if kind == "JPEG" and not data.startswith(b"\xff\xd8"):
        data = data[data.index(b"\xff\xd8") :]
    if kind != "PNG":
        return Repair(tails.without_unwritten(data, kind))
    stripped, has_end = png.without_unneeded(data)
    return Repair(stripped if has_end else tails.without_zeros(stripped), has_end)


def repaired(data: bytes, kind: str, max_pixels: int) -> Iterator[Repair]:
    """Yield repairs to try for a file that cannot be decoded, the least change first."""
    try:
        yield from _padded(data, kind)
        match kind:
            case "JPEG":
                yield from _repaired_jpeg(data, max_pixels)
            case "TIFF":
                yield Repair(tiff.without_metadata(data))
            case "WebP":
                yield Repair(containers.webp_without_metadata(data), has_end=not ends_early(data, kind))
            case "AVIF" | "HEIC":
                if data[8:12] in GENERIC_BRANDS and int.from_bytes(data[:4], "big") >= 20:
                    yield Repair(data[:8] + b"heic" + data[12:16] + b"heic" + data[20:])
                yield Repair(containers.boxes_without_metadata(data))
    except Exception:  # too broken to be repaired
        return


def _padded(data: bytes, kind: str) -> Iterator[Repair]:
    """Yield the file with zeros for its missing end, if very few bytes are missing."""
    if kind == "GIF":  # its structure does not tell its length
        yield Repair(data + bytes(_MOST_MISSING) + b";", has_end=False)
        return
    count = missing_bytes(data, kind)
    if 0 < count <= _MOST_MISSING:
        yield Repair(data + bytes(count), has_end=False)


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
        completed = jpeg.with_end(plain, load)
        if completed is not None:
            yield Repair(completed, has_end=False)


# At most this many bytes may be missing at the end of a file that is not a JPEG.
_MOST_MISSING = 16

# The size at which a large picture is decoded to see which part is missing.
_SMALL = (1024, 1024)
