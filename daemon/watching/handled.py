"""Files that were dealt with and still lie in the inbox (copied or linked), or are held: they are not offered again."""

from __future__ import annotations

from typing import Protocol

from daemon.watching.settle import Signature


class HeldFiles(Protocol):
    """Files that are not to be offered until they change, whoever decided so."""

    def __len__(self) -> int:
        """Return how many there are."""

    def seems_held(self, path: str, size: int, mtime_ns: int, inode: int) -> bool:
        """Whether a file in this state is one of them; an ``inode`` of 0 is not known."""


class Handled:
    """Files dealt with: a number for each file and state (some 75 bytes), forgotten two walks after the file is gone.

    Two files share a number once in 2**64; the second would then be left alone until a restart.
    """

    def __init__(self) -> None:
        self.held: HeldFiles | None = None
        self._met: dict[int, int] = {}  # the file's number: the turn in which it was last met
        self._turn = 0

    def __len__(self) -> int:
        return len(self._met)

    @property
    def knows_any(self) -> bool:
        """Whether there is any file that `meet` could know."""
        return bool(self._met or self.held)

    def add(self, path: str, signature: Signature) -> None:
        """Remember a file in this state."""
        self._met[hash((path, signature))] = self._turn

    def forget(self, path: str, signature: Signature) -> None:
        """Let a file be offered again although it is in this state."""
        self._met.pop(hash((path, signature)), None)

    def meet(self, path: str, signature: Signature) -> bool:
        """Whether the file was dealt with in this state, or is held; the former is remembered for one more walk."""
        key = hash((path, signature))
        known = key in self._met
        if known:
            self._met[key] = self._turn
        return known or (self.held is not None and self.held.seems_held(path, *signature))

    def turn(self) -> None:
        """End a whole walk: forget files that were dealt with before it and not met in it."""
        for key in [key for key, turn in self._met.items() if turn < self._turn]:
            del self._met[key]
        self._turn += 1
