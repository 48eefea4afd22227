"""The whole story of a fit: images, features, heads, perhaps fine-tuning, a run folder, publication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.checkpoint import Pretrained
from models.errors import UserError
from models.registry import Backbone
from models.runtime import FeatureExtractor, open_extractor, select
from models.text.language import tr
from models.tuned import tuned_backbone
from models.weights import WeightsStore
from trainer.data import dataset
from trainer.data.audit import audit
from trainer.data.cache import FeatureCache, Features
from trainer.data.dataset import DataSet, Sample
from trainer.data.features import extract
from trainer.data.folds import NEVER, Folds
from trainer.data.neighbours import Group, group_pictures
from trainer.fitted import FitOptions, Fitted
from trainer.heads.choose import FEW_IMAGES, Choice, choose, clearly_lower
from trainer.heads.linear import Epoch
from trainer.heads.prompts import Embeddings, text_embeddings
from trainer.heads.views import Part
from trainer.measuring.compare import Verdict, compare
from trainer.measuring.measure import LabelledPredictions
from trainer.reports import narrate
from trainer.runs.folder import require_writable
from trainer.runs.publish import leaving, publish, refusal
from trainer.runs.resume import UnfinishedFit, place_of
from trainer.write import write

#: In how many ways more than once few images are folded.
_REDRAWN = 4


@dataclass(frozen=True)
class FitOutcome:
    """What a fit came to: its run folder, its figures, and whether and why it was published."""

    run: Path
    predictions: LabelledPredictions
    published: bool
    reason: str


def fit(options: FitOptions) -> FitOutcome:
    """Fit a checkpoint, write its run folder, publish it where that is wanted. Raises `UserError`."""
    store = WeightsStore(options.cache_dir)
    require_writable(options.output_dir, "--output-dir")
    folders = dataset.scan(options.data_dir, max_samples=options.max_samples, seed=options.seed)
    _require_allowed_names(options, folders.classes)
    parts = select(options.mode, options.weights, store)
    extractor = open_extractor(parts, store)
    narrate.begin(folders, extractor, verbose=options.verbose)
    place = place_of(store, options.data_dir, options.settings())
    resumed = place.begin(resume=options.resume)
    if options.resume:
        narrate.resumption(found=resumed)

    with FeatureCache(parts, store, size=options.cache_size) as cache:
        found = extract(folders.files, extractor, cache)
    alike = group_pictures(
        [sample.sha256 for sample in found.samples], found.hashes, [sample.label for sample in found.samples]
    )
    images = dataset.divide(
        options.data_dir, found.samples, alike.first, found.unreadable, held_out=options.val_fraction, seed=options.seed
    )
    findings = audit(found, alike.first, max(transform.crop for transform in extractor.transforms))
    narrate.images(images, found, findings, int(alike.parted.sum()), verbose=options.verbose)

    stages: dict[str, list[Epoch]] = {"head": []}
    drop_parts = options.drop_parts or options.mode == "auto"
    redrawn_folds = _redrawn(images, alike.first, options)
    choice = _choose(
        images,
        images.folds,
        found.features,
        extractor,
        options,
        stages["head"],
        drop_parts=drop_parts,
        redrawn_folds=redrawn_folds,
    )
    fitted = Fitted(_narrowed(extractor, choice, store), choice, {})
    narrate.choice(choice, len(images.samples), verbose=options.verbose)
    if options.fine_tune:
        stages["fine-tune"] = []
        fitted = _fine_tuned(fitted, images, options, store, place, stages["fine-tune"])

    predictions = fitted.predictions(images)
    thresholds = fitted.thresholds(predictions, alike.first, options.max_error)
    run = write(options, fitted, images, findings, predictions, thresholds, stages)
    narrate.result(predictions, thresholds, run, verbose=options.verbose)
    verdict = _verdict(options, fitted.judged(images), predictions, store)
    if verdict.publish:
        narrate.leaving(leaving(options.output_dir, predictions.classes).sentences())
        publish(run, store, keep=options.keep)
    place.finish()
    narrate.verdict(verdict, run)
    return FitOutcome(run, predictions, verdict.publish, verdict.reason)


def _require_allowed_names(options: FitOptions, classes: Sequence[str]) -> None:
    """Raise `UserError` where the result could not be published, rather than after all the work."""
    if options.publish == "never" or (why := refusal(options.output_dir, classes)) is None:
        return
    raise UserError(tr("nothing is fitted, since a daemon would refuse it: {why}; or give --publish never", why=why))


def _choose(
    images: DataSet,
    folds: Folds,
    features: Features,
    extractor: FeatureExtractor,
    options: FitOptions,
    epochs: list[Epoch],
    *,
    drop_parts: bool,
    redrawn_folds: Sequence[Folds] = (),
) -> Choice:
    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        if options.verbose:
            narrate.epoch(epoch, options.epochs, tr("of one head that is tried"))

    texts = text_embeddings(extractor.parts, images.classes)
    return choose(
        features,
        images.labels,
        folds,
        len(images.classes),
        [_part(part, text) for part, text in zip(extractor.parts, texts, strict=True)],
        options.gradient,
        drop_parts=drop_parts,
        redrawn_folds=redrawn_folds,
        on_epoch=on_epoch,
    )


def _redrawn(images: DataSet, alike: Group, options: FitOptions) -> list[Folds]:
    """Other folds of few images, by the seeds that follow: with few, much depends on who judges whom."""
    if int((images.folds != NEVER).sum()) >= FEW_IMAGES:
        return []
    seeds = range(options.seed + 1, options.seed + 1 + _REDRAWN)
    return [dataset.fold_samples(images.samples, alike, held_out=options.val_fraction, seed=seed) for seed in seeds]


def _part(backbone: Backbone, texts: Embeddings | None) -> Part:
    """What the choice of a head knows of a backbone. Fine-tuned features are no longer those it was pretrained with."""
    head = None if backbone.tuned is not None else backbone.imagenet_head
    return Part(backbone.name, backbone.width, texts, None if head is None else Pretrained.rounded(*head()))


def _narrowed(extractor: FeatureExtractor, choice: Choice, store: WeightsStore) -> FeatureExtractor:
    """The extractor of the chosen parts alone."""
    if len(choice.parts) == len(extractor.parts):
        return extractor
    return open_extractor([extractor.parts[at] for at in choice.parts], store)


def _fine_tuned(
    frozen: Fitted,
    images: DataSet,
    options: FitOptions,
    store: WeightsStore,
    place: UnfinishedFit,
    epochs: list[Epoch],
) -> Fitted:
    """The fine-tuned backbones with a head of their own, if that is clearly better on the images of fold 0.

    Only these judge: the tuned backbones saw all others, which `frozen`'s head for fold 0 did as well.
    """
    from trainer.finetuning.course import Side
    from trainer.finetuning.finetune import FineTuneOptions, fine_tune

    if not images.is_held_out.any():
        narrate.say(tr("fine-tune"), tr("not done: no image is held out to tell whether it helps"))
        return frozen

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)  # each may take minutes, so it is said in any case
        narrate.epoch(epoch, options.ft_epochs, tr("of fine-tuning"))

    parts = frozen.extractor.parts
    tuned = fine_tune(
        parts,
        frozen.choice.start.head,
        frozen.choice.start.scaling,
        Side(images.training, images.labels[~images.is_held_out]),
        Side(images.held_out, images.labels[images.is_held_out]),
        FineTuneOptions(
            epochs=options.ft_epochs,
            lr=options.ft_lr,
            batch_size=options.batch_size,
            patience=options.patience,
            seed=options.seed,
        ),
        lambda text: narrate.say(tr("fine-tune"), text),
        on_epoch,
        place,
    )
    extractor = open_extractor([tuned_backbone(part, tuned[part.name], store) for part in parts], store)
    again = extract([dataset.File(s.path, s.name, s.label) for s in images.samples], extractor, None)
    if again.unreadable:
        lost = again.unreadable[0]
        raise UserError(
            tr(
                "{name} changed while it was fitted on ({message}): fit again",
                name=dataset.shown(lost.name),
                message=lost.message,
            )
        )
    judging_folds = np.where(images.is_held_out, images.folds, NEVER)
    choice = _choose(images, judging_folds, again.features, extractor, options, [], drop_parts=False)
    narrate.choice(choice, len(images.samples), verbose=options.verbose)
    before, after = frozen.predictions(images, images.is_held_out), Fitted(extractor, choice, tuned).predictions(images)
    kept = clearly_lower(after.losses, before.losses)
    narrate.fine_tuning(kept, before, after)
    return Fitted(extractor, choice, tuned) if kept else frozen


def _verdict(
    options: FitOptions, judged: list[Sample], predictions: LabelledPredictions, store: WeightsStore
) -> Verdict:
    if options.publish != "never" and (why := refusal(options.output_dir, predictions.classes)) is not None:
        return Verdict(False, why, publishable=False)
    if options.publish == "if-better":
        if predictions.is_no_better_than_chance:
            return Verdict(False, tr("nothing shows that it is better than guessing"))
        return compare(options.output_dir, judged, predictions, store)
    return Verdict(options.publish == "always", tr("--publish {policy} was given", policy=options.publish))
