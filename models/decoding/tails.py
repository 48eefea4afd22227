"""Cut off the unwritten end of files that were created at full length and never written to their end.

They have zeros instead of the rest of the picture. Compressed data never has so many zeros; uncompressed pixels may, so
for those, zeros prove nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from models.decoding import isobmff, jpeg
from models.decoding.tiffdirectory import COMPRESSION, read

# A file with fewer zeros at its end is not examined.
_SUSPECT = 64
# More zeros than any encoder writes in a row, however flat the picture.
_NEVER = 1024
_UNCOMPRESSED = 1
_PICTURE_CHUNKS = {b"VP8 ", b"VP8L", b"ALPH", b"ANMF"}


def without_unwritten(data: bytes, kind: str) -> bytes:
    """Return the file without the part of its picture that was never written, if any."""
    if kind == "JPEG":
        return jpeg.without_unwritten(data)
    if data[-_SUSPECT:].strip(b"\0") or len(data) <= _SUSPECT:
        return data
    end = len(data.rstrip(b"\0"))
    try:
        match kind:
            case "WebP":
                unwritten = any(min(stop, len(data)) - max(start, end) >= _NEVER for start, stop in _chunks(data))
            case "TIFF":
                unwritten = any(start >= end and stop - start >= _SUSPECT for start, stop in _strips(data))
            case "AVIF" | "HEIC":
                spans = isobmff.pictures(data)
                unwritten = any(min(stop, len(data)) - max(start, end) >= _SUSPECT for start, stop in spans)
            case _:
                unwritten = False
    except (ValueError, struct.error):  # damaged in another way
        return data
    return data[:end] if unwritten else data


def without_zeros(data: bytes) -> bytes:
    """Remove the zeros at the end of a file that has no end marker."""
    return data.rstrip(b"\0") if data.endswith(bytes(_SUSPECT)) else data


def _chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the compressed data of a WebP begins and ends."""
    offset = 12
    while offset + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, offset)
        if name in _PICTURE_CHUNKS:
            yield offset + 8, offset + 8 + length
        offset += 8 + length + length % 2


def _strips(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each strip or tile of a TIFF begins and ends, if they are compressed."""
    directory = read(data)
    return iter(()) if directory.number(COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED else directory.spans()
