"""The memory that a decoder shares with the daemon, in which it leaves its crops: they pass no socket.

It has a slot for each image that a decoder is given at once, from 0. Nothing but pixels, a short JSON note, and how the
image is finished comes this way: a decoder that a hostile image has taken over can write wrong ones, at any moment,
and that is all. The memory cannot be cut short under the daemon's feet (`memfd_create(2)`, ``F_SEAL_SHRINK``).
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from itertools import takewhile
from typing import Any

import numpy as np

from daemon.decoding.channel import parsed
from models.images import Crop, Transform

# Memory is only taken where something was written, so there may be plenty: 12 crops of 480 px.
_USUAL = 8 << 20

#: Slots at most.
SLOTS = 8

_LENGTH = struct.Struct("=I")
_NOTE = 1024  # bytes for each note, its length and how the image is finished before it
_TEXT = 2 * _LENGTH.size  # where in them the note itself begins
_CUT = SLOTS * _NOTE  # behind all notes: whether the images that are not begun are taken back
_CROPS = _CUT + 64  # where the crops begin

_MFD_NOEXEC_SEAL = 8  # linux/memfd.h; Linux since 6.3 wants it, and older ones do not know it
_SEALS = fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SlotState(IntEnum):
    """How an image is finished: with crops, which can be used before the answer comes, or in some other way."""

    OTHERWISE = 1
    CROPS = 2
    CROPS_WITHOUT_END = 3  # of the file


def size_for(transforms: Iterable[Transform]) -> int:
    """The bytes that a buffer for these crops of one image needs."""
    return max(_USUAL, _CROPS + sum(map(_bytes, transforms)))


def slots_for(transforms: Iterable[Transform]) -> int:
    """How many images have room for these crops in a buffer of that size."""
    return max(1, min(SLOTS, (_USUAL - _CROPS) // max(1, sum(map(_bytes, transforms)))))


def create(size: int) -> int:
    """New memory of so many bytes, as a descriptor. Raises OSError."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("crops", flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = os.memfd_create("crops", flags)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, *_SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class CropBuffer:
    """The shared memory, mapped into one process. The descriptor stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, 0)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self._memory)

    def clear(self) -> None:
        """Clear all notes and marks."""
        for slot in range(SLOTS):
            self._memory[slot * _NOTE : slot * _NOTE + _TEXT] = bytes(_TEXT)
        self._memory[_CUT] = 0

    def cut(self) -> None:
        """Take back the images that are not begun."""
        self._memory[_CUT] = 1

    @property
    def is_cut(self) -> bool:
        """Whether only the image that is begun is still wanted."""
        return self._memory[_CUT] != 0

    def write_note(self, slot: int, note: Mapping[str, object]) -> None:
        """Leave a note, which is there at once, or, where it is cut off, not at all."""
        text = json.dumps(note).encode("ascii")
        place = slot * _NOTE
        self._memory[place + _TEXT : place + _TEXT + len(text)] = text
        _LENGTH.pack_into(self._memory, place, len(text))

    def has_note(self, slot: int) -> bool:
        """Whether there is a note."""
        return any(self._memory[slot * _NOTE : slot * _NOTE + _LENGTH.size])

    def note(self, slot: int) -> dict[str, Any] | None:
        """The note, if there is one; raises `ValueError` where it is nonsense."""
        place = slot * _NOTE
        (length,) = _LENGTH.unpack_from(self._memory, place)
        if length == 0:
            return None
        return parsed(self._memory[place + _TEXT : place + min(_TEXT + length, _NOTE)])

    def finish(self, slot: int, how: SlotState = SlotState.OTHERWISE) -> None:
        """Mark the image as finished."""
        _LENGTH.pack_into(self._memory, slot * _NOTE + _LENGTH.size, how)

    def finish_of(self, slot: int) -> int:
        """How the image is finished; 0 where it is not, and any number by a decoder that was taken over."""
        (how,) = _LENGTH.unpack_from(self._memory, slot * _NOTE + _LENGTH.size)
        return int(how)

    def finished(self) -> int:
        """How many images are finished, those of the first slots."""
        places = (slot * _NOTE + _LENGTH.size for slot in range(SLOTS))
        flags = (any(self._memory[place : place + _LENGTH.size]) for place in places)
        return sum(takewhile(bool, flags))

    def write_crops(self, slot: int, crops: Sequence[Crop]) -> None:
        """Leave the crops of an image; those of the others are as large."""
        place = _CROPS + slot * sum(crop.nbytes for crop in crops)
        for crop in crops:
            self._memory[place : place + crop.nbytes] = crop.reshape(-1).data
            place += crop.nbytes

    def crops(self, slot: int, transforms: Sequence[Transform]) -> list[Crop]:
        """Copies of the crops of an image, one for each transform, as (crop, crop, 3)."""
        crops = []
        place = _CROPS + slot * sum(map(_bytes, transforms))
        for transform in transforms:
            pixels = np.frombuffer(self._memory, np.uint8, _bytes(transform), place)
            crops.append(pixels.reshape(transform.crop, transform.crop, 3).copy())
            place += pixels.nbytes
        return crops

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()


def _bytes(transform: Transform) -> int:
    return 3 * transform.crop**2
