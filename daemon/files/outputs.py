"""Say in which output a path lies: the main one, or one that the rule of a class names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def output_of(path: Path, outputs: Iterable[Path]) -> Path | None:
    """Return the output that a file or folder lies in, and is not itself; None where it lies in none."""
    return next((output for output in outputs if output in path.parents), None)


def place_in(path: Path, outputs: Sequence[Path]) -> str:
    """Name a path for people: below the main output, which is the first, and else as a whole."""
    return str(path.relative_to(outputs[0]) if path.is_relative_to(outputs[0]) else path)
