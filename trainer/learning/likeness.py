"""Near duplicates among the images that people labelled: which fold they go into, and how they count.

People label bursts: ten pictures of one moment. So it is as in a fit (`trainer.data.neighbours`, `trainer.data.folds`):

- Near duplicates share a fold, so that none is judged by a head that was fitted on one like it.
- A class of which there is nothing but one group of near duplicates cannot be judged so. A fit never judges it; a
  lesson has to decide about it. So its images are divided among the folds as if they were unlike, and tell whether they
  agree with each other and are kept apart from all else.
- In the gate a group counts as one image, however many it has: right where at least half of them are.
- An image judges only where neither of both heads has seen its like. So it does not where the head in use was fitted
  on near duplicates of it, and its prediction of an earlier lesson counts only if its near duplicates shared its fold
  then, or do not now either.

Near duplicates of an image of the data set are not looked for: both heads were fitted on that image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from trainer.data.dataset import Mask
from trainer.data.folds import NEVER, Folds, assign, draw_by_hash
from trainer.data.neighbours import Positions, group_images
from trainer.data.perceptual_hash import PerceptualHash


def group_labelled(
    sha256: Sequence[str], names: Sequence[str | None], perceptual_hashes: Mapping[str, PerceptualHash]
) -> Positions:
    """Return the position (n,) of the first near duplicate of each image; one whose hash is not known has none."""
    groups = np.arange(len(sha256))
    known = np.array([row for row, digest in enumerate(sha256) if digest in perceptual_hashes], np.int64)
    if len(known):
        digests = [sha256[row] for row in known]
        hashes = [perceptual_hashes[digest] for digest in digests]
        groups[known] = known[group_images(digests, hashes, [names[row] or "" for row in known]).first]
    return groups


def fold_labelled(
    groups: Sequence[str], sha256: Sequence[str], names: Sequence[str | None], known: set[str], count: int, seed: int
) -> Folds:
    """Return the fold (n,) of each labelled image, by the hash of its group (`trainer.data.folds.name_groups`).

    Classes that the data set has not are divided so that each is both fitted on and judged: by the hashes of the images
    where there is one group alone.
    """
    new = np.array([row for row, name in enumerate(names) if name is None or name not in known], np.int64)
    folds = np.array([int(count * draw_by_hash(f"split {seed} {group}")) for group in groups], np.int64)
    labels = [names[row] or "" for row in new]
    assigned = assign([groups[row] for row in new], labels, count, seed)
    alone = np.flatnonzero(assigned == NEVER)
    assigned_to = {groups[row]: fold for row, fold in zip(new, assigned.tolist(), strict=True) if fold != NEVER}
    assigned[alone] = assign([sha256[new[at]] for at in alone], [labels[at] for at in alone], count, seed)
    folds = np.array([assigned_to.get(group, fold) for group, fold in zip(groups, folds.tolist(), strict=True)])
    folds[new] = assigned
    return folds.astype(np.int64)


def spread_pictures(pictures: Positions, folds: Folds, among: Mask) -> Positions:
    """Return which ``pictures`` (n,) have images ``among`` all (n,) in several ``folds`` (n,)."""
    pairs = np.unique(np.stack([pictures, folds])[:, among], axis=1)[0]
    numbers, counts = np.unique(pairs, return_counts=True)
    spread: Positions = numbers[counts > 1]
    return spread


def by_picture(values: npt.NDArray[np.generic], pictures: Positions, among: Mask) -> npt.NDArray[np.float64]:
    """Return the mean of ``values`` (n,) for each of the ``pictures`` (n,) that have images ``among`` all (n,)."""
    _, at = np.unique(pictures[among], return_inverse=True)
    return np.bincount(at, values[among].astype(np.float64)) / np.bincount(at)
