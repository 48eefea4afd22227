"""Suggest names for misspelled ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(given: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to ``given``, ignoring case; None if none is near."""
    names = {name.casefold(): name for name in known}
    near = get_close_matches(given.casefold(), names, n=1)
    return names[near[0]] if near else None
