"""The whole story of a fit: images, features, heads, perhaps fine-tuning, a run folder, publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from models.checkpoint import Array
from models.errors import UserError
from models.runtime import FeatureExtractor, open_extractor, select, tuned_backbone
from models.weights import WeightsStore
from trainer import data, narrate
from trainer.cache import FeatureCache, Features
from trainer.calibrate import log_probabilities
from trainer.choose import Choice, choose, clearly_lower
from trainer.compare import Verdict, compare
from trainer.data import DataSet
from trainer.features import extract
from trainer.heads import Epoch, GradientOptions, unit_length
from trainer.measure import Measured
from trainer.publish import publish
from trainer.runs import Setting, require_writable
from trainer.write import write

Policy = Literal["always", "never", "if-better"]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What ``fit`` was asked for; the command line has the same names."""

    data_dir: Path
    mode: str = "auto"
    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    patience: int = 5
    seed: int = 0
    val_fraction: float = 0.2
    max_samples: int | None = None
    fine_tune: bool = False
    ft_lr: float = 1e-4
    ft_epochs: int = 5
    output_dir: Path = Path("checkpoints")
    publish: Policy = "if-better"
    cache_dir: Path | None = None
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def gradient(self) -> GradientOptions:
        """What of it concerns the gradient head."""
        return GradientOptions(
            epochs=self.epochs, batch_size=self.batch_size, lr=self.lr, patience=self.patience, seed=self.seed
        )

    def settings(self) -> dict[str, Setting]:
        """As they are kept in the run folder and in the checkpoint."""
        plain = asdict(self)
        weights = plain.pop("weights")
        plain |= {f"weights_{name}": source for name, source in weights.items()}
        return {name: data.shown(value) if isinstance(value, Path) else value for name, value in plain.items()}


@dataclass(frozen=True)
class Fitted:
    """Backbones and the head chosen for them. ``tuned``: fine-tuned weights by part and tensor name, if any."""

    extractor: FeatureExtractor
    choice: Choice
    tuned: Mapping[str, Mapping[str, Array]]

    def measured(self, images: DataSet) -> Measured:
        """What the head made of the held-out images before it was fitted on them too."""
        logits = log_probabilities(self.choice.held_out, self.choice.temperature)
        return Measured(images.classes, images.labels[images.held], np.exp(logits))


@dataclass(frozen=True)
class Outcome:
    """What a fit came to: its run folder, its figures, and whether and why it was published."""

    run: Path
    measured: Measured
    published: bool
    why: str


def fit(options: FitOptions) -> Outcome:
    """Fit a checkpoint, write its run folder, publish it where that is wanted. Raises `UserError`."""
    store = WeightsStore(options.cache_dir)
    require_writable(options.output_dir, "--output-dir")
    folders = data.scan(options.data_dir, max_samples=options.max_samples, seed=options.seed)
    parts = select(options.mode, options.weights, store)
    extractor = open_extractor(parts, store)
    narrate.begin(folders, extractor)

    with FeatureCache(parts, store) as cache:
        found = extract(folders.files, extractor, cache)
    images = data.divide(
        options.data_dir, found.samples, found.unreadable, held_out=options.val_fraction, seed=options.seed
    )
    narrate.images(images, found)

    stages: dict[str, list[Epoch]] = {"head": []}
    fitted = Fitted(extractor, _choose(images, found.features, extractor, options, stages["head"]), {})
    narrate.choice(fitted.choice, len(images.samples))
    if options.fine_tune:
        stages["fine-tune"] = []
        fitted = _fine_tuned(fitted, images, options, store, stages["fine-tune"])

    measured = fitted.measured(images)
    run = write(options, fitted, images, measured, stages)
    narrate.result(measured, run)
    verdict = _verdict(options, images, measured, store)
    if verdict.publish:
        publish(run, store)
    narrate.verdict(verdict, run)
    return Outcome(run, measured, verdict.publish, verdict.why)


def _choose(
    images: DataSet, features: Features, extractor: FeatureExtractor, options: FitOptions, epochs: list[Epoch]
) -> Choice:
    widths = [part.width for part in extractor.parts]

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        narrate.epoch(epoch, options.epochs)

    return choose(
        unit_length(features, widths),
        images.labels,
        images.held,
        len(images.classes),
        widths,
        options.gradient,
        on_epoch,
    )


def _fine_tuned(
    frozen: Fitted, images: DataSet, options: FitOptions, store: WeightsStore, epochs: list[Epoch]
) -> Fitted:
    """The fine-tuned backbones with a head of their own, if that is clearly better on the held-out images."""
    from trainer.finetune import FineTuneOptions, Side, fine_tune

    if not images.held.any():
        narrate.say("fine-tune", "not done: no image is held out to tell whether it helps")
        return frozen

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        narrate.epoch(epoch, options.ft_epochs)

    parts = frozen.extractor.parts
    tuned = fine_tune(
        parts,
        frozen.choice.trained.over(frozen.choice.temperature),
        frozen.choice.trained_scaling,
        Side(images.training, images.labels[~images.held]),
        Side(images.held_out, images.labels[images.held]),
        FineTuneOptions(
            epochs=options.ft_epochs,
            lr=options.ft_lr,
            batch_size=options.batch_size,
            patience=options.patience,
            seed=options.seed,
        ),
        lambda text: narrate.say("fine-tune", text),
        on_epoch,
    )
    extractor = open_extractor([tuned_backbone(part, tuned[part.name], store) for part in parts], store)
    again = extract([data.File(s.path, s.name, s.label) for s in images.samples], extractor, None)
    if again.unreadable:
        lost = again.unreadable[0]
        raise UserError(f"{data.shown(lost.name)} changed while it was fitted on ({lost.message}): fit again")
    choice = _choose(images, again.features, extractor, options, [])
    narrate.choice(choice, len(images.samples))
    before, after = frozen.measured(images), Fitted(extractor, choice, tuned).measured(images)
    kept = clearly_lower(after.losses, before.losses)
    narrate.fine_tuning(kept, before, after)
    return Fitted(extractor, choice, tuned) if kept else frozen


def _verdict(options: FitOptions, images: DataSet, measured: Measured, store: WeightsStore) -> Verdict:
    if options.publish == "if-better":
        return compare(options.output_dir, images.held_out, measured, store)
    return Verdict(options.publish == "always", f"--publish {options.publish} was given")
