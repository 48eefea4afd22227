"""Tell what unlabelled images brought: how many were used, and whether the head learned from them."""

from __future__ import annotations

from typing import Any

from models.text.language import tr
from trainer.data.unlabelled import MOST, UnlabelledCounts
from trainer.heads.propagation import Propagation


def unlabelled_sentences(
    counts: UnlabelledCounts | None, propagation: Propagation | None, *, is_tuned: bool
) -> list[str]:
    """Return the sentences about unlabelled images; none where there were to be none.

    ``is_tuned`` says whether the head that is served is that of fine-tuned backbones.
    """
    return [] if counts is None else [_counted(counts), _judged(counts, propagation, is_tuned=is_tuned)]


def _counted(counts: UnlabelledCounts) -> str:
    if counts.undrawn:
        return tr(
            "{used} of {found} unlabelled images are used: {copies} are copies of others, {unreadable} cannot be read, "
            "and no more than {most} are drawn",
            used=counts.used,
            found=counts.found,
            copies=counts.copies,
            unreadable=counts.unreadable,
            most=MOST,
        )
    return tr(
        "{used} of {found} unlabelled images are used: {copies} are copies of others, {unreadable} cannot be read",
        used=counts.used,
        found=counts.found,
        copies=counts.copies,
        unreadable=counts.unreadable,
    )


def _judged(counts: UnlabelledCounts, propagation: Propagation | None, *, is_tuned: bool) -> str:
    if not counts.used:
        return tr("so the head learned from the labelled images alone")
    if is_tuned:
        return tr("the head learned from the labelled images alone, since the fine-tuned backbones are better")
    if propagation is None:
        return tr("the head learned from the labelled images alone: none is held out to tell whether others help")
    if propagation.is_taken:
        return tr(
            "the head learned from them too: on labelled images that it had not seen it is clearly better "
            "(log-loss {loss:.4f} with them, {plain_loss:.4f} without)",
            loss=propagation.loss,
            plain_loss=propagation.plain_loss,
        )
    return tr(
        "the head learned from the labelled images alone: on those that it had not seen, learning from the others too "
        "is not clearly better (log-loss {loss:.4f} with them, {plain_loss:.4f} without)",
        loss=propagation.loss,
        plain_loss=propagation.plain_loss,
    )


def unlabelled_figures(counts: UnlabelledCounts | None, propagation: Propagation | None) -> dict[str, Any] | None:
    """Return the counts and the verdict for metrics.json; None where there were to be no unlabelled images."""
    if counts is None:
        return None
    return {
        "found": counts.found,
        "used": counts.used,
        "not_drawn": counts.undrawn,
        "unreadable": counts.unreadable,
        "copies": counts.copies,
        "taken": propagation is not None and propagation.is_taken,
        "out_of_fold_loss": None if propagation is None else propagation.loss,
        "out_of_fold_loss_without": None if propagation is None else propagation.plain_loss,
    }
