"""Show text that may hold a hostile file name: on one line, without control characters for a terminal to act on.

A byte that is not valid UTF-8, which Python has as a lone surrogate, is shown as ``\\xe9``, a control character as
``\\n`` or ``\\x1b``, any other unprintable character by its number, as ``\\u202e``.
"""

from __future__ import annotations

import os
import unicodedata


def shown(text: str) -> str:
    """Escape text for one line of a log or a terminal."""
    return text if text.isprintable() else "".join(map(_shown, text))


def quoted(text: str) -> str:
    """Format a file name for pasting into a shell.

    A printable name is returned as it is, for the user to quote. Others are formatted as ``$'…'``, which bash, zsh and
    POSIX understand, and so are names that begin like that.
    """
    if text.isprintable() and not text.startswith("$'"):
        return text
    return "$'" + "".join(map(_quoted, text)) + "'"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a name that is not valid UTF-8, see PEP 383
        return f"\\x{number - 0xDC00:02x}"
    if 0x80 <= number <= 0xFF:
        return f"\\u{number:04x}"  # \x is for bytes
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
    """Count the columns of a text on a terminal: two for Hangul and other wide characters, none for combining marks."""
    return sum(
        0
        if unicodedata.combining(character) or unicodedata.category(character) in ("Me", "Cf")
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in unicodedata.normalize("NFC", text)
    )


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Pad text with spaces to ``width`` columns: on the left with ``right``, else on the right."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces
