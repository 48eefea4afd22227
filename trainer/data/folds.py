"""Divide pictures into folds: each picture is judged by heads that were fitted on the other folds.

A picture's fold depends on its own bytes and the seed alone, so that adding images moves no old one to another fold,
and copies of one picture are never both fitted on and judged.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: The fold of each image (n,).
Folds = npt.NDArray[np.int64]

#: The fold of images that are never held out.
NEVER = -1

_MIN_FOLDS, _MAX_FOLDS = 2, 10


def fold_count(fraction: float) -> int:
    """Return the number of folds, 2 to 10, that puts about ``fraction`` of the images into each."""
    return min(max(round(1 / fraction), _MIN_FOLDS), _MAX_FOLDS)


def draw_by_hash(text: str) -> float:
    """Draw a number from 0 to below 1 by hashing ``text``, always the same for the same text."""
    digest = hashlib.sha256(os.fsencode(text)).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # as many bits as a float has


def assign(pictures: Sequence[str], labels: Sequence[str], count: int, seed: int) -> Folds:
    """Assign each image (n,) a fold, 0 to ``count`` - 1 or `NEVER`; images of one picture get one fold.

    ``pictures`` identifies the picture on each image by a hash. Hashing spreads a class evenly over the folds. Where it
    leaves a class out of fold 0, or puts all of it there, one picture is moved, so that a class of two or more pictures
    is both judged and fitted on. A class of a single picture is always fitted on.
    """
    numbers = {picture: draw_by_hash(f"split {seed} {picture}") for picture in pictures}
    folds = {picture: int(count * number) for picture, number in numbers.items()}
    by_class: dict[str, set[str]] = defaultdict(set)
    for picture, label in zip(pictures, labels, strict=True):
        by_class[label].add(picture)
    classes = [sorted(by_class[label], key=numbers.__getitem__) for label in sorted(by_class)]
    for members in classes:
        if len(members) > 1 and all(folds[picture] for picture in members):
            folds[members[0]] = 0
    for members in classes:
        if len(members) > 1 and not any(folds[picture] for picture in members):
            folds[members[-1]] = 1
    for members in classes:  # classes of one picture, or of pictures that other classes share
        if len({folds[picture] for picture in members}) == 1:
            folds |= dict.fromkeys(members, NEVER)
    return np.array([folds[picture] for picture in pictures], np.int64)
