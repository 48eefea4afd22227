"""Thresholds of inner folders: from which probability on an image that is sure of no class is rolled up into one.

The threshold of each depth is found as in `measuring.promises`, the deepest first, on the images that no deeper one
files; its promise is about what is filed at that depth alone. These images were too unsure for the
folders of classes, so they are fewer and harder than all. Images are filed at a depth only if the share that was asked
for can be promised there, or the larger one that the folders of classes have: inner folders may take images out of the
others, but must not make filing less accurate.

Which images are left for a depth was decided by the thresholds below it, and so by how often classes are right, but not
by how often their folders are. ``python -m tests.benchmarks.rollup`` counts on unseen images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.checkpoints.metadata import Level, Metadata, Promise
from models.checkpoints.promises import percent, what_holds, why_lapsed
from models.deciding.class_tree import ClassTree
from models.deciding.rule import NOWHERE, DecisionRule
from models.text.language import tr
from trainer.measuring.filing_counts import ThresholdCounts
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.promises import LOWER_CERTAINTY, Confidence, Mask, find_estimate, find_promise

#: Folders of one depth that are named.
_NAMED = 3


def find_levels(
    predictions: LabelledPredictions, first: npt.NDArray[np.intp], threshold: float, shares: Sequence[float]
) -> list[Level]:
    """Find the thresholds of inner folders on judged images, where those of classes have ``threshold``.

    ``first`` are the positions of the images that count for a promise: one of each group of near duplicates. ``shares``
    are shares of mistakes; the first that can be promised is taken.
    """
    levels: list[Level] = []
    counted = predictions.among(first)
    for group in counted.groups:
        left = counted.places(DecisionRule(threshold, levels=_thresholds(levels))) == NOWHERE
        confidence = np.where(counted.is_unknown, -1.0, group.probability)[left]
        promise = _promise(confidence, counted.right_in(group)[left], shares)
        level = Level(depth=group.depth, threshold=None if promise is None else promise.threshold, promise=promise)
        levels.append(_with_coverage(level, [*levels, level], predictions, threshold))
    return levels


def lapsed_levels(before: Metadata, classes: Sequence[str]) -> list[Level]:
    """Return the levels of a checkpoint at whose depths ``classes`` have inner folders, without their promises."""
    depths = ClassTree(classes).depths
    return [level.model_copy(update={"promise": None}) for level in before.levels if level.depth in depths]


def _thresholds(levels: Sequence[Level]) -> dict[int, float]:
    return {level.depth: level.threshold for level in levels if level.threshold is not None}


def _promise(confidence: Confidence, right: Mask, shares: Sequence[float]) -> Promise | None:
    """Promise the first of the shares that can be promised: with certainty, with less, or by an estimate."""
    for share in shares:
        found = (
            find_promise(confidence, right, share)
            or find_promise(confidence, right, share, LOWER_CERTAINTY)
            or find_estimate(confidence, right, share)
        )
        if found is not None:
            return found
    return None


def _with_coverage(level: Level, levels: Sequence[Level], predictions: LabelledPredictions, threshold: float) -> Level:
    """Return the level with the share of all images that it files; copies count, as everywhere else."""
    if level.promise is None or not len(predictions.labels):
        return level
    counts = predictions.counts_by(DecisionRule(threshold, levels=_thresholds(levels)))
    filed = next(counted.filed for counted in counts.inner if counted.depth == level.depth)
    promise = level.promise.model_copy(update={"coverage": filed / counts.images})
    return level.model_copy(update={"promise": promise})


def level_sentences(
    levels: Sequence[Level], requested: float | None, counts: ThresholdCounts, predictions: LabelledPredictions
) -> list[str]:
    """Say what is filed into inner folders, for each depth that has any; nothing where classes are flat."""
    by_depth = {level.depth: level for level in levels}
    return [
        _sentence(by_depth.get(depth, Level(depth=depth)), requested, counts, folder_names(predictions, depth))
        for depth in predictions.tree.depths
    ]


def folder_names(predictions: LabelledPredictions, depth: int) -> str:
    """Name the inner folders of a depth, or the first of them."""
    names = [folder for folder in predictions.tree.groups if folder.count("/") == depth - 1]
    more = ", …" if len(names) > _NAMED else ""
    return ", ".join(f"{name}/" for name in names[:_NAMED]) + more


def _sentence(level: Level, requested: float | None, counts: ThresholdCounts, names: str) -> str:
    here = next((counted for counted in counts.inner if counted.depth == level.depth), None)
    if here is None:
        return tr(
            "no image goes into a folder above its class ({names}), since it cannot be promised that at most "
            "{asked:.3g} % are wrong there",
            names=names,
            asked=100 * (requested or 0.0),
        )
    values = {
        "names": names,
        "sure": percent(here.threshold),
        "images": counts.images,
        "filed": here.filed,
        "wrong": here.wrong,
    }
    if requested is None:
        return tr(
            "but images that it is {sure} % sure belong in the folder above their class ({names}) go there: "
            "{filed} of {images} judged images, {wrong} of them wrongly",
            **values,
        )
    return tr(
        "but images that it is {sure} % sure belong in the folder above their class ({names}) go there "
        "({why}): {filed} of {images} judged images, {wrong} of them wrongly",
        why=what_holds(level.promise, requested) if level.promise is not None else why_lapsed(requested),
        **values,
    )
