"""Let the C library return free memory to the system. With another one than glibc, all functions do nothing."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_PLENTY = 16 << 20


def keep_little() -> None:
    """Let the C library's threads share two heaps; to be called before there are threads.

    Else there is a heap for almost each, and each keeps the holes that models let go of have left: over 180 changes
    between three models, the smallest had 137 to 170 MB resident when it was in use, and with this 119 to 130 MB.
    """
    _set(_M_ARENA_MAX, 2)


def keep_plenty() -> None:
    """Have the C library keep 16 MB of free memory, and take larger pieces from the system each time.

    By default it gives nearly all back after each image and asks for it again: 200 page faults and a third of the time
    of a picture of 150 px.
    """
    _set(_M_TRIM_THRESHOLD, _PLENTY)
    _set(_M_MMAP_THRESHOLD, _PLENTY)


def give_back() -> None:
    """Give memory that is free again, such as that of a model let go of, back to the system.

    The C library keeps it otherwise: over 60 changes between three models, 150 MB were resident with this and 340
    without. It takes some milliseconds, without Python's lock; to collect cycles, which a model has none of, would hold
    that for 30 ms.
    """
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _set(option: int, value: int) -> None:
    """See mallopt(3)."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(option, value)
