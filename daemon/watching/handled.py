"""Files that were dealt with and still lie in the inbox (copied or linked): they are not offered again."""

from __future__ import annotations

from daemon.watching.settle import Signature


class Handled:
    """Files dealt with: a number for each file and state (some 75 bytes), forgotten two walks after the file is gone.

    Two files share a number once in 2**64; the second would then be left alone until a restart.
    """

    def __init__(self) -> None:
        self._met: dict[int, int] = {}  # the file's number: the turn in which it was last met
        self._turn = 0

    def __len__(self) -> int:
        return len(self._met)

    def add(self, path: str, signature: Signature) -> None:
        """Remember a file in this state."""
        self._met[hash((path, signature))] = self._turn

    def meet(self, path: str, signature: Signature) -> bool:
        """Whether the file was dealt with in this state; if so it is remembered for one more walk."""
        key = hash((path, signature))
        known = key in self._met
        if known:
            self._met[key] = self._turn
        return known

    def turn(self) -> None:
        """End a whole walk: forget files that were dealt with before it and not met in it."""
        for key in [key for key, turn in self._met.items() if turn < self._turn]:
            del self._met[key]
        self._turn += 1
