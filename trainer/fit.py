"""Fit a checkpoint: images, features, heads, optional fine-tuning, a run folder, publication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.checkpoints.checkpoint import Pretrained
from models.checkpoints.tuned import tuned_backbone
from models.cluster.connection import require_ray
from models.errors import UserError
from models.files.markers import reserved_names
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.registry import Backbone
from models.text.language import tr
from models.weights.store import WeightsStore
from trainer.data import dataset
from trainer.data.audit import audit
from trainer.data.cache import FeatureCache, Features
from trainer.data.dataset import ClassFolders, DataSet, File, Mask, Sample
from trainer.data.features import Extracted, extract
from trainer.data.folds import NEVER, Folds
from trainer.data.neighbours import Positions, group_images
from trainer.data.tagged import scan_tags
from trainer.data.unlabelled import read_unlabelled, scan_unlabelled
from trainer.finetuning.team import Team
from trainer.fitted import FitOptions, Fitted
from trainer.heads.choice import Choice
from trainer.heads.choosing import FEW_IMAGES, choose_head, clearly_lower
from trainer.heads.linear import Epoch
from trainer.heads.prompts import Embeddings, text_embeddings
from trainer.heads.views import Part
from trainer.learning.joined import Joined, join, read_peoples_labels
from trainer.learning.kept import columns_of, features_to_keep
from trainer.measuring.against_published import Verdict, compare_with_published
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports import narrate, narrate_data
from trainer.reports.unlabelled import unlabelled_sentences
from trainer.run_writer import write_run
from trainer.runs.folder import require_writable
from trainer.runs.publish import find_dropped_classes, publish, refusal_reason
from trainer.runs.resume import UnfinishedFit, unfinished_fit
from trainer.tables import say

#: How many more divisions into folds are drawn where images are few.
_REDRAWN_FOLDS = 4


@dataclass(frozen=True)
class FitOutcome:
    """The result of a fit: its run folder, its predictions, and whether and why it was published."""

    run: Path
    predictions: LabelledPredictions
    published: bool
    reason: str


def fit(options: FitOptions, team: Team | None = None) -> FitOutcome:
    """Fit a checkpoint, write its run folder, and publish it as ``options.publish`` says. Raises `UserError`.

    ``team`` are the processes that fine-tune together, of which this is the first.
    """
    if options.engine == "ray":
        require_ray()
    store = WeightsStore(options.cache_dir)
    require_writable(options.output_dir, "--output-dir")
    folders = _scan(options)
    _require_allowed_names(options, folders.classes)
    peoples = None
    if options.labels is not None:
        reserved = reserved_names(options.output_dir)
        peoples = read_peoples_labels(options.labels, folders, reserved, nested=options.nested)
    unlabelled_files = scan_unlabelled(options.unlabelled, seed=options.seed)
    parts = locate_backbones(options.mode, options.weights, store)
    extractor = open_extractor(parts, store)
    narrate_data.begin(folders, extractor, verbose=options.verbose)
    narrate_data.no_unlabelled(unlabelled_files.empty)
    progress = unfinished_fit(store, options.data_dir, options.settings())
    resumes = progress.begin(resume=options.resume)
    if options.resume:
        narrate_data.resumption(resumes=resumes)

    with FeatureCache(parts, store, size=options.cache_size) as cache:
        extracted = _extract([*folders.files, *([] if peoples is None else peoples.files)], extractor, cache, options)
        joined = None if peoples is None else join(peoples, extracted, folders.classes)
        if joined is not None:
            extracted = joined.extracted
            narrate_data.joined(joined)
        unlabelled = (
            read_unlabelled(unlabelled_files, extracted.samples, extractor, cache) if options.unlabelled else None
        )
    groups = group_images(
        [sample.sha256 for sample in extracted.samples],
        extracted.hashes,
        [sample.label for sample in extracted.samples],
    )
    images = dataset.divide(
        folders.root,
        extracted.samples,
        groups.first,
        extracted.unreadable,
        held_out=options.val_fraction,
        seed=options.seed,
    )
    findings = audit(extracted, groups.first, max(transform.crop for transform in extractor.transforms))
    narrate_data.images(images, extracted, findings, int(groups.parted.sum()), verbose=options.verbose)

    stages: dict[str, list[Epoch]] = {"head": []}
    features = features_to_keep(extracted.features, extractor.parts, options.keep_features)
    drop_parts = options.drop_parts or options.mode == "auto"
    redrawn_folds = _redraw_folds(images, groups.first, options)
    choice = _choose_head(
        images,
        images.folds,
        extracted.features,
        extractor,
        options,
        stages["head"],
        drop_parts=drop_parts,
        redrawn_folds=redrawn_folds,
        unlabelled=None if unlabelled is None else unlabelled.features,
    )
    counts = None if unlabelled is None else unlabelled.counts
    features = columns_of(choice.parts, features, extractor.parts, options.keep_features)
    fitted = Fitted(_keep_chosen_parts(extractor, choice, store), choice, {}, counts, features)
    narrate.choice(choice, len(images.samples), verbose=options.verbose)
    if options.fine_tune:
        stages["fine-tune"] = []
        fitted = _fine_tune(fitted, images, options, store, progress, stages["fine-tune"], team)

    narrate.unlabelled(unlabelled_sentences(fitted.unlabelled, fitted.choice.propagation, is_tuned=bool(fitted.tuned)))
    predictions = fitted.predictions(images)
    thresholds = fitted.thresholds(images, groups.first, options.max_error, _trusted(joined, fitted))
    if options.threshold is not None:
        thresholds = thresholds.with_given(options.threshold, insisted=options.publish == "always")
    kept = fitted.kept(images, groups.first, options)
    run = write_run(options, fitted, images, findings, predictions, thresholds, stages, kept, joined)
    narrate.result(predictions, thresholds, run, verbose=options.verbose)
    if kept is None and options.keep_features:
        narrate.no_features(options.keep_features)
    verdict = _decide_publication(options, fitted.judged(images), predictions, store)
    if verdict.publish:
        narrate.dropped_classes(find_dropped_classes(options.output_dir, predictions.classes).sentences())
        publish(run, store, keep=options.keep)
    progress.finish()
    narrate.verdict(verdict, run)
    return FitOutcome(run, predictions, verdict.publish, verdict.reason)


def _extract(files: Sequence[File], extractor: FeatureExtractor, cache: FeatureCache, options: FitOptions) -> Extracted:
    if options.engine == "local":
        return extract(files, extractor, cache)
    from trainer.data.cluster_features import extract_by_ray

    return extract_by_ray(files, extractor, cache, options.weights, options.cache_dir)


def _scan(options: FitOptions) -> ClassFolders:
    """List the data set; nothing where the fit is on labels alone. Raises `UserError`."""
    if options.tags and options.class_source != "xmp":
        raise UserError(tr("--tags says which tags are classes: give --labels-from xmp, too"))
    if options.data_dir is None and options.labels is not None and options.class_source == "xmp":
        raise UserError(tr("--labels-from xmp says where the classes of --data-dir come from: give --data-dir, too"))
    if options.data_dir is not None and options.class_source == "xmp":
        folders, counts = scan_tags(
            options.data_dir,
            classes=options.tags,
            nested=options.nested,
            max_samples=options.max_samples,
            seed=options.seed,
        )
        narrate_data.tags(counts)
        return folders
    if options.data_dir is not None:
        return dataset.scan(options.data_dir, nested=options.nested, max_samples=options.max_samples, seed=options.seed)
    if options.labels is None:
        raise UserError(
            tr("there is nothing to fit on: give --data-dir a folder with one folder of images per class, or --labels")
        )
    return ClassFolders(options.labels, (), ())


def _trusted(joined: Joined | None, fitted: Fitted) -> Mask | None:
    """Return which images (n,) thresholds are found by: those of the data set, if any of them is judged."""
    trusted = None if joined is None else joined.is_trusted
    return trusted if trusted is not None and (trusted & fitted.choice.judged).any() else None


def _require_allowed_names(options: FitOptions, classes: Sequence[str]) -> None:
    """Raise `UserError` before all the work where the result could not be published."""
    if options.publish == "never" or (reason := refusal_reason(options.output_dir, classes)) is None:
        return
    raise UserError(tr("nothing is fitted, since a daemon would refuse it: {why}; or give --publish never", why=reason))


def _choose_head(
    images: DataSet,
    folds: Folds,
    features: Features,
    extractor: FeatureExtractor,
    options: FitOptions,
    epochs: list[Epoch],
    *,
    drop_parts: bool,
    redrawn_folds: Sequence[Folds] = (),
    unlabelled: Features | None = None,
) -> Choice:
    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        if options.verbose:
            narrate.epoch(epoch, options.epochs, tr("of one head that is tried"))

    texts = text_embeddings(extractor.parts, images.classes)
    return choose_head(
        features,
        images.labels,
        folds,
        len(images.classes),
        [_part(part, text) for part, text in zip(extractor.parts, texts, strict=True)],
        options.gradient,
        drop_parts=drop_parts,
        redrawn_folds=redrawn_folds,
        unlabelled=unlabelled,
        on_epoch=on_epoch,
    )


def _redraw_folds(images: DataSet, groups: Positions, options: FitOptions) -> list[Folds]:
    """Draw more divisions into folds by the seeds that follow, where images are few and the division matters."""
    if int((images.folds != NEVER).sum()) >= FEW_IMAGES:
        return []
    seeds = range(options.seed + 1, options.seed + 1 + _REDRAWN_FOLDS)
    return [dataset.fold_samples(images.samples, groups, held_out=options.val_fraction, seed=seed) for seed in seeds]


def _part(backbone: Backbone, texts: Embeddings | None) -> Part:
    """Describe a backbone for `choose_head`; a fine-tuned one has other features than its pretrained classifier."""
    head = None if backbone.tuned is not None else backbone.imagenet_head
    return Part(backbone.name, backbone.width, texts, None if head is None else Pretrained.rounded(*head()))


def _keep_chosen_parts(extractor: FeatureExtractor, choice: Choice, store: WeightsStore) -> FeatureExtractor:
    """Return an extractor of the chosen parts only."""
    if len(choice.parts) == len(extractor.parts):
        return extractor
    return open_extractor([extractor.parts[position] for position in choice.parts], store)


def _fine_tune(
    frozen: Fitted,
    images: DataSet,
    options: FitOptions,
    store: WeightsStore,
    progress: UnfinishedFit,
    epochs: list[Epoch],
    team: Team | None,
) -> Fitted:
    """Fine-tune the backbones and fit a head on them; return these if clearly better on fold 0, else ``frozen``.

    Only fold 0 judges: the tuned backbones were fitted on all other images, as was the fold-0 head of ``frozen``.
    """
    from trainer.finetuning.course import LabelledSamples
    from trainer.finetuning.finetune import FineTuneOptions, fine_tune
    from trainer.finetuning.sharing import hand_out
    from trainer.finetuning.work import Work

    if not images.is_held_out.any():
        say(tr("fine-tune"), tr("not done: no image is held out to tell whether it helps"))
        return frozen

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)  # an epoch may take minutes, so each is reported even without --verbose
        narrate.epoch(epoch, options.ft_epochs, tr("of fine-tuning"))

    parts = frozen.extractor.parts
    work = Work(
        parts,
        frozen.choice.start.head,
        frozen.choice.start.scaling,
        LabelledSamples(images.training, images.labels[~images.is_held_out]),
        LabelledSamples(images.held_out, images.labels[images.is_held_out]),
        FineTuneOptions(
            epochs=options.ft_epochs,
            lr=options.ft_lr,
            batch_size=options.batch_size,
            patience=options.patience,
            seed=options.seed,
        ),
    )

    def tell(text: str) -> None:
        say(tr("fine-tune"), text)

    tuned = fine_tune(*work.arguments, tell, on_epoch, progress, None if team is None else hand_out(team, work, tell))
    extractor = open_extractor([tuned_backbone(part, tuned[part.name], store) for part in parts], store)
    files = [dataset.File(sample.path, sample.name, sample.label) for sample in images.samples]
    extracted = extract(files, extractor, None)
    if extracted.unreadable:
        unreadable = extracted.unreadable[0]
        raise UserError(
            tr(
                "{name} changed while it was fitted on ({message}): fit again",
                name=dataset.shown(unreadable.name),
                message=unreadable.message,
            )
        )
    judging_folds = np.where(images.is_held_out, images.folds, NEVER)
    features = features_to_keep(extracted.features, parts, options.keep_features)
    choice = _choose_head(images, judging_folds, extracted.features, extractor, options, [], drop_parts=False)
    narrate.choice(choice, len(images.samples), verbose=options.verbose)
    before, after = frozen.predictions(images, images.is_held_out), Fitted(extractor, choice, tuned).predictions(images)
    is_better = clearly_lower(after.losses, before.losses)
    narrate.fine_tuning(is_better, before, after)
    return Fitted(extractor, choice, tuned, frozen.unlabelled, features) if is_better else frozen


def _decide_publication(
    options: FitOptions, judged: list[Sample], predictions: LabelledPredictions, store: WeightsStore
) -> Verdict:
    if options.publish != "never" and (reason := refusal_reason(options.output_dir, predictions.classes)) is not None:
        return Verdict(False, reason, publishable=False)
    if options.publish == "if-better":
        if predictions.is_no_better_than_chance:
            return Verdict(False, tr("nothing shows that it is better than guessing"))
        return compare_with_published(options.output_dir, judged, predictions, store)
    return Verdict(options.publish == "always", tr("--publish {policy} was given", policy=options.publish))
