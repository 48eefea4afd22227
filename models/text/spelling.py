"""What somebody who misspelled a name most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(given: str, known: Iterable[str]) -> str | None:
    """The known name that is nearest to one that is not known; None where none is near."""
    names = {each.casefold(): each for each in known}
    near = get_close_matches(given.casefold(), names, n=1)
    return names[near[0]] if near else None
