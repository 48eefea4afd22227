"""The lists of tags of a TIFF, classic or big, in either byte order: read, and written anew for Pillow."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

import numpy as np

# Type codes of the format, and what numpy calls them.
_TYPES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 11: "f4", 12: "f8", 13: "u4"}
_TYPES |= {16: "u8", 17: "i8", 18: "u8"}
_BIG = (b"II+\0", b"MM\0+")
_MOST_TAGS = 4096

Order = Literal["<", ">"]


class Directory(NamedTuple):
    """The tags of one picture: numbers as a tuple, text as bytes; ``following`` is the place of the next picture's."""

    order: Order
    tags: dict[int, tuple[int, ...] | bytes]
    following: int

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The values of a tag that is made of numbers."""
        value = self.tags.get(tag, default)
        return default if isinstance(value, bytes) or not value else value

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        return int(self.numbers(tag, (default,))[0])


def is_big(data: bytes) -> bool:
    """Whether places have 8 bytes."""
    return data.startswith(_BIG)


def byte_order(data: bytes) -> Order:
    """How numpy and struct name the order that the file tells in its first bytes."""
    return "<" if data.startswith(b"I") else ">"


def directory_end(data: bytes) -> int:
    """Where the first list of tags ends; writers like to put it behind the pixels."""
    big, order = is_big(data), byte_order(data)
    places, counts, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    if len(data) < 16:
        return 16
    (start,) = struct.unpack_from(order + places, data, 8 if big else 4)
    after = int(start) + struct.calcsize(counts)
    if after > len(data):
        return after
    (count,) = struct.unpack_from(order + counts, data, start)
    return after + entry * int(count)


def pixels_end(data: bytes) -> int:
    """Where the last strip or tile of the first picture ends."""
    try:
        directory = read(data)
    except ValueError:
        return 0
    places = directory.numbers(273) or directory.numbers(324)
    lengths = directory.numbers(279) or directory.numbers(325)
    return max((place + length for place, length in zip(places, lengths, strict=False)), default=0)


def read(data: bytes, start: int | None = None) -> Directory:
    """The list of tags at a place; without one, the first. Tags that lie outside of the file are left out.

    Raises ValueError where there is no list.
    """
    big, order = is_big(data), byte_order(data)
    places, counts, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    try:
        if start is None:
            (start,) = struct.unpack_from(order + places, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + counts, data, start)
        first = start + struct.calcsize(counts)
        end = first + min(int(count), _MOST_TAGS) * entry
        tags: dict[int, tuple[int, ...] | bytes] = {}
        for place in range(first, end, entry):
            tag, type_, length = struct.unpack_from(f"{order}HH{places}", data, place)
            value = _value(data, order, places, type_, length, place + entry - struct.calcsize(places))
            if value is not None:
                tags.setdefault(tag, value)
        following = (
            struct.unpack_from(order + places, data, end)[0] if end + struct.calcsize(places) <= len(data) else 0
        )
    except struct.error as error:
        raise ValueError("no list of tags") from error
    return Directory(order, tags, int(following))


def _value(
    data: bytes, order: Order, places: str, type_: int, length: int, place: int
) -> tuple[int, ...] | bytes | None:
    if type_ not in _TYPES:
        return None
    kind = np.dtype(_TYPES[type_]).newbyteorder(order)
    size = kind.itemsize * length
    if size > struct.calcsize(places):
        (place,) = struct.unpack_from(order + places, data, place)
    if place + size > len(data):
        return None
    if type_ in (2, 7):
        return data[place : place + size]
    return cast(tuple[int, ...], tuple(np.frombuffer(data, kind, length, place).tolist()))


def with_directory(data: bytes, order: Order, tags: Mapping[int, tuple[int, ...]]) -> bytes:
    """The file as a classic TIFF that has these tags and no others. Places in it stay what they are."""
    start = len(data) + len(data) % 2
    after = start + 2 + 12 * len(tags) + 4
    entries, outside = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", after + len(outside))
            outside += packed
            packed = place
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    return b"".join((head, memoryview(data)[8:], bytes(len(data) % 2), directory, outside))
