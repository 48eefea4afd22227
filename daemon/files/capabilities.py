"""Keep the capability that the systemd unit grants from decoders and commands."""

from __future__ import annotations

import ctypes

_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def keep_from_children() -> None:
    """Let no program that is started from here on have a capability; this process keeps those that it has.

    A program that root starts has all of them anyway.
    """
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
