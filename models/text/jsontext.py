"""JSON with the letters that it has, Hangul as Hangul; what a stream or a terminal cannot take is escaped."""

from __future__ import annotations

import json
from typing import Any


def json_text(value: Any, *, encoding: str | None = None, indent: int | None = None) -> str:
    """A value as JSON in which a stream of this encoding (None: UTF-8) can write every character.

    Without ``indent`` it is one line, whoever splits lines. What does not print is escaped, and so are bytes of a file
    name that are no UTF-8: Python has them as lone surrogates, and reads them back from ``\\udce9``.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable() and _can_write(text, encoding or "utf-8"):
        return text
    return "\n".join("".join(_escaped(each, encoding or "utf-8") for each in line) for line in text.split("\n"))


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
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
