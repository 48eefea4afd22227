"""Sentences that the page's scripts say."""

from __future__ import annotations

from models.text.language import mark, tr

_WORDS = (mark("waiting"),)


def words() -> dict[str, str]:
    """Map the English sentences to those of the language in use."""
    return {word: tr(word) for word in _WORDS}
