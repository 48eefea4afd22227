"""Read the boxes of a HEIC or AVIF file that tell where its compressed pictures are."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PICTURES = {b"hvc1", b"hev1", b"av01"}


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each box, and where its content begins and ends."""
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, start)
        header_size = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            header_size = 16
        elif length == 0:
            length = end - start
        if length < header_size:
            return
        yield name, start + header_size, min(start + length, end)
        start += length


def pictures(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the compressed pictures of a file begin and end. Raises struct.error if it is damaged."""
    for name, start, end in _boxes(data, 0, len(data)):
        if name != b"meta":
            continue
        boxes = {name: (begin, stop) for name, begin, stop in _boxes(data, start + 4, end)}
        if b"iinf" not in boxes or b"iloc" not in boxes:
            continue
        picture_items = {item for item, kind in _item_types(data, *boxes[b"iinf"]) if kind in _PICTURES}
        for item, begin, length in _extents(data, boxes[b"iloc"][0]):
            if item in picture_items:
                yield begin, begin + length


def _item_types(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the id and the type of each item."""
    first = start + (6 if data[start] == 0 else 8)
    for name, begin, _ in _boxes(data, first, end):
        version = data[begin]
        if name == b"infe" and version in (2, 3):
            yield struct.unpack_from(">4xH2x4s" if version == 2 else ">4xI2x4s", data, begin)


def _extents(data: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield, for every extent of every item, the id of the item, the offset in the file and the length."""
    version = data[start]
    sizes, more = data[start + 4 : start + 6]
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version else 0
    position = start + 6

    def number(size: int) -> int:
        nonlocal position
        if position + size > len(data):
            raise struct.error("beyond the end")
        position += size
        return int.from_bytes(data[position - size : position], "big")

    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        for _ in range(number(2)):
            number(index_size)
            offset, length = number(offset_size), number(length_size)
            if method == 0:
                yield item, base + offset, length
