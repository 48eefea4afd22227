"""Evaluate a checkpoint on images whose class is known, and write the report folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.deciding.class_tree import ClassTree
from models.errors import UserError
from models.files.ownership import make_folder
from models.text.language import tr, trn
from models.weights.store import WeightsStore
from trainer.data import dataset
from trainer.data.dataset import ClassFolders, shown
from trainer.measuring import pairwise
from trainer.measuring.classify import (
    Classified,
    ClassMatch,
    OpenedCheckpoint,
    checkpoint_titles,
    classify,
    match_classes,
    open_checkpoint,
)
from trainer.measuring.evaluation import Evaluation
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.pairwise import Comparison, compare_pair
from trainer.measuring.split_file import read_split
from trainer.reports.report import describe, write_report
from trainer.runs.folder import require_writable, write_json
from trainer.tables import listed, padded, say

#: Longer lists are cut on the terminal; the report folder has them whole.
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of ``evaluate``, named as on the command line."""

    data_dir: Path
    checkpoint: Path
    compare: Path | None = None
    batch_size: int = 32
    output_dir: Path | None = None
    cache_dir: Path | None = None


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Classify, print and write the report; return what ``--json`` prints. Raises `UserError`."""
    dataset.require_folder(options.data_dir)
    opened = _open(options)
    folders = dataset.scan(options.data_dir, tree=_tree(opened[0]), least_classes=1)
    matched = _match(opened, folders)
    output = options.output_dir or Path("reports") / f"{opened[0].run}-{options.data_dir.resolve().name}"
    require_writable(output, "--output-dir")
    classified = classify(folders.files, [checkpoint.classifier for checkpoint in opened], options.batch_size)
    known = [row for row, file in enumerate(classified.files) if file.label in matched[0].positions]
    if not known:
        raise UserError(
            tr("no image of {data_dir} is readable and of a class that the checkpoint knows", data_dir=options.data_dir)
        )
    evaluation = Evaluation(opened[0], matched[0], classified, known)
    predictions = evaluation.predictions()
    comparison = None
    if len(opened) > 1:
        comparison = compare_pair(
            classified, matched, [checkpoint.classifier.classes for checkpoint in opened], checkpoint_titles(opened)
        )
    summary = _summary(options, folders, evaluation, predictions, output)
    if comparison is not None:
        summary["compare"] = _comparison_summary(comparison, opened, classified)
    _write(output, evaluation, predictions, summary, comparison)
    _report(evaluation, predictions, summary, output)
    return summary


def _open(options: EvaluateOptions) -> list[OpenedCheckpoint]:
    """Open the checkpoint, and the one to compare it with."""
    store = WeightsStore(options.cache_dir)
    paths = [path for path in (options.checkpoint, options.compare) if path is not None]
    opened = [open_checkpoint(path, store) for path in paths]
    if len(opened) > 1 and opened[0].classifier.digest == opened[1].classifier.digest:
        raise UserError(
            tr(
                "{checkpoint} and {compare} are the same checkpoint: there is nothing to compare",
                checkpoint=options.checkpoint,
                compare=options.compare,
            )
        )
    return opened


def _tree(opened: OpenedCheckpoint) -> ClassTree | None:
    """Return the classes of a checkpoint if they lie in folders of classes: the data set is then read by these."""
    tree = opened.classifier.tree
    return tree if tree.inner_folders else None


def _match(opened: Sequence[OpenedCheckpoint], folders: ClassFolders) -> list[ClassMatch]:
    """Match the classes of the checkpoints with those of the data set, and report both."""
    matched = []
    for checkpoint in opened:
        classifier = checkpoint.classifier
        text = tr(
            "{path}: {count} classes, {mode}",
            path=shown(checkpoint.path),
            count=len(classifier.classes),
            mode=classifier.metadata.mode,
        )
        say(tr("checkpoint"), text)
        matched.append(match_classes(folders.classes, classifier.classes))
        _say_classes(matched[-1], folders, checkpoint)
    return matched


def _say_classes(matched: ClassMatch, folders: ClassFolders, opened: OpenedCheckpoint) -> None:
    if not matched.positions:
        raise UserError(
            tr(
                "no class of {root} ({names}) is known to the checkpoint ({known})",
                root=folders.root,
                names=", ".join(matched.only_in_data[:8]),
                known=", ".join(sorted(opened.classifier.classes)[:8]),
            )
        )
    for label, name in matched.renamed.items():
        say("", tr("images of {label} count as its class {name}", label=label, name=name))
    if matched.only_in_data:
        say("", tr("it does not know {names}: not counted below", names=listed(matched.only_in_data, _LISTED)))
    if matched.only_in_checkpoint:
        say("", tr("the data has no image of {names}", names=listed(matched.only_in_checkpoint, _LISTED)))


def _summary(
    options: EvaluateOptions,
    folders: ClassFolders,
    evaluation: Evaluation,
    predictions: LabelledPredictions,
    output: Path,
) -> dict[str, Any]:
    opened, matched = evaluation.opened, evaluation.matched
    return {
        "checkpoint": shown(opened.path),
        "sha256": opened.classifier.digest,
        "data_dir": shown(options.data_dir),
        "figures": predictions.figures(),
        "filing": predictions.counts_by(evaluation.opened.classifier.metadata.rule).figures(),
        "classes": predictions.class_scores(),
        "renamed": dict(matched.renamed),
        "only_in_data": matched.only_in_data,
        "only_in_checkpoint": matched.only_in_checkpoint,
        "empty_folders": list(folders.empty),
        "coarse": {"images": len(folders.coarse), "folders": folders.coarse_folders},
        "unknown_classes": evaluation.unknown_classes(),
        "fitted_on": _count_fitted_on(opened, evaluation.classified),
        "unreadable": [
            f"{shown(image.name)}: {image.reason}, {image.message}" for image in evaluation.classified.unreadable
        ],
        "output_dir": shown(output),
    }


def _comparison_summary(
    comparison: Comparison, opened: list[OpenedCheckpoint], classified: Classified
) -> dict[str, Any]:
    first, second = (set(checkpoint.classifier.classes) for checkpoint in opened)
    summary = comparison.summary()
    for checkpoint, run in zip(opened, summary["runs"], strict=True):
        run |= {
            "checkpoint": shown(checkpoint.path),
            "sha256": checkpoint.classifier.digest,
            "fitted_on": _count_fitted_on(checkpoint, classified),
        }
    return summary | {"only_in_first": sorted(first - second), "only_in_second": sorted(second - first)}


def _count_fitted_on(opened: OpenedCheckpoint, classified: Classified) -> int:
    """Count the images that a run was fitted on, by its split; the served head was fitted on held-out ones too."""
    split = read_split(opened.path.parent)
    if split is None:
        return 0
    fitted = split.never_held_out | {sha256 for sha256, _ in split.held_out}
    return sum(sha256 in fitted for sha256 in classified.sha256)


def _notes(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the notes that are needed to read the figures."""
    notes = []
    unknown, compare = summary["unknown_classes"], summary.get("compare")
    if summary["coarse"]["images"]:
        text = trn(
            "not counted: {count} image that lies directly in a folder above those of classes ({names})",
            "not counted: {count} images that lie directly in folders above those of classes ({names})",
            summary["coarse"]["images"],
            names=listed(summary["coarse"]["folders"], _LISTED),
        )
        notes.append((tr("coarse"), text))
    if unknown["images"]:
        classes = [f"{label} {count}" for label, count in unknown["classes"].items()]
        predicted = [f"{label} {count}" for label, count in unknown["taken_for"].items()]
        text = tr(
            "not counted: images of classes it does not know ({classes}), taken for {taken}; "
            "refused as unlike anything it was taught: {refused}, filed: {filed}",
            classes=listed(classes, _LISTED),
            taken=listed(predicted, _LISTED),
            refused=unknown["refused_as_unknown"],
            filed=unknown["filed"],
        )
        notes.append((tr("unknown"), text))
    if summary["unreadable"]:
        text = tr("not counted: images that cannot be read ({count})", count=len(summary["unreadable"]))
        notes.append((tr("unreadable"), text))
    if fitted := summary["fitted_on"]:
        text = trn(
            "{count} of these images is among those it was fitted on: the figures flatter it",
            "{count} of these images are among those it was fitted on: the figures flatter it",
            fitted,
        )
        notes.append((tr("warning"), text))
    for run in compare["runs"][1:] if compare else []:
        if fitted := run["fitted_on"]:
            text = trn(
                "{count} of these images is among those {name} was fitted on: the figures flatter it",
                "{count} of these images are among those {name} was fitted on: the figures flatter it",
                fitted,
                name=run["name"],
            )
            notes.append((tr("warning"), text))
    if compare:
        if compare["only_in_first"] or compare["only_in_second"]:
            text = tr("the two know different classes: compared on images of those that both know")
            notes.append((tr("compare"), text))
        notes.append((tr("compare"), compare["sentence"]))
    return notes


def _write(
    output: Path,
    evaluation: Evaluation,
    predictions: LabelledPredictions,
    summary: dict[str, Any],
    comparison: Comparison | None,
) -> None:
    preface = [(tr("checkpoint"), f"{summary['checkpoint']} (sha256 {summary['sha256'][:12]})")]
    preface += [(tr("data"), summary["data_dir"]), *_notes(summary)]
    try:
        make_folder(output)
        write_json(output / "report.json", summary)
        _write_predictions(output / "predictions.csv", evaluation)
        if comparison is None:
            (output / pairwise.FILE_NAME).unlink(missing_ok=True)  # of an earlier evaluation
        else:
            comparison.write(output / pairwise.FILE_NAME)
        write_report(
            output,
            predictions,
            [evaluation.classified.files[row].path for row in evaluation.known],
            counts=predictions.counts_by(evaluation.opened.classifier.metadata.rule),
            preface="".join(padded(topic, 11) + f"{text}\n" for topic, text in preface) + "\n",
        )
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            tr("{output} cannot be written to ({reason}): give another --output-dir", output=output, reason=reason)
        ) from error


def _write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Write a row for every readable image; columns about the true class are empty where the checkpoint lacks it.

    ``fate`` is what the daemon does: file the image into the predicted class or the folder above it, which stands under
    ``filed_as``, or not, as unsure or unknown.
    """
    classes = evaluation.opened.classifier.classes
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            [
                "file",
                "label",
                "predicted",
                "confidence",
                "strangeness",
                "fate",
                "true_probability",
                "right",
                "in_top_3",
                "filed_as",
            ]
        )
        for image, probabilities, strangeness, (fate, filed_as) in zip(
            evaluation.classified.files,
            evaluation.probabilities,
            evaluation.strangeness,
            evaluation.filed_as(),
            strict=True,
        ):
            best = np.argsort(-probabilities, kind="stable")[:3].tolist()
            row = [
                image.name,
                image.label,
                classes[best[0]],
                f"{probabilities[best[0]]:.6f}",
                f"{strangeness:.6f}",
                fate,
            ]
            true = evaluation.matched.positions.get(image.label)
            if true is None:
                rows.writerow([*row, "", "", "", filed_as or ""])
            else:
                found = [f"{probabilities[true]:.6f}", int(best[0] == true), int(true in best)]
                rows.writerow([*row, *found, filed_as or ""])


def _report(evaluation: Evaluation, predictions: LabelledPredictions, summary: dict[str, Any], output: Path) -> None:
    for line in summary["unreadable"][:_LISTED]:
        say(tr("unreadable"), line)
    print(f"\n{describe(predictions, predictions.counts_by(evaluation.opened.classifier.metadata.rule))}")
    for topic, text in _notes(summary):
        say(topic, text)
    say(tr("written"), f"{shown(output)}: {', '.join(sorted(path.name for path in output.iterdir()))}")
