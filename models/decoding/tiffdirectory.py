"""Read the tag directories of a TIFF, classic or big, in either byte order, and write new ones for Pillow."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, cast

import numpy as np

COMPRESSION = 259
_STRIP_OFFSETS, _STRIP_LENGTHS, _TILE_OFFSETS, _TILE_LENGTHS = 273, 279, 324, 325

# Type codes of the format, and their types in NumPy.
_TYPES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 11: "f4", 12: "f8", 13: "u4"}
_TYPES |= {16: "u8", 17: "i8", 18: "u8"}
_TEXT, _LONG, _UNDEFINED = 2, 4, 7
_CLASSIC = 42  # the version of a TIFF whose offsets have 4 bytes
_BIG = (b"II+\0", b"MM\0+")
_MOST_TAGS = 4096

Order = Literal["<", ">"]


class Directory(NamedTuple):
    """The tags of one picture: numbers as a tuple, text as bytes; ``following`` is the next directory's offset."""

    order: Order
    tags: dict[int, tuple[int, ...] | bytes]
    following: int

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the values of a tag of numbers."""
        value = self.tags.get(tag, default)
        return default if isinstance(value, bytes) or not value else value

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag."""
        return int(self.numbers(tag, (default,))[0])

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield where each strip or tile of the picture begins and ends in the file."""
        offsets = self.numbers(_STRIP_OFFSETS) or self.numbers(_TILE_OFFSETS)
        lengths = self.numbers(_STRIP_LENGTHS) or self.numbers(_TILE_LENGTHS)
        return ((offset, offset + length) for offset, length in zip(offsets, lengths, strict=False))


def is_big(data: bytes) -> bool:
    """Return whether offsets have 8 bytes."""
    return data.startswith(_BIG)


def byte_order(data: bytes) -> Order:
    """Return the byte order of the file, as NumPy and struct spell it."""
    return "<" if data.startswith(b"I") else ">"


def directory_end(data: bytes) -> int:
    """Return where the first directory ends; many programs write it after the pixels."""
    big, order = is_big(data), byte_order(data)
    offset_format, count_format, entry_size = ("Q", "Q", 20) if big else ("I", "H", 12)
    if len(data) < 16:
        return 16
    (start,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
    after = int(start) + struct.calcsize(count_format)
    if after > len(data):
        return after
    (count,) = struct.unpack_from(order + count_format, data, start)
    return after + entry_size * int(count)


def pixels_end(data: bytes) -> int:
    """Return where the last strip or tile of the first picture ends; 0 if that is unknown."""
    try:
        directory = read(data)
    except ValueError:
        return 0
    return max((end for _, end in directory.spans()), default=0)


def read(data: bytes, start: int | None = None) -> Directory:
    """Read the directory at an offset, by default the first. Tags whose values lie outside the file are left out.

    Raises ValueError if there is no directory.
    """
    big, order = is_big(data), byte_order(data)
    offset_format, count_format, entry_size = ("Q", "Q", 20) if big else ("I", "H", 12)
    try:
        if start is None:
            (start,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + count_format, data, start)
        first = start + struct.calcsize(count_format)
        end = first + min(int(count), _MOST_TAGS) * entry_size
        tags: dict[int, tuple[int, ...] | bytes] = {}
        for entry in range(first, end, entry_size):
            tag, type_, length = struct.unpack_from(f"{order}HH{offset_format}", data, entry)
            offset = entry + entry_size - struct.calcsize(offset_format)
            value = _value(data, order, offset_format, type_, length, offset)
            if value is not None:
                tags.setdefault(tag, value)
        following = (
            struct.unpack_from(order + offset_format, data, end)[0]
            if end + struct.calcsize(offset_format) <= len(data)
            else 0
        )
    except struct.error as error:
        raise ValueError("no tag directory") from error
    return Directory(order, tags, int(following))


def _value(
    data: bytes, order: Order, offset_format: str, type_: int, length: int, offset: int
) -> tuple[int, ...] | bytes | None:
    if type_ not in _TYPES:
        return None
    kind = np.dtype(_TYPES[type_]).newbyteorder(order)
    size = kind.itemsize * length
    if size > struct.calcsize(offset_format):
        (offset,) = struct.unpack_from(order + offset_format, data, offset)
    if offset + size > len(data):
        return None
    if type_ in (_TEXT, _UNDEFINED):
        return data[offset : offset + size]
    return cast(tuple[int, ...], tuple(np.frombuffer(data, kind, length, offset).tolist()))


def with_directory(data: bytes, order: Order, tags: Mapping[int, tuple[int, ...]]) -> bytes:
    """Return the file as a classic TIFF with these tags only. Offsets in it stay valid."""
    start = len(data) + len(data) % 2
    after = start + 2 + 12 * len(tags) + 4
    entries, outside = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            offset = struct.pack(order + "I", after + len(outside))
            outside += packed
            packed = offset
        entries += struct.pack(order + "HHI", tag, _LONG, len(values)) + packed
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", _CLASSIC, start)
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    return b"".join((head, memoryview(data)[8:], bytes(len(data) % 2), directory, outside))
