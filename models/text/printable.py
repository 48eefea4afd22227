"""The one way in which text that may hold a hostile file name is shown: on one line, with nothing to act on.

A byte that is no UTF-8, which Python has as a lone surrogate, is shown as ``\\xe9``, a control character as ``\\n`` or
``\\x1b``, any other character that does not print by its number, ``\\u202e``.
"""

from __future__ import annotations

import os
import unicodedata


def shown(text: str) -> str:
    """Text fit for one line of a log or a terminal."""
    return text if text.isprintable() else "".join(map(_shown, text))


def quoted(text: str) -> str:
    """A file name that can be pasted into a shell, between quotes of the user's own where `shown` would not change it.

    Others are given as ``$'…'``, which bash, zsh and POSIX know, and so are those that look like that.
    """
    if text.isprintable() and not text.startswith("$'"):
        return text
    return "$'" + "".join(map(_quoted, text)) + "'"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a name that is no UTF-8, see PEP 383
        return f"\\x{number - 0xDC00:02x}"
    if 0x80 <= number <= 0xFF:
        return f"\\u{number:04x}"  # not the byte of that number
    return character.encode("unicode_escape", "surrogatepass").decode()


def _quoted(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character == "\n":
        return "\\n"
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


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
