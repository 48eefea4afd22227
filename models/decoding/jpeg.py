"""Remove segments that the picture of a JPEG does not need, and complete files that lack only their last bytes."""

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
# Reserved markers. libjpeg stops at them and at a second start marker, viewers go on.
_STRAY = {*range(0x01, 0xC0), *range(0xF0, 0xFE)}
_START = 0xD8  # stray only directly after the first; later ones begin thumbnails
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}

_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

# How many zeros are examined: at the end of a file, and in the middle of a scan.
_SUSPECT, _ZEROS = 64, bytes(256)

# At most this share of the pixels may depend on the missing end.
_MISSING = 0.04
# At least this share of the rows must be complete to the last bit, if only a last bit can be missing.
_REFINED = 0.75
# Stands in for the missing end: whatever it decodes to, it differs from what a decoder fills in.
_STAND_IN = bytes.fromhex("5ae13c974d81b6742fd39a685ec1387b") * 16


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment, from the ``start`` of its marker to the ``end`` of its content."""

    marker: int
    start: int
    end: int


def without_metadata(data: bytes, *, keep_exif: bool = True) -> bytes:
    """Remove the segments that the picture does not need: comments and application data.

    JFIF and Adobe are kept because libjpeg derives the colour space from them, and EXIF for the orientation. A segment
    with a wrong length ends where the next one begins.
    """
    parts = [data[:2]]
    offset = 2
    for segment in _segments(data):
        offset = segment.end
        content = data[segment.start + 4 : segment.end]
        if segment.marker in _STRAY or (segment.start == 2 and segment.marker == _START):
            continue
        if segment.marker not in _METADATA:
            parts.append(data[segment.start : segment.end])
        elif _is_needed_metadata(segment.marker, content, keep_exif) and len(content) < (1 << 16) - 2:
            parts.append(struct.pack(">BBH", 0xFF, segment.marker, len(content) + 2) + content)
    parts.append(data[offset:])
    return b"".join(parts)


def _is_needed_metadata(marker: int, content: bytes, keep_exif: bool) -> bool:
    return (
        (marker == 0xE0 and len(content) >= 14 and content.startswith(b"JFIF\0"))
        or (marker == 0xE1 and keep_exif and content.startswith(b"Exif\0\0"))
        or (marker == 0xEE and len(content) >= 12 and content.startswith(b"Adobe"))
    )


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments before the first scan."""
    offset = 2
    while (segment := _segment(data, offset)) is not None and segment.marker != _SCAN:
        if segment.marker in _METADATA and not _leads_to_scan(data, segment.end):
            segment = _Segment(segment.marker, segment.start, _next_segment(data, segment.start + 2))
        yield segment
        offset = segment.end


def _segment(data: bytes, offset: int) -> _Segment | None:
    """Return the first segment from an offset on, skipping bytes that belong to none; None at the end."""
    offset = data.find(b"\xff", offset)
    while offset >= 0 and data[offset + 1 : offset + 2] in (b"\xff", b"\0"):
        offset = data.find(b"\xff", offset + 1)
    if offset < 0 or offset + 4 > len(data):
        return None
    marker = data[offset + 1]
    if marker in _WITHOUT_LENGTH:
        return _Segment(marker, offset, offset + 2)
    length = int.from_bytes(data[offset + 2 : offset + 4], "big")
    return _Segment(marker, offset, min(offset + 2 + max(length, 2), len(data)))


def _leads_to_scan(data: bytes, offset: int) -> bool:
    """Return whether segments follow each other from an offset up to a scan."""
    for _ in range(1000):
        if data[offset : offset + 1] != b"\xff":
            return False
        segment = _segment(data, offset)
        if segment is None:
            return False
        if segment.marker == _SCAN:
            return True
        offset = segment.end
    return False


def _next_segment(data: bytes, offset: int) -> int:
    """Return where the first segment after an offset begins; the end of the file if there is none."""
    for _ in range(1000):
        offset = data.find(b"\xff", offset)
        if offset < 0:
            return len(data)
        if data[offset + 1 : offset + 2] not in (b"\0", b"\xff") and _leads_to_scan(data, offset):
            return offset
        offset += 1
    return len(data)


# Unwritten ends


def without_unwritten(data: bytes) -> bytes:
    """Return the file up to the zeros that were never overwritten with its picture; all of it if there are none.

    Such a file was created at full length, and not written to its end. Zeros at the end of the file are unwritten if no
    end marker comes before them. Zeros inside the picture are unwritten if they cannot be the code of a flat area.
    """
    if data.endswith(_ZEROS[:_SUSPECT]):
        return data if _has_end(data) else data.rstrip(b"\0")
    if data.find(_ZEROS) < 0 or _may_encode_flat_area_as_zeros(data):
        return data
    scans = list(_scans(data))
    unwritten = data.find(_ZEROS, *scans[0]) if len(scans) == 1 else -1
    return data[:unwritten] if unwritten >= 0 else data


def _scans(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the data of each scan begins and ends."""
    offset = 2
    while (segment := _segment(data, offset)) is not None and segment.marker != _END:
        offset = segment.end
        if segment.marker == _SCAN:
            following = _AFTER_SCAN.search(data, offset)
            end = following.end() - 2 if following else len(data)
            yield offset, end
            offset = end


def _has_end(data: bytes) -> bool:
    """Return whether an end marker follows the last scan, whatever comes after it."""
    ends = [end for _, end in _scans(data)]
    return bool(ends) and data[ends[-1] + 1 : ends[-1] + 2] == END[1:]


def _may_encode_flat_area_as_zeros(data: bytes) -> bool:
    """Return whether a flat area may be encoded as zeros, so that zeros in a scan do not prove that it is unwritten.

    It is if the all-zero code means the end of a block in every table. In most files that holds for the tables of the
    colours, but not for that of the brightness; then a scan of all components never has many zeros in a row.
    """
    has_coefficient = False
    for segment in _segments(data):
        if segment.marker in _FRAMES and segment.marker not in _SEQUENTIAL:
            return True
        offset = segment.start + 4
        while segment.marker == _TABLES and offset + 17 < segment.end:
            is_coefficient = bool(data[offset] >> 4 and data[offset + 17] & 15)  # what the all-zero code means
            has_coefficient = has_coefficient or is_coefficient
            offset += 17 + sum(data[offset + 1 : offset + 17])
    return not has_coefficient


# Missing ends


@dataclass(slots=True)
class _Layout:
    """The layout of a frame and its scans.

    ``mcus`` is the number of minimum coded units, each of which holds the blocks of all components for one place, and
    ``mcu_height`` their height in pixels. ``incomplete`` holds the coefficients (component, index) that no scan has
    brought to their last bit. ``scan_start`` is where the data of the last scan begins; ``refines`` tells whether that
    scan only adds bits. ``interval`` is the number of units between two restart markers, 0 for none.
    """

    height: int
    mcu_height: int
    mcus: int
    incomplete: set[tuple[int, int]]
    scan_start: int = 0
    scans: int = 0
    refines: bool = False
    interval: int = 0


def with_end(data: bytes, load: Callable[[bytes], ImageFile]) -> bytes | None:
    """Append the end marker to a file that lacks only its last bytes; return None if it lacks more.

    ``load`` decodes a file. It is called for two completions of this one: pixels that differ between them depend on the
    missing bytes. They must be few, and in the last row of MCUs. All scans must have begun; if the last one only adds
    the last bit of some coefficients, more rows may depend on the missing bytes.
    """
    try:
        layout = _layout(data)
        if layout is None or layout.incomplete or not _has_all_restarts(data, layout):
            return None
        completed = data.rstrip(b"\xff") + END
        pixels = _pixels(load(completed))
        other_pixels = _pixels(load(data.rstrip(b"\xff") + _STAND_IN + END))
    except Exception:  # then it is not a picture
        return None
    rows = np.flatnonzero((pixels != other_pixels).any(axis=(1, 2)))
    if not rows.size:
        return completed
    if layout.refines:  # only the last bit of some coefficients is missing
        return completed if rows[0] >= _REFINED * pixels.shape[0] else None
    # If colours are subsampled, upsampling mixes the last row of MCUs into the two rows of pixels above it.
    first_row = (layout.height - 1) // layout.mcu_height * layout.mcu_height - 2
    share = float((pixels != other_pixels).any(axis=2).mean())
    return completed if rows[0] >= first_row * pixels.shape[0] // layout.height and share <= _MISSING else None


def _pixels(image: ImageFile) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image)
    return cast(npt.NDArray[np.uint8], pixels[..., None] if pixels.ndim == 2 else pixels)


def _layout(data: bytes) -> _Layout | None:
    layout: _Layout | None = None
    components: dict[int, tuple[int, int]] = {}
    progressive = False
    offset, interval = 2, 0
    while (segment := _segment(data, offset)) is not None:
        content = data[segment.start + 4 : segment.end]
        offset = segment.end
        if segment.marker in _FRAMES and layout is None:
            progressive = segment.marker in _PROGRESSIVE
            height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
            components = {
                content[start]: (content[start + 1] >> 4, content[start + 1] & 15)
                for start in range(6, 6 + 3 * content[5], 3)
            }
            layout = _frame_layout(width, height, components)
        elif segment.marker == _INTERVAL:
            interval = int.from_bytes(content[:2], "big")
        elif segment.marker == _SCAN and layout is not None:
            layout.scan_start, layout.interval = segment.end, interval
            layout.scans += 1
            _note_scan(layout, content, progressive)
            following = _AFTER_SCAN.search(data, segment.end)
            if following is None:
                return layout
            offset = following.end() - 2
            if data[offset + 1] == 0xD9:
                return layout
    return layout if layout is not None and layout.scans else None


def _frame_layout(width: int, height: int, components: dict[int, tuple[int, int]]) -> _Layout:
    across = max(h for h, _ in components.values())
    down = max(v for _, v in components.values())
    if len(components) == 1:  # then the sampling factors have no effect
        across = down = 1
    mcus = -(-width // (8 * across)) * -(-height // (8 * down))
    incomplete = {(component, index) for component in components for index in range(64)}
    return _Layout(height, 8 * down, mcus, incomplete)


def _note_scan(layout: _Layout, content: bytes, progressive: bool) -> None:
    """Remove from ``layout.incomplete`` the coefficients that a scan brings to their last bit."""
    count = content[0]
    first, last, bits = content[1 + 2 * count : 4 + 2 * count]
    if not progressive:
        first, last, bits = 0, 63, 0
    layout.refines = bits >> 4 > 0
    if bits & 15 == 0:
        for component in content[1 : 1 + 2 * count : 2]:
            layout.incomplete -= {(component, index) for index in range(first, last + 1)}


def _has_all_restarts(data: bytes, layout: _Layout) -> bool:
    """Return whether the last restart interval has begun; intervals that have not are grey whatever the end decodes to.

    The number of intervals is only known if one scan holds all components.
    """
    if not layout.interval or layout.scans > 1:
        return True
    count = sum(1 for _ in _RESTART.finditer(data, layout.scan_start))
    return count >= -(-layout.mcus // layout.interval) - 1
