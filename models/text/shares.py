"""Parse shares as people write them: 0.05, 5 %, 1/20."""

from __future__ import annotations

import math
import re

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PERCENTAGE = re.compile(rf"({_NUMBER})\s*[%％]")
_FRACTION = re.compile(rf"({_NUMBER})\s*/\s*({_NUMBER})")


def read_share(text: str) -> float:
    """Parse a plain number, a percentage or a fraction. Raises ValueError for any other text."""
    text = text.strip()
    if match := _PERCENTAGE.fullmatch(text):
        share = float(match[1]) / 100
    elif match := _FRACTION.fullmatch(text):
        share = float(match[1]) / float(match[2]) if float(match[2]) else math.inf
    else:
        share = float(text)
    if not math.isfinite(share):
        raise ValueError(f"{text!r} is not a number")
    return share
