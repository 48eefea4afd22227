"""Heads: linear classifiers on features that were computed once.

Each part's features are brought to unit length and centred, and each part is divided by one number (its standard
deviation over all features); that gave a lower held-out log-loss than to divide every feature by its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from trainer.data.cache import Features
from trainer.measuring.calibration import Logits

#: A log-loss that is lower by less justifies neither another epoch nor a larger model.
MIN_DELTA = 1e-3
#: Images brought to unit length at a time, so that their squares take little memory.
_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class GradientOptions:
    """Options of the gradient head. With ``patience`` 0 it never stops early."""

    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    patience: int = 5
    seed: int = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS to one thread: with matrices this small, more threads only wait for each other.

    Measured on two busy cores: logistic regression takes 0.7 s of CPU time with one thread, 10 s with two.
    """
    with _libraries().limit(limits=1):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """Return the loaded libraries that have threads; NumPy and SciPy have loaded theirs by now.

    To look for them each time took 0.1 s of the 1.2 s in which a head is chosen for 1,000 images.
    """
    return ThreadpoolController()


def to_unit_length(features: Features, widths: Sequence[int]) -> None:
    """Scale each part of each image's features (n, width) to unit length in place, like ``l2`` in a checkpoint."""
    for start in range(0, len(features), _ROWS):
        rows = features[start : start + _ROWS]
        for part in np.split(rows, np.cumsum(widths)[:-1], axis=1):  # these are views
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class Scaling:
    """The mean to subtract from unit-length features and the scale to multiply them by; both (width,)."""

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    @classmethod
    def from_features(cls, features: Features, widths: Sequence[int]) -> Scaling:
        """Make the scaling that centres ``features`` (n, width) and gives each part a mean variance of 1."""
        mean = features.mean(axis=0, dtype=np.float64)
        # Sums the squares without a second array of this size, which may be gigabytes.
        variance = np.einsum("nw,nw->w", features, features, dtype=np.float64) / len(features) - mean**2
        parts = np.split(variance, np.cumsum(widths)[:-1])
        scale = np.concatenate([np.full(len(part), 1 / np.sqrt(max(part.mean(), 1e-12))) for part in parts])
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def apply(self, features: Features) -> Features:
        """Return scaled features (n, width)."""
        scaled = features.copy()
        self.apply_in_place(scaled)
        return scaled

    def apply_in_place(self, features: Features) -> None:
        """Scale features (n, width) in place, since there may be gigabytes of them."""
        features -= self.mean
        features *= self.scale


@dataclass(frozen=True)
class Linear:
    """Logits of scaled features: weight (classes, width), bias (classes,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, scaled: Features) -> Logits:
        """Return logits (n, classes)."""
        return (scaled @ self.weight.T + self.bias).astype(np.float64)

    def divided_by(self, temperature: float) -> Linear:
        """Return this head with its logits divided by ``temperature``."""
        return Linear(self.weight / np.float32(temperature), self.bias / np.float32(temperature))

    def added_to(self, other: Linear) -> Linear:
        """Return the head whose logits are the sum of this one's and the other's."""
        return Linear(self.weight + other.weight, self.bias + other.bias)

    def averaged_with(self, other: Linear) -> Linear:
        """Return the head whose logits are the mean of this one's and the other's."""
        half = np.float32(0.5)
        return Linear((self.weight + other.weight) * half, (self.bias + other.bias) * half)


@dataclass(frozen=True)
class Epoch:
    """One epoch of gradient descent: losses in nats, accuracy in 0..1; held-out ones are NaN if none is held out."""

    number: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float


OnEpoch = Callable[[Epoch], None]
