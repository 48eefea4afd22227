"""What the first rank hands to the others: all that fine-tuning needs, except weights and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from models import registry
from models.errors import UserError
from models.registry import Backbone
from models.text.language import tr
from models.weights.store import WeightsStore
from trainer.data.dataset import Sample, shown
from trainer.finetuning.course import LabelledSamples
from trainer.finetuning.finetune import FineTuneOptions
from trainer.finetuning.group import Payload
from trainer.heads.linear import Linear, Scaling
from trainer.measuring.calibration import Labels


@dataclass(frozen=True)
class Work:
    """The arguments of `trainer.finetuning.finetune.fine_tune` by which all ranks do the same."""

    parts: Sequence[Backbone]
    head: Linear
    scaling: Scaling
    train: LabelledSamples
    held_out: LabelledSamples
    options: FineTuneOptions

    @property
    def arguments(
        self,
    ) -> tuple[Sequence[Backbone], Linear, Scaling, LabelledSamples, LabelledSamples, FineTuneOptions]:
        """Return them in their order."""
        return self.parts, self.head, self.scaling, self.train, self.held_out, self.options

    def payload(self) -> Payload:
        """Return it in a form that `read_work` reads."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "weight": self.head.weight,
            "bias": self.head.bias,
            "mean": self.scaling.mean,
            "scale": self.scaling.scale,
            "train": self.train.labels,
            "held_out": self.held_out.labels,
        }
        state = {
            "parts": [(part.name, part.source, part.digest) for part in self.parts],
            "train": _rows(self.train),
            "held_out": _rows(self.held_out),
            "options": asdict(self.options),
        }
        return Payload(arrays, state)


def read_work(payload: Payload, store: WeightsStore) -> Work:
    """Read the work of a payload, with the weights that this machine has.

    Raises `UserError` where they are missing or different.
    """
    arrays, state = payload.arrays, payload.state
    parts = []
    for name, source, digest in state["parts"]:
        part = registry.locate(name, source, store)
        if part.digest != digest:
            raise UserError(
                tr("the weights of {name} differ between the machines: give all the same --weights", name=name)
            )
        parts.append(part)
    return Work(
        parts,
        Linear(arrays["weight"], arrays["bias"]),
        Scaling(arrays["mean"], arrays["scale"]),
        _side(state["train"], arrays["train"]),
        _side(state["held_out"], arrays["held_out"]),
        FineTuneOptions(**state["options"]),
    )


def require_images(work: Work) -> None:
    """Raise `UserError` where images cannot be found on this machine, which is not that of the fit."""
    for sample in (*work.train.samples, *work.held_out.samples):
        if not sample.path.is_file():
            raise UserError(
                tr(
                    "{path} is not there on one of the machines: they all need the same images at the same place, "
                    "such as a shared folder",
                    path=shown(sample.path),
                )
            )


def _rows(side: LabelledSamples) -> list[tuple[str, str]]:
    return [(str(sample.path.absolute()), sample.name) for sample in side.samples]


def _side(rows: Sequence[tuple[str, str]], labels: Labels) -> LabelledSamples:
    return LabelledSamples([Sample(Path(path), name, "", "") for path, name in rows], labels)
