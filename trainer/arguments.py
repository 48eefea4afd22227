"""Parse the values of options; each function raises `argparse.ArgumentTypeError` with one sentence."""

from __future__ import annotations

import argparse
import math
import re

from models.text.language import tr
from models.text.shares import read_share


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(tr("'{text}' is not a number", text=text))
    return number


def _whole(text: str, least: int) -> int:
    number = _number(text)
    if number != int(number) or number < least:
        raise argparse.ArgumentTypeError(
            tr("it must be a whole number of at least {least}, not {text}", least=least, text=text)
        )
    return int(number)


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Read a whole number of at least 0."""
    return _whole(text, 0)


def rate(text: str) -> float:
    """Read a learning rate."""
    if not 0 < (number := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(tr("it must be above 0 and at most 1, not {text}", text=text))
    return number


def share(text: str) -> float:
    """Read a share: a number, a percentage or a fraction."""
    try:
        return read_share(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            tr("give a share such as 5%, 1/20 or 0.05, not '{text}'", text=text)
        ) from error


def fraction(text: str) -> float:
    """Read a share between 0 and 1, both excluded."""
    if not 0 < (number := share(text)) < 1:
        raise argparse.ArgumentTypeError(
            tr("it must be more than 0 and less than 1, such as 0.05 or 5%, not {text}", text=text)
        )
    return number


def fold(text: str) -> float:
    """Read the share of images in a fold."""
    if not 0.1 <= (number := share(text)) <= 0.5:
        raise argparse.ArgumentTypeError(
            tr("it must be from 0.1 to 0.5 (10% to 50%), for ten folds to two, not {text}", text=text)
        )
    return number


def probability(text: str) -> float:
    """Read a probability."""
    if not 0 <= (number := share(text)) <= 1:
        raise argparse.ArgumentTypeError(tr("it must be between 0 and 1, such as 0.7 or 70%, not {text}", text=text))
    return number


def size(text: str) -> int:
    """Read a size such as 2 GB, in bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(tr("it must be a size such as 500 MB or 2 GB, not {text}", text=text))
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


def weights(text: str) -> tuple[str, str]:
    """Read NAME=PATH_OR_ID."""
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise argparse.ArgumentTypeError(tr("it must be NAME=PATH_OR_ID, not {text}", text=text))
    return name, source
