"""Say what a checkpoint promises about the images it files, in clauses that all sentences about it share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.text.language import tr

if TYPE_CHECKING:  # what only reports sentences loads no checkpoint
    from models.checkpoints.metadata import Promise

#: How certain a promise is that can be made in full.
CERTAINTY = 0.95


def what_holds(promise: Promise | None, requested: float, audited: int = 0) -> str:
    """Return the clause that says how many of the filed images are wrong, and how certain that is.

    ``requested`` is the share of mistakes that was asked for. The promise was made from so many ``audited`` images, or
    from those of the data set if that is 0.
    """
    if promise is None:
        return tr(
            "only the surest are filed, since at most {asked:.3g} % wrong was asked for and nothing can be promised",
            asked=100 * requested,
        )
    if promise.certainty is None:
        return tr(
            "by estimate about {max_error:.3g} % of those filed are wrong, which is not certain",
            max_error=100 * promise.max_error,
        )
    values = {"max_error": 100 * promise.max_error, "certainty": 100 * promise.certainty}
    if audited:
        return tr(
            "at most {max_error:.3g} % of those filed are wrong, {certainty:.3g} % certain, as {audited} "
            "audited images tell",
            audited=audited,
            **values,
        )
    if promise.max_error > requested:
        return tr(
            "at most {max_error:.3g} % of those filed are wrong, {certainty:.3g} % certain; "
            "{asked:.3g} % cannot be promised",
            asked=100 * requested,
            **values,
        )
    if promise.certainty < CERTAINTY:
        return tr("at most {max_error:.3g} % of those filed are wrong, but only {certainty:.3g} % certain", **values)
    return tr("at most {max_error:.3g} % of those filed are wrong, {certainty:.3g} % certain", **values)


def why_lapsed(requested: float, *, is_doubted: bool = False) -> str:
    """Return the clause that says that a lesson ended a promise, and which threshold is in force.

    ``requested`` is the share of mistakes that was asked for. ``is_doubted``: audits contradict the promise.
    """
    if is_doubted:
        return tr(
            "the threshold from before the lesson; at most {asked:.3g} % wrong is no longer promised, since "
            "more of the audited images are wrong",
            asked=100 * requested,
        )
    return tr(
        "the threshold from before the lesson; at most {asked:.3g} % wrong is no longer promised, since "
        "corrections cannot prove it: an audit on the review page can",
        asked=100 * requested,
    )


def is_as_requested(promise: Promise | None, requested: float) -> bool:
    """Return whether this promise is the requested one, and as certain as a promise can be."""
    return promise is not None and promise.max_error <= requested and (promise.certainty or 0) >= CERTAINTY


def percent(threshold: float) -> str:
    """Write a threshold in percent: with three digits, or with as many as tell it from 100."""
    texts = (f"{100 * threshold:.{digits}g}" for digits in range(3, 10))
    return next((text for text in texts if float(text) < 100), "100")
