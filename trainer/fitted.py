"""The options of a fit, and its result: backbones with the head chosen for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from models.checkpoints.checkpoint import Array
from models.inference.runtime import FeatureExtractor
from trainer.data.cache import DEFAULT_SIZE
from trainer.data.dataset import DataSet, Mask, Sample, shown
from trainer.data.folds import NEVER, fold_count
from trainer.data.neighbours import Positions
from trainer.data.unlabelled import UnlabelledCounts
from trainer.heads.choice import Choice
from trainer.heads.linear import GradientOptions
from trainer.learning.kept import DEFAULT_LIMIT, UNJUDGED, Half, KeptFeatures, as_hashes
from trainer.measuring.calibration import log_probabilities
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.thresholds import Thresholds, thresholds_for
from trainer.runs.folder import Setting
from trainer.runs.retention import KEEP

Policy = Literal["always", "never", "if-better"]
#: What computes the features: this machine, or a cluster of Ray.
EngineName = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Options of ``fit``, named as on the command line; ``data_dir``, ``labels`` or both are given."""

    data_dir: Path | None = None
    labels: Path | None = None
    nested: bool = False
    class_source: Literal["folders", "xmp"] = "folders"
    tags: Sequence[str] = ()
    mode: str = "auto"
    engine: EngineName = "local"
    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    patience: int = 5
    seed: int = 0
    val_fraction: float = 0.2
    max_samples: int | None = None
    drop_parts: bool = False
    unlabelled: Sequence[Path] = ()
    max_error: float | None = None
    threshold: float | None = None
    fine_tune: bool = False
    ft_lr: float = 1e-4
    ft_epochs: int = 5
    output_dir: Path = Path("checkpoints")
    publish: Policy = "if-better"
    keep: int = KEEP
    cache_dir: Path | None = None
    cache_size: int = DEFAULT_SIZE
    keep_features: int = DEFAULT_LIMIT
    resume: bool = False
    weights: Mapping[str, str] = field(default_factory=dict)
    verbose: bool = False

    @property
    def gradient(self) -> GradientOptions:
        """The options of the gradient head."""
        return GradientOptions(
            epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, patience=self.patience, seed=self.seed
        )

    def settings(self) -> dict[str, Setting]:
        """Return the options as they are saved in the run folder and in the checkpoint."""
        settings = asdict(self)
        settings.pop("verbose")
        settings.pop("engine")  # by either the result is the same
        weights = settings.pop("weights")
        unlabelled = settings.pop("unlabelled")
        settings["labels_from"] = settings.pop("labels")  # a lesson counts labels under the other name
        settings["tags"] = ", ".join(settings.pop("tags"))
        settings |= {f"unlabelled_{number}": folder for number, folder in enumerate(unlabelled, 1)}
        settings |= {f"weights_{name}": source for name, source in weights.items()}
        return {name: shown(value) if isinstance(value, Path) else value for name, value in settings.items()}


@dataclass(frozen=True)
class Fitted:
    """Backbones and the head chosen for them. ``tuned``: fine-tuned weights by part and tensor name, if any.

    ``unlabelled`` counts the unlabelled images, where there were to be any. ``features`` are the raw features that the
    head was fitted on, where they are to be kept.
    """

    extractor: FeatureExtractor
    choice: Choice
    tuned: Mapping[str, Mapping[str, Array]]
    unlabelled: UnlabelledCounts | None = None
    features: Half | None = None

    def predictions(self, images: DataSet, among: Mask | None = None) -> LabelledPredictions:
        """Return the out-of-fold predictions for the judged images, or for those of them in the mask ``among`` (n,)."""
        judged = self.choice.judged
        selected = judged if among is None else judged & among
        logits = log_probabilities(self.choice.out_of_fold[selected[judged]], self.choice.temperature)
        unknown = None if self.choice.span is None else ~self.choice.span.known[selected]
        return LabelledPredictions(images.classes, images.labels[selected], np.exp(logits), unknown)

    def thresholds(
        self, images: DataSet, groups: Positions, max_error: float | None, among: Mask | None = None
    ) -> Thresholds:
        """Return the thresholds that the predictions for all judged ``images`` allow, or those ``among`` them (n,).

        ``groups`` (n,) are those of `trainer.data.neighbours`.
        """
        judged = self.choice.judged if among is None else self.choice.judged & among
        names = [shown(images.samples[row].name) for row in np.flatnonzero(judged).tolist()]
        return thresholds_for(self.predictions(images, among), groups[judged], max_error, names)

    def judged(self, images: DataSet) -> list[Sample]:
        """Return the samples of `predictions`, in the same order."""
        return [sample for sample, is_judged in zip(images.samples, self.choice.judged, strict=True) if is_judged]

    def kept(self, images: DataSet, pictures: Positions, options: FitOptions) -> KeptFeatures | None:
        """Return what the run keeps of its features, if anything; ``pictures`` as for `thresholds`."""
        if self.features is None:
            return None
        texts = self.choice.texts
        predicted = np.full(len(images.labels), UNJUDGED)
        predicted[self.choice.judged] = self.choice.out_of_fold.argmax(axis=1)
        return KeptFeatures(
            self.features,
            images.labels,
            predicted,
            np.where(self.choice.judged, images.folds, NEVER),
            pictures,
            as_hashes([sample.sha256 for sample in images.samples]),
            images.classes,
            self.choice.recipe,
            fold_count(options.val_fraction),
            options.seed,
            None if texts is None else texts.weight * self.choice.scaling.scale,
        )
