"""The gradient head: softmax regression by AdamW (Loshchilov and Hutter 2019) on noisy features, stopped early.

Written in NumPy: one linear layer needs no more, and a fit from cached features then never imports torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trainer.heads.linear import MIN_DELTA, Epoch, GradientOptions, Linear, OnEpoch, one_thread
from trainer.heads.task import FittingTask
from trainer.measuring.calibration import accuracy, log_loss

Array = npt.NDArray[np.float32]

#: Gaussian noise on the scaled features of every batch, in their standard deviations. Measured over five folds of two
#: sets: held-out log-loss 0.237 instead of 0.240, and 0.114 instead of 0.122.
NOISE = 1.0
#: Rows of noise, drawn once and then picked at random for every image: drawing new noise took half of the time. There
#: are as many as images, but no fewer and no more than this: 4,096 for 1,000 images took an eighth of the whole choice.
_FEWEST_NOISE_ROWS, _MOST_NOISE_ROWS = 1024, 4096
#: Heads fitted side by side, each with its own order and noise; their logits are averaged. The mean with a logistic
#: head, which is served, is hardly better with more: on fold 4 of five sets, with all images and with 16 and 5 a class,
#: its log-loss is .5422 with one, .5416 with two, .5422 with four. Where images and classes are many it is one.
_MOST_MEMBERS = 2
#: Images times columns times members are at most this, but there is at least one member.
_WORK = 400_000
#: Values that AdamW goes over at once, so that they are in the processor's cache for all of its steps.
_BLOCK = 1 << 15
_DECAY, _BETA1, _BETA2, _EPSILON = 0.01, 0.9, 0.999, 1e-8


@one_thread()
def fit_gradient(
    task: FittingTask, options: GradientOptions, on_epoch: OnEpoch | None = None
) -> tuple[list[Linear], int]:
    """Return the heads of every group after the epoch with the lowest out-of-fold log-loss, and that epoch's number.

    The learning rate falls as a cosine over ``options.epochs``. Where no image is judged, the last epoch counts.
    """
    random = np.random.default_rng(options.seed)
    layer = _Layer(task, options, _members(task))
    best, best_epoch, best_loss = layer.heads(), 0, math.inf
    improved_epoch, improved_loss = 0, math.inf  # the last that was better by enough to reset the patience
    for number in range(1, options.epochs + 1):
        started = time.monotonic()
        train_loss = sum(layer.step(rows, random) for rows in layer.batches(options.batch_size, random))
        heads = layer.heads()
        epoch = _epoch(number, train_loss / len(task.labels), task, heads, time.monotonic() - started)
        if on_epoch is not None:
            on_epoch(epoch)
        if not task.judging_folds or epoch.held_out_loss < best_loss:
            best, best_epoch, best_loss = heads, number, epoch.held_out_loss
        if not task.judging_folds or best_loss < improved_loss - MIN_DELTA:
            improved_epoch, improved_loss = number, best_loss
        elif options.patience and number - improved_epoch >= options.patience:
            break
    return best, best_epoch


def _members(task: FittingTask) -> int:
    """Return how many heads of each group are averaged."""
    work = len(task.labels) * task.groups * task.classes
    return int(np.clip(_WORK // work, 1, _MOST_MEMBERS))


def _epoch(number: int, train_loss: float, task: FittingTask, heads: list[Linear], seconds: float) -> Epoch:
    if not task.judging_folds:
        return Epoch(number, train_loss, math.nan, math.nan, seconds)
    logits, labels = task.out_of_fold(heads), task.labels[task.judged]
    return Epoch(number, train_loss, log_loss(logits, labels), accuracy(logits, labels), seconds)


class _Layer:
    """The members' weights for all groups (members, groups * classes, width), with the moments of AdamW."""

    def __init__(self, task: FittingTask, options: GradientOptions, members: int) -> None:
        self._task, self._members = task, members
        self._groups = task.groups, task.classes
        width, columns = task.scaled.shape[1], task.groups * task.classes
        self._weight = np.zeros((members, columns, width), np.float32)
        self._bias = np.zeros((members, columns, 1), np.float32)
        self._moments = [(np.zeros_like(values), np.zeros_like(values)) for values in (self._weight, self._bias)]
        self._lr, self._steps = options.lr, options.epochs * math.ceil(len(task.labels) / options.batch_size)
        self._step = 0
        rows = int(np.clip(len(task.labels), _FEWEST_NOISE_ROWS, _MOST_NOISE_ROWS))
        noise = np.random.default_rng(options.seed).standard_normal((rows, width), np.float32)
        self._noise = noise * np.float32(NOISE)

    def batches(self, size: int, random: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
        """Yield every image once, in each member's own order: rows (members, size)."""
        images = len(self._task.labels)
        orders = random.permuted(np.tile(np.arange(images), (self._members, 1)), axis=1)
        for start in range(0, images, size):
            yield orders[:, start : start + size]

    def step(self, rows: npt.NDArray[np.int64], random: np.random.Generator) -> float:
        """Learn from one batch (members, size); return the sum of the losses of the last group's head."""
        task = self._task
        inputs = task.scaled[rows]
        inputs += self._noise[random.integers(0, len(self._noise), rows.shape)]
        # Images come last, as in logistic regression: sums over few classes take less time then.
        logits = (self._weight @ inputs.transpose(0, 2, 1) + self._bias).reshape(self._members, *self._groups, -1)
        if task.start is not None:
            logits += task.offset[rows].transpose(0, 2, 1)[:, None]
        truth, weights = task.one_hot[rows].transpose(0, 2, 1)[:, None], task.weights[rows].transpose(0, 2, 1)
        logits -= logits.max(axis=2, keepdims=True)
        probabilities = np.exp(logits)
        sums = probabilities.sum(axis=2)
        losses = np.log(sums[:, -1]) - (logits[:, -1] * truth[:, 0]).sum(axis=1)
        weights /= np.float32(len(rows[0]))
        residual = probabilities * (weights / sums)[:, :, None] - truth * weights[:, :, None]
        flat = residual.reshape(self._members, -1, len(rows[0]))
        self._update(flat @ inputs, flat.sum(axis=2, keepdims=True))
        return float((losses * weights[:, -1]).sum()) * len(rows[0]) / self._members

    def _update(self, *gradients: Array) -> None:
        """Apply one step of AdamW, block by block: these are the largest arrays of a step."""
        lr = self._lr * 0.5 * (1 + math.cos(math.pi * self._step / self._steps))
        self._step += 1
        for values, gradient, (first, second) in zip((self._weight, self._bias), gradients, self._moments, strict=True):
            flat = values.reshape(-1), gradient.reshape(-1), first.reshape(-1), second.reshape(-1)
            for start in range(0, values.size, _BLOCK):
                block = slice(start, start + _BLOCK)
                _adamw(flat[0][block], flat[1][block], flat[2][block], flat[3][block], lr, self._step)

    def heads(self) -> list[Linear]:
        """Return one head for each group, whose logits are the mean of the members'."""
        return self._task.make_heads(
            self._weight.mean(axis=0).T.reshape(-1, *self._groups), self._bias.mean(axis=0).reshape(self._groups)
        )


def _adamw(values: Array, gradient: Array, first: Array, second: Array, lr: float, step: int) -> None:
    """Move values (n,) by one step; the gradient is overwritten. The moments are sums, not yet the weighted means."""
    correction = math.sqrt((1 - _BETA2**step) / (1 - _BETA2))
    values *= 1 - lr * _DECAY
    first *= _BETA1
    first += gradient
    second *= _BETA2
    gradient *= gradient
    second += gradient
    np.sqrt(second, out=gradient)
    gradient += _EPSILON * correction
    np.divide(first, gradient, out=gradient)
    gradient *= lr * correction * (1 - _BETA1) / (1 - _BETA1**step)
    values -= gradient
