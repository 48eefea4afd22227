"""The result of choosing a head: what is served, how it was found, and its predictions for the judged images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.checkpoints.head import Head, Pretrained
from trainer.heads.candidates import CandidateHead, View
from trainer.heads.growth import Growth
from trainer.heads.linear import Linear, Scaling
from trainer.heads.missing_classes import MissingClasses
from trainer.heads.propagation import Propagation
from trainer.heads.recipe import Recipe
from trainer.heads.task import Mask
from trainer.heads.unknown import Span
from trainer.measuring.calibration import Logits


@dataclass(frozen=True)
class Start:
    """What fine-tuning starts from: a head not fitted on fold 0, divided by its temperature, and its scaling."""

    head: Linear
    scaling: Scaling

    @classmethod
    def from_candidate(cls, view: View, candidate: CandidateHead) -> Start:
        """Take the fold-0 head of a candidate that was fitted on this view."""
        return cls(candidate.heads[0].divided_by(candidate.temperature), view.scaling)


@dataclass(frozen=True)
class Choice:
    """The chosen head, fitted on all images, for the features of ``parts`` (positions in the parts that were given).

    ``out_of_fold`` holds the logits (judged images, classes) of the ``judged`` images (n,), each from a head that was
    not fitted on it. Inputs are features at unit length, or what ``pretrained`` makes of the features. ``span`` tells
    which images are unknown, ``missing_classes`` what would become of the images of a missing class, and ``growth``
    what more images would bring; all three are None with too few images or classes. ``winner`` names the chosen
    candidate; ``label`` is that name, and ``reason`` why it was chosen, in the user's language. ``recipe`` is how it
    was fitted, without unlabelled images, and ``texts`` the head that it starts from, if any.
    """

    head: Linear
    scaling: Scaling
    parts: tuple[int, ...]
    temperature: float
    winner: str
    label: str
    reason: str
    candidates: list[CandidateHead]
    recipe: Recipe
    start: Start
    judged: Mask
    out_of_fold: Logits
    span: Span | None
    pretrained: Pretrained | None = None
    growth: Growth | None = None
    missing_classes: MissingClasses | None = None
    propagation: Propagation | None = None
    texts: Linear | None = None

    @property
    def served(self) -> Head:
        """The head as a checkpoint has it."""
        return Head(
            self.head.weight,
            self.head.bias,
            self.scaling.mean,
            self.scaling.scale,
            basis=None if self.span is None else self.span.basis,
            pretrained=self.pretrained,
        )

    @property
    def normalisation(self) -> Literal["l2", "pretrained"]:
        """What the inputs of the served head are, see `models.checkpoints.metadata.Metadata`."""
        return "l2" if self.pretrained is None else "pretrained"
