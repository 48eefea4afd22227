"""Files that were made as long as they will be, and never written to their end: zeros stand where the picture goes on.

Compressed data never has so many of them. Pixels that are not compressed may: of those, zeros prove nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from models.decoding import isobmff, jpeg
from models.decoding.tiffdirectory import read

# A file that ends with fewer zeros is not looked at.
_SUSPECT = 64
# What no encoder writes, however flat the picture.
_NEVER = 1024
_PICTURE_CHUNKS = {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}


def written(data: bytes, kind: str) -> bytes:
    """The file up to where its picture was not written, if so; else all of it."""
    if kind == "JPEG":
        return jpeg.written(data)
    if data[-_SUSPECT:].strip(b"\0") or len(data) <= _SUSPECT:
        return data
    end = len(data.rstrip(b"\0"))
    try:
        match kind:
            case "WebP":
                cut = any(min(stop, len(data)) - max(start, end) >= _NEVER for start, stop in _chunks(data))
            case "TIFF":
                cut = any(start >= end and stop - start >= _SUSPECT for start, stop in _strips(data))
            case "AVIF" | "HEIC":
                cut = any(min(stop, len(data)) - max(start, end) >= _SUSPECT for start, stop in isobmff.pictures(data))
            case _:
                cut = False
    except (ValueError, struct.error):  # it is damaged in another way
        return data
    return data[:end] if cut else data


def without_zeros(data: bytes) -> bytes:
    """A file that has no end, without the zeros behind what there is of it."""
    return data.rstrip(b"\0") if data.endswith(bytes(_SUSPECT)) else data


def _chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the compressed data of a WebP lies."""
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name in _PICTURE_CHUNKS:
            yield at + 8, at + 8 + length
        at += 8 + length + length % 2


def _strips(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the strips or tiles of a TIFF lie that are compressed."""
    directory = read(data)
    if directory.number(259, 1) == 1:
        return
    places = directory.numbers(273) or directory.numbers(324)
    for place, length in zip(places, directory.numbers(279) or directory.numbers(325), strict=False):
        yield place, place + length
