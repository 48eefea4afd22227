"""Divide images into folds: each image is judged by heads that were fitted on the other folds.

The fold of a group of like images depends on their bytes and the seed alone, so that adding images moves no old one to
another fold. Like images share a fold, so that none is judged by a head that was fitted on one like it.
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


def name_groups(groups: npt.NDArray[np.int64], sha256: Sequence[str]) -> list[str]:
    """Name the group (n,) of each image by the least ``sha256`` (n,) of its images, whatever their files are called."""
    names: dict[int, str] = {}
    for group, digest in zip(groups.tolist(), sha256, strict=True):
        names[group] = min(names.get(group, digest), digest)
    return [names[group] for group in groups.tolist()]


def assign(groups: Sequence[str], labels: Sequence[str], count: int, seed: int) -> Folds:
    """Assign each image (n,) a fold, 0 to ``count`` - 1 or `NEVER`; the images of a group get the same fold.

    ``groups`` names the group of each image by a hash. Hashing spreads a class evenly over the folds. Where it leaves a
    class out of fold 0, or puts all of it there, one group is moved, so that a class of two or more groups is both
    judged and fitted on. A class of a single group is always fitted on.
    """
    numbers = {group: draw_by_hash(f"split {seed} {group}") for group in groups}
    folds = {group: int(count * number) for group, number in numbers.items()}
    by_class: dict[str, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels, strict=True):
        by_class[label].add(group)
    classes = [sorted(by_class[label], key=numbers.__getitem__) for label in sorted(by_class)]
    for members in classes:
        if len(members) > 1 and all(folds[group] for group in members):
            folds[members[0]] = 0
    for members in classes:
        if len(members) > 1 and not any(folds[group] for group in members):
            folds[members[-1]] = 1
    for members in classes:  # classes of one group, or of groups that hold other classes too
        if len({folds[group] for group in members}) == 1:
            folds |= dict.fromkeys(members, NEVER)
    return np.array([folds[group] for group in groups], np.int64)
