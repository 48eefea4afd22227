"""Write the run folder of a fit: the checkpoint and the files about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Checkpoint
from models.checkpoints.metadata import Metadata, PartRecord
from models.classifier import make_checkpoint
from models.registry import parts_of
from models.text.language import tr
from trainer.data.audit import ImageFinding, write_audit
from trainer.data.dataset import DataSet, data_digest
from trainer.fitted import FitOptions, Fitted
from trainer.heads.linear import Epoch
from trainer.learning.files import features_figures, write_features
from trainer.learning.joined import Joined, joined_sentences
from trainer.learning.kept import KeptFeatures
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.split_file import write_split
from trainer.measuring.thresholds import Thresholds
from trainer.reports.advice import advice
from trainer.reports.epochs import write_epochs
from trainer.reports.missing_classes import missing_class_lines, missing_figures, missing_sentence
from trainer.reports.narrate import comparison, unrecognised
from trainer.reports.report import write_report
from trainer.reports.unlabelled import unlabelled_figures, unlabelled_sentences
from trainer.runs.folder import METRICS, create_run, write_json, write_settings
from trainer.runs.listing import published_run
from trainer.runs.versions import versions


def write_run(
    options: FitOptions,
    fitted: Fitted,
    images: DataSet,
    findings: Sequence[ImageFinding],
    predictions: LabelledPredictions,
    thresholds: Thresholds,
    stages: Mapping[str, Sequence[Epoch]],
    kept: KeptFeatures | None,
    joined: Joined | None = None,
) -> Path:
    """Write the run folder and return its path. Raises `UserError` when the output folder cannot be written to.

    ``kept`` are the features that it keeps, if any; ``joined`` is what people said of the images.
    """
    now = datetime.now(UTC)
    checkpoint = _make_checkpoint(options, fitted, images, predictions, thresholds, now)
    counts = thresholds.counts(predictions)

    def fill(run: Path) -> None:
        sha256 = checkpoints.write(checkpoint, run / checkpoints.FILE_NAME)
        record = None
        if kept is not None:
            record = write_features(run, kept, checkpoint.metadata.parts, published_run(options.output_dir))
        metrics = _metrics(fitted, images, predictions, thresholds) | features_figures(record)
        if joined is not None:
            metrics["labels"] = joined.figures()
        write_json(run / METRICS, {"sha256": sha256} | metrics)
        write_epochs(run / "history.csv", stages)
        write_settings(run / "settings.toml", options.settings())
        write_split(run / "split.csv", images, fitted.choice.judged, predictions)
        judged = fitted.judged(images)
        write_audit(run / "audit.csv", findings)
        # Fine-tuned backbones were fitted on all images, so heads on a quarter of them tell nothing about growth.
        growth = None if fitted.tuned else fitted.choice.growth
        missing = None if fitted.tuned else fitted.choice.missing_classes
        missing_lines = (
            None if missing is None else list(missing_class_lines(missing, images.classes, thresholds.threshold))
        )
        contradictions = [] if joined is None else joined.contradictions
        text = advice(predictions, judged, findings, growth, missing_lines, contradictions)
        (run / "advice.txt").write_text(text, encoding="utf-8")
        paths = [sample.path for sample in judged]
        preface = (
            _preface(images, predictions, tuned=bool(fitted.tuned))
            + "".join(f"{line}\n" for line in [*unrecognised(predictions), *thresholds.sentences(predictions)])
            + ("" if missing is None else f"{missing_sentence(missing, thresholds.threshold)}\n")
            + ("" if joined is None else "".join(f"{line}\n" for line in joined_sentences(joined)))
            + "\n"
        )
        last = [
            *comparison(fitted.choice, len(images.samples)),
            *unlabelled_sentences(fitted.unlabelled, fitted.choice.propagation, is_tuned=bool(fitted.tuned)),
        ]
        appendix = "\n" + "".join(f"{line}\n" for line in last)
        titled = _titled(stages, fitted)
        write_report(run, predictions, paths, counts=counts, stages=titled, preface=preface, appendix=appendix)

    return create_run(options.output_dir, checkpoint.metadata.mode, now.astimezone(), fill)


def _titled(stages: Mapping[str, Sequence[Epoch]], fitted: Fitted) -> dict[str, Sequence[Epoch]]:
    """Return the stages under their titles for the figure of curves, which say whether the head is served."""
    winner = fitted.choice.winner
    if "mean of" in winner:
        head = tr("gradient head, half of what is served")
    elif "gradient" in winner and not fitted.tuned:
        head = tr("gradient head, which is served")
    else:
        head = tr("gradient head, tried but not served")
    return {head if name == "head" else tr("fine-tune"): epochs for name, epochs in stages.items()}


def _make_checkpoint(
    options: FitOptions,
    fitted: Fitted,
    images: DataSet,
    predictions: LabelledPredictions,
    thresholds: Thresholds,
    now: datetime,
) -> Checkpoint:
    choice, parts = fitted.choice, fitted.extractor.parts
    span = choice.span
    is_whole_mode = options.mode != "auto" and len(parts) == len(parts_of(options.mode))
    mode = options.mode if is_whole_mode else "+".join(part.name for part in parts)
    metadata = Metadata(
        mode=mode,
        parts=[PartRecord.from_backbone(part) for part in parts],
        classes=images.classes,
        normalisation=choice.normalisation,
        temperature=choice.temperature,
        threshold=thresholds.own,
        max_error=thresholds.requested,
        promises=thresholds.promises,
        levels=list(thresholds.levels),
        unknown=None if span is None else span.rule,
        metrics={**predictions.figures(), "all_images": float(len(images.samples))},
        settings=options.settings(),
        data_digest=data_digest(images.samples),
        versions=versions(),
        created=now.isoformat(timespec="seconds"),
    )
    return make_checkpoint(metadata, choice.served, fitted.extractor, fitted.tuned)


def _metrics(
    fitted: Fitted, images: DataSet, predictions: LabelledPredictions, thresholds: Thresholds
) -> dict[str, Any]:
    choice = fitted.choice
    return {
        "held_out": predictions.figures(),
        "filing": thresholds.counts(predictions).figures(),
        "classes": predictions.class_scores() if len(predictions.labels) else {},
        "head": {"taken": choice.winner, "why": choice.reason, "temperature": choice.temperature},
        "thresholds": thresholds.figures(),
        "candidates": [
            {
                "name": candidate.name,
                "out_of_fold_loss": candidate.loss,
                "loss_in_all_ways_to_fold": candidate.refolded_loss,
                "out_of_fold_accuracy": candidate.accuracy,
                "temperature": candidate.temperature,
            }
            for candidate in choice.candidates
        ],
        "missing_classes": None
        if fitted.tuned or choice.missing_classes is None
        else missing_figures(choice.missing_classes, images.classes, thresholds.threshold),
        "fine_tuned": bool(fitted.tuned),
        "unlabelled": unlabelled_figures(fitted.unlabelled, fitted.choice.propagation),
        "images": {
            "all": len(images.samples),
            "held_out": len(predictions.labels),
            "unreadable": len(images.unreadable),
        },
    }


def _preface(images: DataSet, predictions: LabelledPredictions, *, tuned: bool) -> str:
    if not len(predictions.labels):
        return tr("No image was held out, so the accuracy of this checkpoint is unknown.\n")
    if tuned:
        return tr(
            "{judged} of {count} images were held out. This is how fine-tuned backbones\n"
            "and a head that never learned from them classified them; the head that is served was fitted on all.\n"
            "They also decided which epoch of fine-tuning is kept, and that it is: that flatters these figures, and\n"
            "what they promise, a little. Only other images tell for sure: python -m trainer evaluate.\n\n",
            judged=len(predictions.labels),
            count=len(images.samples),
        )
    return tr(
        "{judged} of {count} images were held out in turn. This is how heads that never\n"
        "saw them classified them; the one that is served was fitted on all.\n\n",
        judged=len(predictions.labels),
        count=len(images.samples),
    )
