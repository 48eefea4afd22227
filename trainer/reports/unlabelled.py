"""Tell what unlabelled images brought: how many were used, and whether the head learned from them."""

from __future__ import annotations

from typing import Any

from models.text.language import tr, trn
from trainer.data.unlabelled import MOST, UnlabelledCounts
from trainer.heads.propagation import Propagation


def unlabelled_sentences(
    counts: UnlabelledCounts | None, propagation: Propagation | None, *, is_tuned: bool
) -> list[str]:
    """Return the sentences about unlabelled images; none where there were to be none.

    ``is_tuned`` says whether the head that is served is that of fine-tuned backbones.
    """
    if counts is None:
        return []
    if not counts.found:
        return [tr("there is no unlabelled image, so the head learned from the labelled images alone")]
    if not counts.used:
        return [_counted(counts), tr("so the head learned from the labelled images alone")]
    if propagation is None and not is_tuned:
        return [
            tr(
                "the unlabelled images are not tried: for that, every class needs a held-out image that tells "
                "whether they help it"
            )
        ]
    return [_counted(counts), _judged(propagation)]


def _counted(counts: UnlabelledCounts) -> str:
    clauses = [tr("{used} of {found} unlabelled images tried", used=counts.used, found=counts.found)]
    if counts.undrawn:
        clauses.append(tr("no more than {most} are drawn", most=MOST))
    if counts.copies:
        clauses.append(
            trn(
                "{count} is already among the labelled images, or a copy of another",
                "{count} are already among the labelled images, or copies of one another",
                counts.copies,
            )
        )
    if counts.unreadable:
        clauses.append(tr("{count} cannot be read", count=counts.unreadable))
    return "; ".join(clauses)


def _judged(propagation: Propagation | None) -> str:
    if propagation is None:
        return tr("they are not used, since the fine-tuned backbones are better")
    if not propagation.helps_clearly:
        return tr("they did not help clearly, so they are not used")
    figures = {
        "name": propagation.best.label,
        "loss": propagation.candidate.loss,
        "best_loss": propagation.best.loss,
        "accuracy": propagation.candidate.accuracy,
        "best_accuracy": propagation.best.accuracy,
    }
    if propagation.is_taken:
        return tr(
            "the head learned from them too, since that clearly helps on held-out images: compared with {name} without "
            "them, loss {loss:.4f} instead of {best_loss:.4f}, accuracy {accuracy:.3f} instead of {best_accuracy:.3f}",
            **figures,
        )
    return tr(
        "they are not used: compared with {name} without them, loss or accuracy on held-out images is worse (loss "
        "{loss:.4f} instead of {best_loss:.4f}, accuracy {accuracy:.3f} instead of {best_accuracy:.3f})",
        **figures,
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
        "out_of_fold_loss": None if propagation is None else propagation.candidate.loss,
        "out_of_fold_loss_without": None if propagation is None else propagation.best.loss,
    }
