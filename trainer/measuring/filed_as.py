"""Tell what the daemon would file images as, by the rule of a checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.deciding.class_tree import ClassTree
from models.deciding.rule import DecisionRule, Fate


def filed_as(
    rule: DecisionRule, tree: ClassTree, probabilities: npt.NDArray[np.floating[Any]], unknown: npt.NDArray[np.bool_]
) -> list[tuple[Fate, str | None]]:
    """Return the fate of each image, and the class or the folder above it that it is filed into, if it is.

    ``probabilities`` (n, classes) are those of the classes of the ``tree``.
    """
    groups = tree.score(probabilities)
    by_depth = {group.depth: group for group in groups}
    pairs = [(group.depth, group.probability) for group in groups]
    confidence, best = probabilities.max(axis=1), probabilities.argmax(axis=1).tolist()
    places = rule.places(confidence, unknown, pairs).tolist()
    filed: list[tuple[Fate, str | None]] = []
    for row, fate in enumerate(rule.fates(confidence, unknown, pairs)):
        if fate is Fate.ROLLED_UP:
            filed.append((fate, by_depth[places[row]].of(row).folder))
        else:
            filed.append((fate, tree.classes[best[row]] if fate is Fate.SURE else None))
    return filed
