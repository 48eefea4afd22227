"""The memory that a decoder shares with the daemon, in which it leaves its crops: they pass no socket, nobody waits.

Nothing but pixels, and a short JSON note, comes this way: a decoder that a hostile image has taken over can write wrong
ones, at any moment, and that is all. The memory cannot be cut short under the daemon's feet (`memfd_create(2)`,
``F_SEAL_SHRINK``).
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from models.images import Crop, Transform

# Memory is only taken where something was written, so there may be plenty: 12 crops of 480 px.
_USUAL = 8 << 20

_LENGTH = struct.Struct("=I")
_CROPS = 1024  # where they begin; the note is before them

_MFD_NOEXEC_SEAL = 8  # linux/memfd.h; Linux since 6.3 wants it, and older ones do not know it
_SEALS = fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def size_for(transforms: Iterable[Transform]) -> int:
    """The bytes that a buffer for these crops needs."""
    return max(_USUAL, _CROPS + sum(map(_bytes, transforms)))


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
    """The memory as one process sees it. The descriptor stays the caller's."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, 0)

    @property
    def size(self) -> int:
        """Bytes altogether."""
        return len(self._memory)

    def clear(self) -> None:
        """Take the note away."""
        _LENGTH.pack_into(self._memory, 0, 0)

    def write_note(self, note: Mapping[str, object]) -> None:
        """Leave a note, which is there at once, or, where it is cut off, not at all."""
        text = json.dumps(note).encode("ascii")
        self._memory[_LENGTH.size : _LENGTH.size + len(text)] = text
        _LENGTH.pack_into(self._memory, 0, len(text))

    def has_note(self) -> bool:
        """Whether there is a note."""
        return any(self._memory[: _LENGTH.size])

    def note(self) -> dict[str, Any] | None:
        """The note, if there is one; raises `ValueError` where it is nonsense."""
        (length,) = _LENGTH.unpack_from(self._memory)
        if length == 0:
            return None
        note = json.loads(self._memory[_LENGTH.size : min(_LENGTH.size + length, _CROPS)])
        if not isinstance(note, dict):
            raise ValueError("a note that is no object")
        return note

    def write_crops(self, crops: Iterable[Crop]) -> None:
        """Leave crops."""
        place = _CROPS
        for crop in crops:
            self._memory[place : place + crop.nbytes] = crop.reshape(-1).data
            place += crop.nbytes

    def crops(self, transforms: Sequence[Transform]) -> list[Crop]:
        """Copies of the crops, one for each transform, as (crop, crop, 3)."""
        crops = []
        place = _CROPS
        for transform in transforms:
            pixels = np.frombuffer(self._memory, np.uint8, _bytes(transform), place)
            crops.append(pixels.reshape(transform.crop, transform.crop, 3).copy())
            place += pixels.nbytes
        return crops

    def close(self) -> None:
        """Give the memory back, as far as it is ours."""
        self._memory.close()


def _bytes(transform: Transform) -> int:
    return 3 * transform.crop**2
