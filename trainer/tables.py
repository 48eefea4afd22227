"""Format what the trainer prints: lines by topic, tables aligned in any script, and lists cut to a length."""

from __future__ import annotations

from collections.abc import Sequence

from models.text.language import tr
from models.text.printable import columns, padded

__all__ = ["columns", "listed", "padded", "say", "table"]


def table(rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Format rows of equally many cells; the first ``words`` columns are aligned left, the others right."""
    widths = [max(columns(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            padded(cell, width, right=column >= words)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def listed(items: Sequence[str], most: int) -> str:
    """Join the first ``most`` items, and say how many more there are."""
    names = ", ".join(items[:most])
    return names if len(items) <= most else tr("{names}, and {count} more", names=names, count=len(items) - most)


def say(topic: str, text: str) -> None:
    """Print one line; an empty topic continues the one before."""
    print(padded(topic, 11) + text, flush=True)
