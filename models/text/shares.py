"""Shares as people write them: 0.05, 5 %, 1/20."""

from __future__ import annotations

import math
import re

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PERCENTAGE = re.compile(rf"({_NUMBER})\s*[%％]")
_FRACTION = re.compile(rf"({_NUMBER})\s*/\s*({_NUMBER})")


def read_share(text: str) -> float:
    """The number that a text means, be it a plain one, a percentage or a fraction. Raises ValueError otherwise."""
    text = text.strip()
    if found := _PERCENTAGE.fullmatch(text):
        share = float(found[1]) / 100
    elif found := _FRACTION.fullmatch(text):
        share = float(found[1]) / float(found[2]) if float(found[2]) else math.inf
    else:
        share = float(text)
    if not math.isfinite(share):
        raise ValueError(f"{text!r} is not a number")
    return share
