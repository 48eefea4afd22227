"""The whole story of a fit: images, features, heads, perhaps fine-tuning, a run folder, publication."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from models.runtime import FeatureExtractor, open_extractor, select, tuned_backbone
from models.weights import WeightsStore
from trainer import data, narrate
from trainer.cache import FeatureCache, Features
from trainer.choose import Choice, choose, clearly_lower
from trainer.compare import Verdict, compare
from trainer.data import DataSet
from trainer.features import extract
from trainer.fitted import FitOptions, Fitted
from trainer.heads import Epoch, unit_length
from trainer.measure import Measured
from trainer.publish import publish
from trainer.runs import require_writable
from trainer.write import write


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
