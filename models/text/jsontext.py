"""Format JSON with letters such as Hangul unescaped; what a stream or a terminal cannot show is escaped."""

from __future__ import annotations

import json
from typing import Any


def json_text(value: Any, *, encoding: str | None = None, indent: int | None = None) -> str:
    """Format a value as JSON that a stream of this encoding (None: UTF-8) can write.

    Without ``indent`` it is one line, however lines are split. Unprintable characters are escaped, and so are bytes of
    file names that are not valid UTF-8: Python has them as lone surrogates, and reads them back from ``\\udce9``.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable() and _can_write(text, encoding or "utf-8"):
        return text
    return "\n".join(
        "".join(_escaped(character, encoding or "utf-8") for character in line) for line in text.split("\n")
    )


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _escaped(character: str, encoding: str) -> str:
    if character.isascii() and character != "\x7f":
        return character
    if character.isprintable() and _can_write(character, encoding):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[index]:02x}{units[index + 1]:02x}" for index in range(0, len(units), 2))
