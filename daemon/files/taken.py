"""Find out when a picture was taken, by its EXIF data, else by the time of its file; and by which camera.

The data is read in the process that asks, so that it is done without a library: some numbers of a directory of tags,
from wherever a JPEG, TIFF, PNG, WebP, HEIC or AVIF keeps it; nothing is computed with them but offsets into the file.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple, TypeVar

from daemon.files.renaming import FileAt, close
from daemon.files.source import OPEN_FLAGS

#: Where the directories begin, by what formats put before them. A TIFF begins with its header itself.
_BEFORE = re.compile(rb"(?:Exif\x00\x00|eXIf|EXIF.{4})(II\*\x00|MM\x00\*)", re.DOTALL)
_HEADERS = {b"II*\0": "<", b"MM\0*": ">"}
#: Most formats keep the data in front, WebP behind the picture.
_HEAD, _TAIL = 1 << 18, 1 << 16
_MOST_TAGS, _LONGEST_TEXT = 512, 64
_EXIF, _TIME = 0x8769, 0x0132
#: When the picture was taken, or else digitised, each with the tag of its time zone.
_TAKEN = ((0x9003, 0x9011), (0x9004, 0x9012))
#: Maker and model of a camera, and in the inner directory its serial number.
_MAKER, _MODEL, _NUMBER = 0x010F, 0x0110, 0xA431
_WRITTEN = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?")
#: Takes a number of bytes and an offset, and returns those bytes of a file, or fewer at its end.
_Read = Callable[[int, int], bytes]
_ZONE = re.compile(r"([+-])(\d\d):(\d\d)")


ValueT = TypeVar("ValueT")


class Taken(NamedTuple):
    """When a picture was taken, as the clocks there showed it; ``is_exif``: its data says so, and not its file."""

    time: datetime
    is_exif: bool


class Shot(NamedTuple):
    """When a picture was taken, as the clock of its ``camera`` showed it; that is "" where its data does not say it."""

    camera: str
    time: datetime


def taken(image: FileAt, mtime_ns: int) -> Taken:
    """Find out when a picture was taken; ``mtime_ns`` is the time of its file. Raises OSError."""
    descriptor = os.open(image.name, OPEN_FLAGS, dir_fd=image.folder)
    try:
        time = exif_time(descriptor)
    finally:
        close(descriptor)
    return Taken(file_time(mtime_ns), is_exif=False) if time is None else Taken(time, is_exif=True)


def exif_time(descriptor: int) -> datetime | None:
    """Read when a picture was taken, with its time zone where that is known; None where its data does not say it."""
    return _data_of(descriptor, _Tags.time)


def exif_time_in(content: bytes) -> datetime | None:
    """Do as `exif_time`, with the content of a picture."""
    return _data(lambda size, offset: content[offset : offset + size], lambda: len(content), _Tags.time)


def exif_shot(descriptor: int) -> Shot | None:
    """Read when and by which camera a picture was taken; None where its data does not say when."""
    return _data_of(descriptor, _Tags.shot)


def _data_of(descriptor: int, what: Callable[[_Tags], ValueT | None]) -> ValueT | None:
    return _data(lambda size, offset: os.pread(descriptor, size, offset), lambda: os.fstat(descriptor).st_size, what)


def _data(read: _Read, size: Callable[[], int], what: Callable[[_Tags], ValueT | None]) -> ValueT | None:
    try:
        base = _find(read, size)
        return None if base is None else what(_Tags(read, base))
    except (struct.error, LookupError, ValueError, OverflowError):
        return None  # it is cut short, perhaps just now, or says nonsense


def file_time(mtime_ns: int) -> datetime:
    """Return the time of a file, in the zone of this machine."""
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return datetime(1970, 1, 1, tzinfo=UTC)


def _find(read: _Read, size_of: Callable[[], int]) -> int | None:
    head = read(_HEAD, 0)
    if head[:4] in _HEADERS:
        return 0
    if (match := _BEFORE.search(head)) is not None:
        return match.start(1)
    size = size_of()
    start = max(len(head), size - _TAIL)
    match = _BEFORE.search(read(_TAIL, start)) if start < size else None
    return None if match is None else start + match.start(1)


class _Tags:
    """The directories of tags that begin at an offset ``base`` of a file. Methods raise struct.error and ValueError."""

    def __init__(self, read: _Read, base: int) -> None:
        self._read_file, self._base = read, base
        self._order = _HEADERS[self._read(0, 4)]
        self._main = dict(self._tags(self._number(4)))
        inner = self._main.get(_EXIF)
        self._exif = {} if inner is None else dict(self._tags(struct.unpack(f"{self._order}I", inner[2])[0]))

    def time(self) -> datetime | None:
        for time_tag, zone_tag in _TAKEN:
            if (time := _parsed(self._text(self._exif, time_tag))) is not None:
                return time.replace(tzinfo=_zone(self._text(self._exif, zone_tag)))
        return _parsed(self._text(self._main, _TIME))

    def shot(self) -> Shot | None:
        time = self.time()
        return None if time is None else Shot(self._camera(), time.replace(tzinfo=None))

    def _camera(self) -> str:
        texts = (self._text(self._main, _MAKER), self._text(self._main, _MODEL), self._text(self._exif, _NUMBER))
        return " ".join(filter(None, map(str.strip, texts)))

    def _tags(self, offset: int) -> Iterator[tuple[int, tuple[int, int, bytes]]]:
        """Yield the tags of a directory: kind, count, and the value or where it is."""
        (count,) = struct.unpack(f"{self._order}H", self._read(offset, 2))
        directory = self._read(offset + 2, 12 * min(count, _MOST_TAGS))
        for tag, kind, length, value in struct.iter_unpack(f"{self._order}HHI4s", directory):
            yield tag, (kind, length, value)

    def _text(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> str:
        if tag not in tags:
            return ""
        _, length, value = tags[tag]
        if length > 4:
            value = self._read(struct.unpack(f"{self._order}I", value)[0], min(length, _LONGEST_TEXT))
        return value.split(b"\0")[0].decode("ascii", "replace")

    def _number(self, offset: int) -> int:
        return int(struct.unpack(f"{self._order}I", self._read(offset, 4))[0])

    def _read(self, offset: int, size: int) -> bytes:
        return self._read_file(size, self._base + offset)


def _parsed(text: str) -> datetime | None:
    if (match := _WRITTEN.match(text.strip())) is None:
        return None
    year, month, day, hour, minute, second = (int(number or 0) for number in match.groups())
    try:
        return datetime(year, month, day, hour, minute, min(second, 59))
    except ValueError:
        return None  # of a camera whose clock was never set


def _zone(text: str) -> timezone | None:
    if (match := _ZONE.match(text.strip())) is None:
        return None
    sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset) if offset < timedelta(hours=24) else None
