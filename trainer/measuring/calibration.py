"""Calibration: fit the temperature that logits are divided by, and measure how well confidence matches accuracy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Logits = npt.NDArray[np.float64]
Losses = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

#: How strongly a temperature is pulled to 1, as a number of images: with few held-out ones chance would decide it.
_PRIOR = 5.0


def log_probabilities(logits: Logits, temperature: float = 1.0) -> Logits:
    """Return the log-probabilities (n, classes) of logits (n, classes)."""
    scaled = logits / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    result: Logits = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return result


def losses(logits: Logits, labels: Labels, temperature: float = 1.0) -> Losses:
    """Return the negative log-probability (n,) of each image's true class, in nats."""
    return -log_probabilities(logits, temperature)[np.arange(len(labels)), labels]


def log_loss(logits: Logits, labels: Labels, temperature: float = 1.0) -> float:
    """Return the mean of `losses`."""
    return float(losses(logits, labels, temperature).mean())


def accuracy(logits: Logits, labels: Labels) -> float:
    """Return the share of images whose most probable class is the true one."""
    return float((logits.argmax(axis=1) == labels).mean())


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Fit the temperature in 1/20..20 under which the true labels are most probable (Guo et al. 2017)."""

    def cost(logarithm: float) -> float:
        return len(labels) * log_loss(logits, labels, float(np.exp(logarithm))) + _PRIOR * logarithm**2

    return float(np.exp(minimize_scalar(cost, bounds=(-3.0, 3.0), method="bounded").x))


class Bin(NamedTuple):
    """Images of similar confidence: their mean confidence, their accuracy and their number."""

    confidence: float
    accuracy: float
    images: int


def reliability(probabilities: npt.NDArray[np.float64], labels: Labels, bins: int = 10) -> list[Bin]:
    """Sort images into at most ``bins`` bins of equal count, from the least to the most confident."""
    if not len(labels):
        return []
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    return [
        Bin(float(confidence[part].mean()), float(correct[part].mean()), len(part))
        for part in np.array_split(order, min(bins, len(order)))
    ]


def calibration_error(probabilities: npt.NDArray[np.float64], labels: Labels, bins: int = 10) -> float:
    """Return the expected calibration error: how far confidence lies from accuracy, averaged over images."""
    parts = reliability(probabilities, labels, bins)
    return sum(abs(part.confidence - part.accuracy) * part.images for part in parts) / len(labels)
