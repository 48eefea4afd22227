"""How right chosen heads are on unseen images, and whether one is better than another by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.measuring.pairwise import mcnemar


@dataclass(frozen=True)
class Right:
    """Whether heads were right (1 or 0) about unseen images, and their losses: both (draws, images); and their names.

    Each draw of images to fit on has a head of its own, or one for each fold that was left out.
    """

    hits: list[list[int]]
    losses: list[list[float]]
    taken: str

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.hits))

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses))


def joined(by_fold: Sequence[Sequence[Right]]) -> Right:
    """Put what was judged, one draw each (folds, draws), into one: images of all folds, in as many draws."""
    draws = list(zip(*by_fold, strict=True))
    return Right(
        [[hit for right in draw for hit in right.hits[0]] for draw in draws],
        [[loss for right in draw for loss in right.losses[0]] for draw in draws],
        ", ".join(sorted({right.taken for draw in draws for right in draw})),
    )


def compared(before: Right, now: Right) -> str:
    """Say how accuracy and log-loss differ on the same images, and how likely so much is by chance.

    Images that just one was right about tell it of accuracy, over all draws; of log-loss the standard error over
    images, each with its mean over draws.
    """
    old, new = np.array(before.hits, bool), np.array(now.hits, bool)
    if old.shape != new.shape:
        return "before: other images, not comparable"
    gains, lapses = int((new & ~old).sum()), int((old & ~new).sum())
    differences = (np.array(now.losses) - np.array(before.losses)).mean(axis=0)
    error = differences.std() / np.sqrt(len(differences))
    chance = mcnemar(old.ravel(), new.ravel())
    return (
        f"before {before.accuracy:.4f} and {before.loss:.4f}: "
        f"accuracy {now.accuracy - before.accuracy:+.4f} ({gains} gained, {lapses} lost, p = {chance:.2g} by McNemar), "
        f"log-loss {differences.mean():+.4f} (standard error {error:.4f})"
    )
