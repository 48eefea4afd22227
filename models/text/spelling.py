"""Suggest names for misspelled ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import normalize


def closest(given: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to ``given``, ignoring case; None if none is near."""
    return next(iter(nearest(given, known, 1)), None)


def nearest(given: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return the known names that are near to ``given``, ignoring case, the nearest first; at most ``limit``.

    A syllable of Hangul counts as its letters: a name may have no more than one or two of them.
    """
    names = {_letters(name): name for name in known}
    return [names[near] for near in get_close_matches(_letters(given), names, n=limit)]


def _letters(name: str) -> str:
    return normalize("NFD", name.casefold())
