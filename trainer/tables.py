"""Tables of plain text whose columns stay straight whatever script they hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: Hangul and the like two a character, combining marks none."""
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) in ("Me", "Cf")
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in unicodedata.normalize("NFC", text)
    )


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text with spaces up to ``width`` columns, before it with ``right``, else after it."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces


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
