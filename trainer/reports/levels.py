"""Tell of nested classes one folder up: what is filed where, how often the folder is right, and mistakes within one."""

from __future__ import annotations

from models.text.language import tr
from trainer.measuring.filing_counts import ThresholdCounts
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.levels import folder_names
from trainer.tables import table


def shared_folder(one: str, other: str) -> str:
    """Return the innermost folder that two classes both lie in; "" where that is none."""
    steps = []
    for first, second in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if first != second:
            break
        steps.append(first)
    return "/".join(steps)


def filing_table(predictions: LabelledPredictions, counts: ThresholdCounts) -> str:
    """Return how many images are filed into the folders of classes and into those above, and how many wrongly."""
    rows = [[tr("filed into"), tr("images"), tr("share"), tr("wrong"), tr("share of these")]]
    for level in counts.levels:
        where = tr("the folder of a class") if not level.depth else folder_names(predictions, level.depth)
        share = f"{level.wrong / level.filed:.2%}" if level.filed else ""
        rows.append([where, f"{level.filed}", f"{level.filed / counts.images:.1%}", f"{level.wrong}", share])
    return table(rows)


def folder_table(predictions: LabelledPredictions) -> str:
    """Return how often the folder of each group is right, and how many of its mistakes stay within it."""
    rows = [[tr("folder"), tr("images"), tr("class right"), tr("folder right"), tr("mistakes within it")]]
    class_right = predictions.right
    for depth in predictions.tree.depths:
        above = predictions.seen_from(depth)
        folder_right, within = above.right, predictions.mistakes_within(depth)
        for folder in predictions.tree.groups:
            if folder.count("/") != depth - 1:
                continue
            of_folder = above.labels == above.classes.index(folder)
            images = int(of_folder.sum())
            right, right_above = int(class_right[of_folder].sum()), int(folder_right[of_folder].sum())
            shares = [f"{right / images:.3f}", f"{right_above / images:.3f}"] if images else ["", ""]
            mistakes = tr("{part} of {whole}", part=int(within[of_folder].sum()), whole=images - right)
            rows.append([f"{folder}/", f"{images}", *shares, mistakes])
    return table(rows)
