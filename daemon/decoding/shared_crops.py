"""Memory that a decoder shares with the daemon, so that crops need not go through the socket.

It has a slot for each image of a request, from 0, with pixels, the source of the image (which file was read) and a
state. A decoder that a hostile
image has taken over can write wrong values there at any time, but nothing else, and it cannot shrink the memory while
the daemon has it mapped (`memfd_create(2)`, ``F_SEAL_SHRINK``).
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
from models.decoding.images import Crop, Transform

# Memory is only taken where something was written, so there may be plenty: 12 crops of 480 px.
_USUAL_SIZE = 8 << 20

#: Slots at most.
SLOTS = 8

_LENGTH = struct.Struct("=I")
_SLOT_BYTES = 1024  # for the source of a slot, in JSON, with its length and the state of the slot before it
_TEXT = 2 * _LENGTH.size  # where in these bytes the JSON begins
_CANCELLED = SLOTS * _SLOT_BYTES  # behind all slots: whether the images that are not started are cancelled
_CROPS = _CANCELLED + 64  # where the crops begin

_MFD_NOEXEC_SEAL = 8  # linux/memfd.h; Linux since 6.3 wants it, and older ones do not know it
_SEALS = fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SlotState(IntEnum):
    """Result of decoding an image. Crops can be used before the answer comes."""

    NO_CROPS = 1
    CROPS = 2
    CROPS_WITHOUT_END = 3  # the file lacks its end


def size_for(transforms: Iterable[Transform]) -> int:
    """Return how many bytes a buffer for these crops of one image needs."""
    return max(_USUAL_SIZE, _CROPS + sum(map(_bytes, transforms)))


def slots_for(transforms: Iterable[Transform]) -> int:
    """Return how many images fit into a buffer of the usual size with these crops."""
    return max(1, min(SLOTS, (_USUAL_SIZE - _CROPS) // max(1, sum(map(_bytes, transforms)))))


def create(size: int) -> int:
    """Make new memory of ``size`` bytes; return its descriptor. Raises OSError."""
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
    """Shared memory, mapped into one process. The descriptor stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, 0)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self._memory)

    def clear(self) -> None:
        """Clear all sources, states and the mark of cancelling."""
        for slot in range(SLOTS):
            self._memory[slot * _SLOT_BYTES : slot * _SLOT_BYTES + _TEXT] = bytes(_TEXT)
        self._memory[_CANCELLED] = 0

    def cancel_unstarted(self) -> None:
        """Cancel the images that the decoder has not started."""
        self._memory[_CANCELLED] = 1

    @property
    def is_cancelled(self) -> bool:
        """Whether the images that are not started are cancelled."""
        return self._memory[_CANCELLED] != 0

    def write_source(self, slot: int, source: Mapping[str, object]) -> None:
        """Write which file was read, its length last: a decoder killed meanwhile leaves the whole of it or nothing."""
        text = json.dumps(source).encode("ascii")
        offset = slot * _SLOT_BYTES
        self._memory[offset + _TEXT : offset + _TEXT + len(text)] = text
        _LENGTH.pack_into(self._memory, offset, len(text))

    def has_source(self, slot: int) -> bool:
        """Whether a source was written."""
        return any(self._memory[slot * _SLOT_BYTES : slot * _SLOT_BYTES + _LENGTH.size])

    def source(self, slot: int) -> dict[str, Any] | None:
        """Read the source, if one was written; raises `ValueError` where it is invalid."""
        offset = slot * _SLOT_BYTES
        (length,) = _LENGTH.unpack_from(self._memory, offset)
        if length == 0:
            return None
        return parsed(self._memory[offset + _TEXT : offset + min(_TEXT + length, _SLOT_BYTES)])

    def mark_finished(self, slot: int, state: SlotState = SlotState.NO_CROPS) -> None:
        """Mark the image as finished."""
        _LENGTH.pack_into(self._memory, slot * _SLOT_BYTES + _LENGTH.size, state)

    def slot_state(self, slot: int) -> int:
        """Read the `SlotState`: 0 while the image is not finished, any number from a decoder that was taken over."""
        (state,) = _LENGTH.unpack_from(self._memory, slot * _SLOT_BYTES + _LENGTH.size)
        return int(state)

    def finished_count(self) -> int:
        """Count the finished images: slots are finished in order, from 0."""
        offsets = (slot * _SLOT_BYTES + _LENGTH.size for slot in range(SLOTS))
        flags = (any(self._memory[offset : offset + _LENGTH.size]) for offset in offsets)
        return sum(takewhile(bool, flags))

    def write_crops(self, slot: int, crops: Sequence[Crop]) -> None:
        """Write the crops of an image; the crops of every slot have the same size."""
        offset = _CROPS + slot * sum(crop.nbytes for crop in crops)
        for crop in crops:
            self._memory[offset : offset + crop.nbytes] = crop.reshape(-1).data
            offset += crop.nbytes

    def crops(self, slot: int, transforms: Sequence[Transform]) -> list[Crop]:
        """Copy the crops of an image: one for each transform, of shape (crop, crop, 3)."""
        crops = []
        offset = _CROPS + slot * sum(map(_bytes, transforms))
        for transform in transforms:
            pixels = np.frombuffer(self._memory, np.uint8, _bytes(transform), offset)
            crops.append(pixels.reshape(transform.crop, transform.crop, 3).copy())
            offset += pixels.nbytes
        return crops

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()


def _bytes(transform: Transform) -> int:
    return 3 * transform.crop**2
