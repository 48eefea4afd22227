"""The segments of a JPEG that its picture is made of, and pictures that lack nothing but their last few bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL.ImageFile import ImageFile

END = b"\xff\xd9"

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = {0xC0, 0xC1}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_SCAN, _END, _INTERVAL, _TABLES, _COMMENT = 0xDA, 0xD9, 0xDD, 0xC4, 0xFE
_METADATA = {*range(0xE0, 0xF0), _COMMENT}
# What is reserved, and another start at once: libjpeg stops there, viewers go on.
_STRAY = {*range(0x01, 0xC0), *range(0xF0, 0xFE)}
_START = 0xD8  # later, it is that of a thumbnail
_ALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a length

_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

# So many zeros at the end of a file are looked into, and so many in the middle of a scan.
_SUSPECT, _ZEROS = 64, bytes(256)

#: The share of the pixels that may depend on what is missing at the end.
_MISSING = 0.04
# The share of the rows that must be there to their last bit, where only a last bit can be missing.
_REFINED = 0.75
# Stands in for what is missing: whatever it is decoded to, it is something else than nothing at all is.
_SOMETHING = bytes.fromhex("5ae13c974d81b6742fd39a685ec1387b") * 16


@dataclass(frozen=True, slots=True)
class _Segment:
    """A marker and what belongs to it: ``start`` of the marker, ``end`` behind its content."""

    marker: int
    start: int
    end: int


def without_metadata(data: bytes, *, keep_exif: bool = True) -> bytes:
    """The file without the segments that its picture does not need: comments, and what applications note.

    Kept are what libjpeg tells the colour space by (JFIF and Adobe), and EXIF, which tells the orientation. A segment
    whose length is wrong ends where the next one begins.
    """
    kept = [data[:2]]
    at = 2
    for segment in _segments(data):
        at = segment.end
        content = data[segment.start + 4 : segment.end]
        if segment.marker in _STRAY or (segment.start == 2 and segment.marker == _START):
            continue
        if segment.marker not in _METADATA:
            kept.append(data[segment.start : segment.end])
        elif _says_something(segment.marker, content, keep_exif) and len(content) < (1 << 16) - 2:
            kept.append(struct.pack(">BBH", 0xFF, segment.marker, len(content) + 2) + content)
    kept.append(data[at:])
    return b"".join(kept)


def _says_something(marker: int, content: bytes, keep_exif: bool) -> bool:
    return (
        (marker == 0xE0 and len(content) >= 14 and content.startswith(b"JFIF\0"))
        or (marker == 0xE1 and keep_exif and content.startswith(b"Exif\0\0"))
        or (marker == 0xEE and len(content) >= 12 and content.startswith(b"Adobe"))
    )


def _segments(data: bytes) -> Iterator[_Segment]:
    """Those in front of the first scan."""
    at = 2
    while (segment := _segment(data, at)) is not None and segment.marker != _SCAN:
        if segment.marker in _METADATA and not _goes_on(data, segment.end):
            segment = _Segment(segment.marker, segment.start, _next(data, segment.start + 2))
        yield segment
        at = segment.end


def _segment(data: bytes, at: int) -> _Segment | None:
    """The one that begins here, behind whatever does not belong there."""
    at = data.find(b"\xff", at)
    while at >= 0 and data[at + 1 : at + 2] in (b"\xff", b"\0"):
        at = data.find(b"\xff", at + 1)
    if at < 0 or at + 4 > len(data):
        return None
    marker = data[at + 1]
    if marker in _ALONE:
        return _Segment(marker, at, at + 2)
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    return _Segment(marker, at, min(at + 2 + max(length, 2), len(data)))


def _goes_on(data: bytes, at: int) -> bool:
    """Whether a chain of segments that begins here comes to a scan."""
    for _ in range(1000):
        if data[at : at + 1] != b"\xff":
            return False
        segment = _segment(data, at)
        if segment is None:
            return False
        if segment.marker == _SCAN:
            return True
        at = segment.end
    return False


def _next(data: bytes, at: int) -> int:
    """Where the first segment behind a place begins; the end of the file where there is none."""
    for _ in range(1000):
        at = data.find(b"\xff", at)
        if at < 0:
            return len(data)
        if data[at + 1 : at + 2] not in (b"\0", b"\xff") and _goes_on(data, at):
            return at
        at += 1
    return len(data)


# What was never written


def written(data: bytes) -> bytes:
    """The file up to where zeros stand for its picture, if so; else all of it.

    It was made as long as it will be, and not written to its end. Where no end follows the picture, zeros behind it are
    no part of it. Where one does, they are if no flat area can be made of them.
    """
    if data.endswith(_ZEROS[:_SUSPECT]):
        return data if _has_end(data) else data.rstrip(b"\0")
    if data.find(_ZEROS) < 0 or not _zeros_make_nothing(data):
        return data
    scans = list(_scans(data))
    unwritten = data.find(_ZEROS, *scans[0]) if len(scans) == 1 else -1
    return data[:unwritten] if unwritten >= 0 else data


def _scans(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the data of each scan begins and ends."""
    at = 2
    while (segment := _segment(data, at)) is not None and segment.marker != _END:
        at = segment.end
        if segment.marker == _SCAN:
            following = _AFTER_SCAN.search(data, at)
            end = following.end() - 2 if following else len(data)
            yield at, end
            at = end


def _has_end(data: bytes) -> bool:
    """Whether an end follows the last scan of the picture, whatever comes behind it."""
    ends = [end for _, end in _scans(data)]
    return bool(ends) and data[ends[-1] + 1 : ends[-1] + 2] == END[1:]


def _zeros_make_nothing(data: bytes) -> bool:
    """Whether the code that is all zeros stands for a value in some table: no picture of one scan has many of them.

    Where it stands for the end of a block in all of them, as it may in tables that were made for a picture, a flat area
    is zeros. The tables for the colours of most files are so; that for the brightness is not.
    """
    values = False
    for segment in _segments(data):
        if segment.marker in _FRAMES and segment.marker not in _SEQUENTIAL:
            return False
        at = segment.start + 4
        while segment.marker == _TABLES and at + 17 < segment.end:
            values = values or bool(data[at] >> 4 and data[at + 17] & 15)
            at += 17 + sum(data[at + 1 : at + 17])
    return values


# What lacks its end


@dataclass(slots=True)
class _Layout:
    """What the frame and its scans say: the size, the rows of one row of blocks, and what there is of each component.

    ``left`` is which coefficients of which component are not there to their last bit; ``scan`` begins the last scan.
    """

    height: int
    rows: int
    blocks: int
    left: set[tuple[int, int]]
    scan: int = 0
    scans: int = 0
    refines: bool = False
    interval: int = 0


def mended(data: bytes, load: Callable[[bytes], ImageFile]) -> bytes | None:
    """The file with an end, where all its rows are there and nothing but its last bytes is missing; else None.

    ``load`` decodes a file. All rows are there when nothing above the last row of blocks depends on what is missing,
    and little in it. Of a picture that comes in several passes, the last one must have begun; where that one adds but a
    bit, it may end somewhat earlier.
    """
    try:
        layout = _layout(data)
        if layout is None or layout.left or not _restarts_are_there(data, layout):
            return None
        ended = data.rstrip(b"\xff") + END
        shown = _pixels(load(ended))
        other = _pixels(load(data.rstrip(b"\xff") + _SOMETHING + END))
    except Exception:  # it is no picture then
        return None
    rows = np.flatnonzero((shown != other).any(axis=(1, 2)))
    if not rows.size:
        return ended
    if layout.refines:  # but for the last bit of some coefficients, it is all there
        return ended if rows[0] >= _REFINED * shown.shape[0] else None
    # Where colours have fewer pixels than the brightness, those of the row above are mixed in.
    first = (layout.height - 1) // layout.rows * layout.rows - 2
    share = float((shown != other).any(axis=2).mean())
    return ended if rows[0] >= first * shown.shape[0] // layout.height and share <= _MISSING else None


def _pixels(image: ImageFile) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image)
    return cast(npt.NDArray[np.uint8], pixels[..., None] if pixels.ndim == 2 else pixels)


def _layout(data: bytes) -> _Layout | None:
    layout: _Layout | None = None
    components: dict[int, tuple[int, int]] = {}
    progressive = False
    at, interval = 2, 0
    while (segment := _segment(data, at)) is not None:
        content = data[segment.start + 4 : segment.end]
        at = segment.end
        if segment.marker in _FRAMES and layout is None:
            progressive = segment.marker in _PROGRESSIVE
            height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
            components = {
                content[place]: (content[place + 1] >> 4, content[place + 1] & 15)
                for place in range(6, 6 + 3 * content[5], 3)
            }
            layout = _sized(width, height, components)
        elif segment.marker == _INTERVAL:
            interval = int.from_bytes(content[:2], "big")
        elif segment.marker == _SCAN and layout is not None:
            layout.scan, layout.interval = segment.end, interval
            layout.scans += 1
            _take_scan(layout, content, progressive)
            following = _AFTER_SCAN.search(data, segment.end)
            if following is None:
                return layout
            at = following.end() - 2
            if data[at + 1] == 0xD9:
                return layout
    return layout if layout is not None and layout.scans else None


def _sized(width: int, height: int, components: dict[int, tuple[int, int]]) -> _Layout:
    across = max(h for h, _ in components.values())
    down = max(v for _, v in components.values())
    if len(components) == 1:  # then a block is a block, whatever its factors
        across = down = 1
    blocks = -(-width // (8 * across)) * -(-height // (8 * down))
    left = {(component, place) for component in components for place in range(64)}
    return _Layout(height, 8 * down, blocks, left)


def _take_scan(layout: _Layout, content: bytes, progressive: bool) -> None:
    """Note which coefficients a scan brings to their last bit."""
    count = content[0]
    first, last, bits = content[1 + 2 * count : 4 + 2 * count]
    if not progressive:
        first, last, bits = 0, 63, 0
    layout.refines = bits >> 4 > 0
    if bits & 15 == 0:
        for component in content[1 : 1 + 2 * count : 2]:
            layout.left -= {(component, place) for place in range(first, last + 1)}


def _restarts_are_there(data: bytes, layout: _Layout) -> bool:
    """Whether the last interval between two restarts has begun: those that have not are grey, whatever is missing.

    Only of a scan of all components it is known how many there must be.
    """
    if not layout.interval or layout.scans > 1:
        return True
    there = sum(1 for _ in _RESTART.finditer(data, layout.scan))
    return there >= -(-layout.blocks // layout.interval) - 1
