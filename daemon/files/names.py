"""Choose names for files that may not replace each other: cat.jpg, cat_2.jpg, cat_3.jpg, …"""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

#: An extension longer than this (bytes, with its dot) is taken for a part of the name.
_LONGEST_EXTENSION = 32
#: How a file system refuses a name that it cannot hold; which of them, depends on its driver.
NAME_REFUSED = frozenset({errno.EINVAL, errno.EILSEQ, errno.ENOENT})
#: What FAT, exFAT, NTFS and SMB cannot hold: these, control characters, and bytes that are no text.
_FORBIDDEN = re.compile(r'[:?*"<>|\\\x00-\x1f\x7f\ud800-\udfff]')
_FORBIDDEN_AT_THE_END = re.compile(r"[. ]+$")
#: Names of devices in DOS, with any extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$) *(?=\.|$)", re.IGNORECASE)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def numbered(name: str, number: int, limit: int = 255) -> str:
    """Return the ``number``-th choice for ``name``; the first is the name itself.

    ``limit`` is the longest name of the file system in bytes: the stem is shortened to fit, at a character, and the
    extension is kept. Any name a file can have is allowed, also one that is not valid UTF-8.
    """
    if number == 1 and (len(name) * 4 <= limit or len(os.fsencode(name)) <= limit):
        return name
    suffix = "" if number == 1 else f"_{number}"
    stem, extension = os.path.splitext(name)  # noqa: PTH122 - a Path would read "." and ".." into the name
    if len(os.fsencode(extension)) > _LONGEST_EXTENSION:
        stem, extension = name, ""
    room = limit - len(os.fsencode(suffix + extension))
    return _shortened(stem, room) + suffix + extension


def simpler_name(name: str) -> str:
    """Return the name to try next where a file system cannot hold ``name``; ``name`` if none is left.

    First a name that exFAT, NTFS and SMB can hold, with ``_`` in place of what they cannot; then one of ASCII, as in an
    address of the web, for a drive that is mounted for the letters of another language.
    """
    simpler = _FORBIDDEN.sub("_", name)
    simpler = _FORBIDDEN_AT_THE_END.sub(lambda end: "_" * len(end[0]), simpler)
    if reserved := _RESERVED.match(simpler):
        simpler = f"{reserved[1]}_{simpler[reserved.end() :]}"
    return simpler if simpler != name else _BEYOND_ASCII.sub(lambda letter: quote(letter[0]), name)


def spellings(name: str) -> list[str]:
    """List a name as it was typed, in NFC and in NFD.

    Names from macOS are in NFD, a keyboard types NFC, and nobody sees the difference.
    """
    return list(dict.fromkeys([name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]))


def free_number(taken: Callable[[int], bool]) -> int:
    """Find a number that is not ``taken``, in O(log n) tries where 1 to n are.

    With gaps it may be one of them or the end. Only a hint: the kernel decides whether the name is free.
    """
    if not taken(1):
        return 1
    low, high = 1, 2
    while taken(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if taken(middle):
            low = middle
        else:
            high = middle
    return high


def _shortened(text: str, room: int) -> str:
    """Cut ``text`` to at most ``room`` bytes, not inside a character."""
    end, used = 0, 0
    while end < len(text) and (used := used + len(os.fsencode(text[end]))) <= room:
        end += 1
    while 0 < end < len(text) and _continues(text[end]):
        end -= 1
    return text[:end]


def _continues(character: str) -> bool:
    """Whether a character belongs to the one before it: an accent, or a later letter of a Hangul syllable."""
    return bool(unicodedata.combining(character)) or "\u1160" <= character <= "\u11ff"
