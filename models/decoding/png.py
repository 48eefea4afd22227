"""Remove the chunks of a PNG that its picture does not need, so that faults in them do no harm."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}

# Keywords of texts that may hold an orientation, and the longest such text, compressed or not.
_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"exif")
_LONGEST_TEXT = 1 << 20

# The number of bytes in tRNS by colour type; None: up to one for each entry of the palette.
_TRANSPARENT = {0: 2, 2: 6, 3: None}


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk, from the ``start`` of its length field to the ``end`` of its checksum."""

    name: bytes
    start: int
    end: int


def without_unneeded(data: bytes) -> tuple[bytes, bool]:
    """Remove the chunks that the picture does not need; also return whether the file has its end marker.

    Ancillary chunks are kept if pixels, orientation or animation depend on them and they are valid; libpng ignores the
    others, too. Pillow refuses pictures for many of them, and takes some texts for instructions (one with the keyword
    ``interlace``, for example).
    """
    chunks = list(_chunks(data))
    last_pixels = max((chunk.start for chunk in chunks if chunk.name == b"IDAT"), default=0)
    has_end = bool(chunks) and chunks[-1].name == b"IEND"
    animated = _is_valid_animation(data, chunks)
    spans: list[tuple[int, int]] = []
    span_start = 0  # of the span to keep
    offset = len(_SIGNATURE)
    seen: set[bytes] = set()
    for chunk in chunks:
        between_pixels = b"IDAT" in seen and chunk.start < last_pixels and chunk.name[:1].islower()
        if between_pixels or not _is_needed(data, chunk, seen, animated=animated):
            spans.append((span_start, chunk.start))
            span_start = chunk.end
        seen.add(chunk.name)
        offset = chunk.end
    if (
        offset < len(data) and not has_end and data[offset + 4 : offset + 5].islower()
    ):  # the last chunk is truncated, and not needed
        spans.append((span_start, offset))
        span_start = len(data)
    if not spans:
        return data, has_end
    spans.append((span_start, len(data)))
    view = memoryview(data)
    return b"".join(view[start:end] for start, end in spans), has_end


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield the complete chunks, up to the end marker or to what is not a chunk."""
    offset = len(_SIGNATURE)
    unpack = struct.Struct(">I4s").unpack_from
    while offset + 12 <= len(data):
        length, name = unpack(data, offset)
        end = offset + 12 + length
        if end > len(data) or not name.isalpha():
            return
        yield _Chunk(name, offset, end)
        if name == b"IEND":
            return
        offset = end


def _is_needed(data: bytes, chunk: _Chunk, seen: set[bytes], *, animated: bool) -> bool:
    name = chunk.name
    if name == b"PLTE" and data[25] in (2, 6):  # only a suggestion
        return False
    if name[:1].isupper():
        return True
    if name in _ANIMATION:
        return animated
    if name not in (b"tRNS", b"eXIf", b"iTXt", b"zTXt", b"tEXt") or not _is_intact(data, chunk):
        return False
    if name == b"tRNS":
        return not seen & {b"tRNS", b"IDAT"} and _fits_colour(data, chunk)
    if name == b"eXIf":
        return name not in seen
    return _is_short_text(data[chunk.start + 8 : chunk.end - 4], name)


def _is_intact(data: bytes, chunk: _Chunk) -> bool:
    checksum = zlib.crc32(memoryview(data)[chunk.start + 4 : chunk.end - 4])
    return checksum == int.from_bytes(data[chunk.end - 4 : chunk.end], "big")


def _fits_colour(data: bytes, chunk: _Chunk) -> bool:
    length = chunk.end - chunk.start - 12
    colour = data[25]  # the header is always the first chunk
    return colour in _TRANSPARENT and (_TRANSPARENT[colour] or min(max(length, 1), 256)) == length


def _is_short_text(content: bytes, name: bytes) -> bool:
    """Return whether a text may hold the orientation, and is no longer than such a text needs to be."""
    keyword, _, rest = content.partition(b"\0")
    if keyword not in _TEXTS or len(content) > _LONGEST_TEXT:
        return False
    compressed = b""
    if name == b"zTXt":
        if rest[:1] != b"\0":
            return False
        compressed = rest[1:]
    elif name == b"iTXt" and rest[:1] not in (b"", b"\0"):
        compressed = rest[2:].split(b"\0", 2)[-1]
    decompressor = zlib.decompressobj()
    try:
        decompressor.decompress(compressed, _LONGEST_TEXT)
    except zlib.error:
        return False
    return not decompressor.unconsumed_tail


def _is_valid_animation(data: bytes, chunks: list[_Chunk]) -> bool:
    """Return whether the chunks of an animation are valid; otherwise the picture is still, as for libpng."""
    size = struct.unpack_from(">II", data, 16) if len(data) >= 24 else (0, 0)
    names = {chunk.name for chunk in chunks}
    if b"acTL" not in names:
        return False
    sequence_number = 0
    seen: set[bytes] = set()
    for chunk in chunks:
        if chunk.name == b"acTL":
            control = data[chunk.start + 8 : chunk.end - 4]
            if len(control) != 8 or seen & {b"acTL", b"IDAT"} or not _is_intact(data, chunk):
                return False
            if not 0 < int.from_bytes(control[:4], "big") < 1 << 31:
                return False
        elif chunk.name == b"fcTL":
            if chunk.end - chunk.start != 38 or not _is_intact(data, chunk):
                return False
            number, width, height, left, top = struct.unpack_from(">5I", data, chunk.start + 8)
            if number != sequence_number or not (0 < width <= size[0] - left and 0 < height <= size[1] - top):
                return False
            sequence_number += 1
        elif chunk.name == b"fdAT":
            if (
                chunk.end - chunk.start < 16
                or int.from_bytes(data[chunk.start + 8 : chunk.start + 12], "big") != sequence_number
            ):
                return False
            sequence_number += 1
        seen.add(chunk.name)
    return b"fcTL" in seen
