"""Tables of plain text whose columns stay straight whatever script they hold, and lists that are cut."""

from __future__ import annotations

from collections.abc import Sequence

from models.text.language import tr
from models.text.printable import columns, padded

__all__ = ["columns", "padded", "table"]


def table(rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Rows of equally many cells as lines; the first ``words`` columns begin and the others end below each other."""
    widths = [max(columns(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            padded(cell, width, right=at >= words) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def listed(items: Sequence[str], most: int) -> str:
    """The first ``most`` items, and how many more there are."""
    names = ", ".join(items[:most])
    return names if len(items) <= most else tr("{names}, and {count} more", names=names, count=len(items) - most)
