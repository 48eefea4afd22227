"""Exact binomial bounds on the share of mistakes to come, from a count of mistakes."""

from __future__ import annotations

from scipy.special import betaincinv


def upper_bound(mistakes: int, count: int, confidence: float) -> float:
    """Return the share of mistakes that, with ``confidence``, is not exceeded: ``mistakes`` of ``count`` were found.

    One-sided Clopper-Pearson (Biometrika 1934): the largest share with which so few mistakes are not too unlikely.
    """
    return 1.0 if mistakes >= count else float(betaincinv(mistakes + 1, count - mistakes, confidence))


def interval(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval of a share; 0 to 1 where nothing was counted."""
    one_sided = 1 - (1 - confidence) / 2
    return 1 - upper_bound(count - successes, count, one_sided), upper_bound(successes, count, one_sided)
