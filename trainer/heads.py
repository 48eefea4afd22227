"""Heads: linear classifiers on features that were computed once.

Features are normalised part by part to unit length, centred, and each part is scaled by one number (its standard
deviation over all features), which held-out log-loss preferred to scaling every feature by its own.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainer.cache import Features
from trainer.calibrate import Labels, Logits, accuracy, log_loss

if TYPE_CHECKING:
    import torch

#: Early stopping waits for the held-out log-loss to fall by this much.
MIN_DELTA = 1e-3
#: Gaussian noise on the scaled features of every batch, in their standard deviations. Measured over five folds of two
#: sets: held-out log-loss 0.237 instead of 0.240, and 0.114 instead of 0.122.
NOISE = 1.0
#: Heads that are fitted side by side, each on its own order and noise; their logits are averaged. Measured on one fold
#: over six seeds: accuracy 0.913 to 0.916 with four, 0.908 to 0.914 with one.
MEMBERS = 4


@dataclass(frozen=True, kw_only=True)
class GradientOptions:
    """How the gradient head is fitted. ``patience`` 0 never stops early."""

    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    patience: int = 5
    seed: int = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch and BLAS to one thread: on matrices this small more only wait for each other.

    Measured on two busy cores: logistic regression takes 0.7 s of CPU time with one thread, 10 s with two.
    """
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def unit_length(features: Features, widths: Sequence[int]) -> Features:
    """Features (n, width) with each part of each image scaled to unit length, as a checkpoint's ``l2`` does."""
    parts = np.split(features, np.cumsum(widths)[:-1], axis=1)
    return np.concatenate([part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in parts], 1)


@dataclass(frozen=True)
class Scaling:
    """What is subtracted from and multiplied to normalised features; both (width,)."""

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    @classmethod
    def of(cls, features: Features, widths: Sequence[int]) -> Scaling:
        """The scaling that centres ``features`` (n, width) and gives each part a mean variance of 1."""
        mean = features.mean(axis=0, dtype=np.float64)
        variance = features.var(axis=0, dtype=np.float64)
        parts = np.split(variance, np.cumsum(widths)[:-1])
        scale = np.concatenate([np.full(len(part), 1 / np.sqrt(max(part.mean(), 1e-12))) for part in parts])
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def apply(self, features: Features) -> Features:
        """Scaled features (n, width)."""
        return (features - self.mean) * self.scale


@dataclass(frozen=True)
class Linear:
    """Logits of scaled features: weight (classes, width), bias (classes,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, scaled: Features) -> Logits:
        """Logits (n, classes)."""
        return (scaled @ self.weight.T + self.bias).astype(np.float64)

    def over(self, temperature: float) -> Linear:
        """The same head, its logits divided by ``temperature``."""
        return Linear(self.weight / np.float32(temperature), self.bias / np.float32(temperature))

    def mean(self, other: Linear) -> Linear:
        """The head whose logits are the mean of this one's and the other's."""
        half = np.float32(0.5)
        return Linear((self.weight + other.weight) * half, (self.bias + other.bias) * half)


@dataclass(frozen=True)
class Epoch:
    """One epoch of a gradient: losses in nats, accuracy in 0..1; the held-out ones are nan without held-out images."""

    number: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float


OnEpoch = Callable[[Epoch], None]


@one_thread()
def fit_gradient(
    scaled: Features,
    labels: Labels,
    classes: int,
    options: GradientOptions,
    *,
    held_out: tuple[Features, Labels] | None = None,
    on_epoch: OnEpoch | None = None,
    stop_after: int | None = None,
) -> tuple[Linear, int]:
    """A softmax head by AdamW with a cosine schedule over ``options.epochs``, and the epoch it is from.

    With ``held_out`` it is the head of the epoch with the lowest held-out log-loss; otherwise of the last epoch, or
    of ``stop_after``.
    """
    import torch

    random = torch.Generator().manual_seed(options.seed)
    inputs, targets = torch.from_numpy(scaled), torch.from_numpy(labels)
    weight = torch.zeros(MEMBERS, scaled.shape[1], classes, requires_grad=True)
    bias = torch.zeros(MEMBERS, 1, classes, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=options.lr)
    total = options.epochs * math.ceil(len(labels) / options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)

    best, best_epoch, best_loss = _numpy(weight, bias), 0, math.inf
    hoped, hoped_loss = 0, math.inf  # the last epoch that was better by enough to wait for more
    for number in range(1, (stop_after or options.epochs) + 1):
        started, losses = time.monotonic(), 0.0
        orders = torch.stack([torch.randperm(len(labels), generator=random) for _ in range(MEMBERS)])
        for batch in torch.split(orders, options.batch_size, dim=1):
            seen = inputs[batch]
            seen = seen + NOISE * torch.randn(seen.shape, generator=random)
            logits = torch.baddbmm(bias, seen, weight)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[batch].flatten()) * MEMBERS
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses += float(loss.detach()) / MEMBERS * batch.shape[1]
        head = _numpy(weight, bias)
        epoch = _epoch(number, losses / len(labels), head, held_out, time.monotonic() - started)
        if on_epoch is not None:
            on_epoch(epoch)
        if held_out is None or epoch.held_out_loss < best_loss:
            best, best_epoch, best_loss = head, number, epoch.held_out_loss
        if held_out is None or best_loss < hoped_loss - MIN_DELTA:
            hoped, hoped_loss = number, best_loss
        elif options.patience and number - hoped >= options.patience:
            break
    return best, best_epoch


def _numpy(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    """The mean of the members' logits, which is one linear head."""
    return Linear(weight.detach().mean(0).T.contiguous().numpy(), bias.detach().mean(0)[0].numpy())


def _epoch(
    number: int, train_loss: float, head: Linear, held_out: tuple[Features, Labels] | None, seconds: float
) -> Epoch:
    if held_out is None:
        return Epoch(number, train_loss, math.nan, math.nan, seconds)
    logits = head.logits(held_out[0])
    return Epoch(number, train_loss, log_loss(logits, held_out[1]), accuracy(logits, held_out[1]), seconds)


@one_thread()
def fit_logistic(scaled: Features, labels: Labels, classes: int, strength: float) -> Linear:
    """Logistic regression with an L2 penalty (scikit-learn's C: small is strong). Every class has an image."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not wholly converged is good enough: the held-out images judge
        fitted = LogisticRegression(C=strength, max_iter=300).fit(scaled, labels)
    weight, bias = fitted.coef_.astype(np.float32), fitted.intercept_.astype(np.float32)
    if classes == 2:  # one row that tells the second class from the first
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Linear(weight, bias)
