"""The chunks of a PNG that its picture is made of. Whatever else is wrong with the others does not cost the picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}

# The texts that an orientation may be in, and how long they may be, packed or not.
_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"exif")
_LONGEST_TEXT = 1 << 20

# How many bytes tRNS has, by the colour type; None where every entry of the palette may have one.
_TRANSPARENT = {0: 2, 2: 6, 3: None}


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk, by its place in the file: ``start`` of its length field, ``end`` behind its checksum."""

    name: bytes
    start: int
    end: int


def needed(data: bytes) -> tuple[bytes, bool]:
    """The file without the chunks that its picture does not need, and whether it ends as it should.

    A chunk that is ancillary is kept where pixels, orientation or animation depend on it and it is sound: as libpng
    does, which passes over the others. In front of the first pixel, between two chunks of them, or behind the last.
    Pillow refuses the picture for many of them, and takes some texts for instructions (one named ``interlace``, say).
    """
    chunks = list(_chunks(data))
    last_pixels = max((chunk.start for chunk in chunks if chunk.name == b"IDAT"), default=0)
    ended = bool(chunks) and chunks[-1].name == b"IEND"
    animated = _is_sound_animation(data, chunks)
    spans: list[tuple[int, int]] = []
    begun = 0  # of the span that is being kept
    at = len(_SIGNATURE)
    seen: set[bytes] = set()
    for chunk in chunks:
        amid = b"IDAT" in seen and chunk.start < last_pixels and chunk.name[:1].islower()
        if amid or not _is_needed(data, chunk, seen, animated=animated):
            spans.append((begun, chunk.start))
            begun = chunk.end
        seen.add(chunk.name)
        at = chunk.end
    if at < len(data) and not ended and data[at + 4 : at + 5].islower():  # the last chunk is cut, and not needed
        spans.append((begun, at))
        begun = len(data)
    if not spans:
        return data, ended
    spans.append((begun, len(data)))
    view = memoryview(data)
    return b"".join(view[start:end] for start, end in spans), ended


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The whole chunks, up to the end of the picture or to what is no chunk."""
    at = len(_SIGNATURE)
    unpack = struct.Struct(">I4s").unpack_from
    while at + 12 <= len(data):
        length, name = unpack(data, at)
        end = at + 12 + length
        if end > len(data) or not name.isalpha():
            return
        yield _Chunk(name, at, end)
        if name == b"IEND":
            return
        at = end


def _is_needed(data: bytes, chunk: _Chunk, seen: set[bytes], *, animated: bool) -> bool:
    name = chunk.name
    if name == b"PLTE" and data[25] in (2, 6):  # a suggestion only
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
    checked = zlib.crc32(memoryview(data)[chunk.start + 4 : chunk.end - 4])
    return checked == int.from_bytes(data[chunk.end - 4 : chunk.end], "big")


def _fits_colour(data: bytes, chunk: _Chunk) -> bool:
    length = chunk.end - chunk.start - 12
    colour = data[25]  # the header is the first chunk, or this is no PNG
    return colour in _TRANSPARENT and (_TRANSPARENT[colour] or min(max(length, 1), 256)) == length


def _is_short_text(content: bytes, name: bytes) -> bool:
    """Whether a text may tell the orientation, and is no longer than such a text needs to be."""
    key, _, rest = content.partition(b"\0")
    if key not in _TEXTS or len(content) > _LONGEST_TEXT:
        return False
    packed = b""
    if name == b"zTXt":
        if rest[:1] != b"\0":
            return False
        packed = rest[1:]
    elif name == b"iTXt" and rest[:1] not in (b"", b"\0"):
        packed = rest[2:].split(b"\0", 2)[-1]
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(packed, _LONGEST_TEXT)
    except zlib.error:
        return False
    return not unpacking.unconsumed_tail


def _is_sound_animation(data: bytes, chunks: list[_Chunk]) -> bool:
    """Whether the chunks of an animation are as they should be; else the picture is a still one, as for libpng."""
    size = struct.unpack_from(">II", data, 16) if len(data) >= 24 else (0, 0)
    names = {chunk.name for chunk in chunks}
    if b"acTL" not in names:
        return False
    number = 0
    seen: set[bytes] = set()
    for chunk in chunks:
        if chunk.name == b"acTL":
            frames = data[chunk.start + 8 : chunk.end - 4]
            if len(frames) != 8 or seen & {b"acTL", b"IDAT"} or not _is_intact(data, chunk):
                return False
            if not 0 < int.from_bytes(frames[:4], "big") < 1 << 31:
                return False
        elif chunk.name == b"fcTL":
            if chunk.end - chunk.start != 38 or not _is_intact(data, chunk):
                return False
            count, width, height, left, top = struct.unpack_from(">5I", data, chunk.start + 8)
            if count != number or not (0 < width <= size[0] - left and 0 < height <= size[1] - top):
                return False
            number += 1
        elif chunk.name == b"fdAT":
            if (
                chunk.end - chunk.start < 16
                or int.from_bytes(data[chunk.start + 8 : chunk.start + 12], "big") != number
            ):
                return False
            number += 1
        seen.add(chunk.name)
    return b"fcTL" in seen
