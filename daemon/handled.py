"""Which files were dealt with and still lie in the inbox (copies, links): they are not offered again."""

from __future__ import annotations

from daemon.settle import Signature


class Handled:
    """One number for each file and state, forgotten some walks after the file is gone.

    Two files share a number once in 2**64; the second would then wait for a restart.
    """

    def __init__(self) -> None:
        self._before: set[int] = set()
        self._since: set[int] = set()

    def __len__(self) -> int:
        return len(self._before | self._since)

    def add(self, path: str, signature: Signature) -> None:
        """Remember a file in this state."""
        self._since.add(hash((path, signature)))

    def meet(self, path: str, signature: Signature) -> bool:
        """Whether the file was dealt with in this state; if so it is remembered for one more walk."""
        key = hash((path, signature))
        if key in self._before:
            self._since.add(key)
        return key in self._since

    def turn(self) -> None:
        """A walk has met all there is: forget what was not met since the walk before."""
        self._before, self._since = self._since, set()
