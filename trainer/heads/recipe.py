"""Recipes: how the head of a run was fitted, so that it can be fitted again on more images without a comparison."""

from __future__ import annotations

from pydantic import Field

from models.checkpoints.metadata import Strict
from trainer.heads import candidates
from trainer.heads.candidates import CandidateHead, Kind, View
from trainer.heads.linear import GradientOptions


class Recipe(Strict):
    """A kind of head with what was chosen for it, and the options of its gradient head.

    ``strength`` is that of the best logistic head, also where another kind won, and ``shrinkage`` that of a
    discriminant. The head starts ``from_texts``, where that was best, and its inputs are the classes that the backbone
    was pretrained with (``as_classes``) or else its features.
    """

    kind: Kind = "logistic"
    strength: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    shrinkage: float | None = Field(default=None, ge=0, le=1)
    from_texts: bool = False
    as_classes: bool = False
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)
    lr: float = Field(default=1e-3, gt=0, le=1)
    patience: int = Field(default=5, ge=0)
    seed: int = Field(default=0, ge=0)

    @classmethod
    def of_winner(cls, winner: CandidateHead, logistic: CandidateHead, view: View, options: GradientOptions) -> Recipe:
        """Note how ``winner`` was fitted on ``view``, on which ``logistic`` is the best logistic head."""
        return cls(
            kind=winner.kind,
            strength=logistic.strength or candidates.USUAL_STRENGTH,
            shrinkage=winner.strength if winner.kind == "discriminant" else None,
            from_texts=view.task.start is not None,
            as_classes=view.pretrained is not None,
            epochs=options.epochs,
            batch_size=options.batch_size,
            lr=options.lr,
            patience=options.patience,
            seed=options.seed,
        )

    @property
    def gradient(self) -> GradientOptions:
        """The options of the gradient head."""
        return GradientOptions(
            epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, patience=self.patience, seed=self.seed
        )


def refit(view: View, recipe: Recipe) -> tuple[CandidateHead, CandidateHead]:
    """Fit a head by its recipe on a view; return it and the logistic head of the same view.

    It is fitted anew and not from the head before, so that the result depends on nothing but the images and labels.
    """
    logistic = candidates.logistic_candidate(view, [recipe.strength])
    if recipe.kind == "logistic":
        return logistic, logistic
    if recipe.kind == "discriminant":
        shrinkages = [] if recipe.shrinkage is None else [recipe.shrinkage]
        return candidates.discriminant_candidate(view, shrinkages), logistic
    gradient = candidates.gradient_candidate(view, recipe.gradient, None)
    if recipe.kind == "gradient":
        return gradient, logistic
    return candidates.mean_candidate(view, candidates.MEAN, gradient, logistic), logistic
