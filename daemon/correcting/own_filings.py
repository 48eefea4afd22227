"""Remember for a while what this daemon itself has filed, so that it is not taken for what a person put there."""

from __future__ import annotations

from pathlib import Path

#: Own filings that are remembered until the kernel has named them.
_MOST = 50_000


class OwnFilings:
    """Paths that this daemon has just filed images to, which need not be examined. Filled by another thread."""

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}
        self._before: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._paths or self._before)

    def add(self, path: Path) -> None:
        """Remember a path until the second `turn_over` from now."""
        if len(self._paths) < _MOST:
            self._paths[str(path)] = None

    def take(self, path: str) -> bool:
        """Whether a path is one of them; it is forgotten."""
        return self._paths.pop(path, self) is None or self._before.pop(path, self) is None

    def turn_over(self) -> None:
        """Forget what was remembered before the last call."""
        self._before, self._paths = self._paths, {}
