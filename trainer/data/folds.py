"""Who judges whom: every picture is in one of a few folds, and is judged by heads that were fitted on the other folds.

A picture's fold depends on its own bytes and the seed alone, so that adding images moves no old one across, and copies
of one picture are never on both sides of a judgement.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: One number for each image.
Folds = npt.NDArray[np.int64]

#: The fold of what is never held out.
NEVER = -1

_FEWEST, _MOST = 2, 10


def count_of(fraction: float) -> int:
    """How many folds there are when each is to hold about ``fraction`` of the images: 2 to 10."""
    return min(max(round(1 / fraction), _FEWEST), _MOST)


def drawn(text: str) -> float:
    """A number from 0 to below 1 that is drawn, once and for all, by hashing ``text``."""
    digest = hashlib.sha256(os.fsencode(text)).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # as many bits as a float has


def assign(pictures: Sequence[str], labels: Sequence[str], count: int, seed: int) -> Folds:
    """The fold (n,) of each image, 0 to ``count`` - 1, or `NEVER`; images of one picture are in one fold.

    ``pictures`` names what is to be seen on each image, by the hash of its bytes. Hashing spreads a class evenly. Only
    where it leaves a class out of fold 0, or puts all of it there, its nearest picture is moved, so that each class
    of two pictures and more is judged, and fitted on meanwhile. One that has a single picture is always fitted on.
    """
    numbers = {picture: drawn(f"split {seed} {picture}") for picture in pictures}
    folds = {picture: int(count * number) for picture, number in numbers.items()}
    by_class: dict[str, set[str]] = defaultdict(set)
    for picture, label in zip(pictures, labels, strict=True):
        by_class[label].add(picture)
    classes = [sorted(by_class[label], key=numbers.__getitem__) for label in sorted(by_class)]
    for of in classes:
        if len(of) > 1 and all(folds[picture] for picture in of):
            folds[of[0]] = 0
    for of in classes:
        if len(of) > 1 and not any(folds[picture] for picture in of):
            folds[of[-1]] = 1
    for of in classes:  # those of one picture, or of pictures that other classes have too
        if len({folds[picture] for picture in of}) == 1:
            folds |= dict.fromkeys(of, NEVER)
    return np.array([folds[picture] for picture in pictures], np.int64)
