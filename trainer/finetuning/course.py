"""The course of fine-tuning: its state after an epoch, from which an interrupted one resumes to the same result.

The order and the augmentation of the images follow from the seed and the number of the epoch, so the weights, the
optimizer and the best epoch so far are the whole state.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.registry import Backbone
from trainer.data.dataset import Sample
from trainer.heads.linear import MIN_DELTA, Epoch, Linear, Scaling
from trainer.measuring.calibration import Labels
from trainer.runs.resume import SavedProgress
from trainer.runs.versions import versions

Tensors = Mapping[str, torch.Tensor]

#: The prefixes of the names of saved arrays.
_TRAINED, _BEST, _OPTIMIZER = "learned.", "best.", "optimizer."
#: The numbers of a `Course` by the names that they are saved under.
_NUMBERS = {
    "best_epoch": "best_epoch",
    "best_loss": "best_loss",
    "hoped": "improved_epoch",
    "hoped_loss": "improved_loss",
}


@dataclass(frozen=True)
class LabelledSamples:
    """Samples with their labels (n,)."""

    samples: Sequence[Sample]
    labels: Labels


@dataclass
class Course:
    """The epochs so far, and the weights of the ``best`` by held-out loss; before the first epoch, the initial ones.

    ``improved_epoch`` is the last one that lowered the loss by enough to reset the patience, and ``improved_loss`` what
    it lowered it to.
    """

    best: Tensors
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    improved_epoch: int = 0
    improved_loss: float = math.inf

    def add(self, epoch: Epoch, trained: Tensors) -> None:
        """Add an epoch and the weights it ended with."""
        self.epochs.append(epoch)
        if epoch.held_out_loss < self.best_loss:
            self.best, self.best_epoch, self.best_loss = trained, epoch.number, epoch.held_out_loss
        if self.best_loss < self.improved_loss - MIN_DELTA:
            self.improved_epoch, self.improved_loss = epoch.number, self.best_loss

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether all ``epochs`` are done, or the last ``patience`` (0: unlimited) brought no improvement."""
        done = len(self.epochs)
        return done >= epochs or (patience > 0 and done - self.improved_epoch >= patience)

    def progress(self, trained: Tensors, optimizer: torch.optim.Optimizer, step: int, digest: str) -> SavedProgress:
        """Return the state to save, with the current weights and the optimizer after ``step`` steps."""
        best = {} if self.best_epoch == len(self.epochs) else self.best  # after the best epoch, both are the same
        arrays = {_TRAINED + name: _array(tensor) for name, tensor in trained.items()}
        arrays |= {_BEST + name: _array(tensor) for name, tensor in best.items()}
        for number, parameter in enumerate(_parameters(optimizer)):
            for name, tensor in optimizer.state[parameter].items():
                arrays[f"{_OPTIMIZER}{number}.{name}"] = _array(tensor)
        numbers = {key: getattr(self, name) for key, name in _NUMBERS.items()}
        epochs = [asdict(epoch) for epoch in self.epochs]
        return SavedProgress(arrays, {**numbers, "epochs": epochs, "step": step, "digest": digest})


def restore(progress: SavedProgress, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Course, int]:
    """Restore a course from `Course.progress`, with weights and optimizer; return it and its number of steps."""
    state = progress.state
    trained, best = _tensors(progress, _TRAINED), _tensors(progress, _BEST)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in trained:
                parameter.copy_(trained[name])
    for number, parameter in enumerate(_parameters(optimizer)):
        saved = _tensors(progress, f"{_OPTIMIZER}{number}.")
        # The memory layout is that of the optimizer itself, since it may decide the last bit of results.
        optimizer.state[parameter] = {
            name: torch.zeros_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
            for name, tensor in saved.items()
        }
    epochs = [Epoch(**fields) for fields in state["epochs"]]
    return Course(best or trained, epochs, **{name: state[key] for key, name in _NUMBERS.items()}), state["step"]


def course_digest(
    parts: Sequence[Backbone], head: Linear, scaling: Scaling, sides: Sequence[LabelledSamples], options: object
) -> str:
    """Return the sha256 of all that decides the result of fine-tuning; progress with another digest is of no use."""
    sha256 = hashlib.sha256(repr((options, [part.digest for part in parts], versions())).encode())
    for array in (head.weight, head.bias, scaling.mean, scaling.scale):
        sha256.update(np.ascontiguousarray(array).tobytes())
    for side in sides:
        sha256.update(repr([sample.sha256 for sample in side.samples]).encode())
        sha256.update(np.ascontiguousarray(side.labels).tobytes())
    return sha256.hexdigest()


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _tensors(progress: SavedProgress, prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(array)
        for name, array in progress.arrays.items()
        if name.startswith(prefix)
    }
