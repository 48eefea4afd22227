"""Write the report on predictions for images whose class is known: text, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.text.language import tr
from trainer.heads.linear import Epoch
from trainer.measuring import bounds
from trainer.measuring.filing_counts import ThresholdCounts
from trainer.measuring.labelled_predictions import COVERAGES, LabelledPredictions
from trainer.reports.levels import filing_table, folder_table, shared_folder
from trainer.tables import columns, padded, table

#: The most confused pairs of classes that are listed.
_PAIRS = 10


def write_report(
    folder: Path,
    predictions: LabelledPredictions,
    paths: Sequence[Path],
    *,
    counts: ThresholdCounts | None = None,
    stages: Mapping[str, Sequence[Epoch]] | None = None,
    preface: str = "",
    appendix: str = "",
) -> None:
    """Write ``report.txt`` and the figures into ``folder``; of the figures only the curves where no image is judged.

    ``paths`` (n,) are the files of the images in ``predictions``, ``counts`` counts what the daemon would file of
    them, ``stages`` are the epochs of a fit, ``preface`` goes before the report's text and ``appendix`` after it.
    """
    (folder / "report.txt").write_text(preface + describe(predictions, counts) + appendix, encoding="utf-8")
    draw_figures(folder, predictions, paths, counts, stages)


def draw_figures(
    folder: Path,
    predictions: LabelledPredictions,
    paths: Sequence[Path],
    counts: ThresholdCounts | None,
    stages: Mapping[str, Sequence[Epoch]] | None,
) -> None:
    """Draw the figures of a report into ``folder``."""
    # These import matplotlib, which takes longer than most mistakes of use need to be found.
    from trainer.reports.canvas import save
    from trainer.reports.charts import curves, reliability, risk_coverage
    from trainer.reports.confusion_matrix import confusion_matrix
    from trainer.reports.mistakes import contact_sheet

    if stages is not None and any(stages.values()):
        save(curves(stages), folder / "curves.png")
    if not len(predictions.labels):
        return
    names = [predictions.classes[index] for index in predictions.occurring_classes]
    save(confusion_matrix(predictions.confusion(), names), folder / "confusion_matrix.png")
    for old in folder.glob("confusion_matrix_folders*.png"):  # of an earlier evaluation
        old.unlink()
    for depth in predictions.tree.depths:
        above = predictions.seen_from(depth)
        figure = confusion_matrix(above.confusion(), [above.classes[index] for index in above.occurring_classes])
        save(figure, folder / f"confusion_matrix_folders{'' if depth == 1 else f'_{depth}'}.png")
    save(reliability(predictions), folder / "reliability.png")
    save(risk_coverage(predictions, counts), folder / "risk_coverage.png")
    save(contact_sheet(predictions, paths), folder / "mistakes.png")


def describe(predictions: LabelledPredictions, counts: ThresholdCounts | None = None) -> str:
    """Return the figures, the table of classes and the most confused pairs as text; empty where there is no image.

    Where classes are nested, tables of the folders above them stand first.
    """
    if not len(predictions.labels):
        return ""
    parts = [_figures(predictions, counts)]
    if predictions.tree.groups:
        parts += [*([] if counts is None else [filing_table(predictions, counts)]), folder_table(predictions)]
    parts.append(class_table(predictions))
    if not predictions.right.all():
        parts.append(_confused(predictions))
    return "\n".join(parts)


def _figures(predictions: LabelledPredictions, counts: ThresholdCounts | None) -> str:
    figures = predictions.figures()
    low, high = predictions.interval()
    right = tr("{images}, {right} of them right", images=len(predictions.labels), right=int(predictions.right.sum()))
    accuracy = tr(
        "{accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})", accuracy=figures["accuracy"], low=low, high=high
    )
    surest = [
        tr("{share:.0%}: accuracy {accuracy:.3f}", share=share, accuracy=predictions.accuracy_at(share))
        for share in COVERAGES
    ]
    lines = [
        (tr("images"), right),
        (tr("accuracy"), accuracy),
        (tr("macro F1"), f"{figures['macro_f1']:.3f}"),
        (tr("log-loss"), tr("{loss:.3f} nats", loss=figures["log_loss"])),
        (tr("calibration error"), f"{figures['calibration_error']:.3f}"),
        (tr("surest images"), ", ".join(surest)),
        *([] if counts is None else _threshold_lines(counts)),
    ]
    width = max(columns(name) for name, _ in lines)
    return "".join(f"{padded(name, width)}  {text}\n" for name, text in lines)


def _threshold_lines(counts: ThresholdCounts) -> list[tuple[str, str]]:
    """Say how many of the images the daemon would file, and how many not."""
    if counts.filed:
        filed = tr(
            "{filed} ({share:.1%}), {wrong} of them wrong ({wrong_share:.2%})",
            filed=counts.filed,
            share=counts.filed / counts.images,
            wrong=counts.wrong,
            wrong_share=counts.wrong / counts.filed,
        )
    else:
        filed = f"0 ({0:.1%})"
    others = tr(
        "{unsure} that it is less than {sure:.3g} % sure of ({unsure_share:.1%}), "
        "{unknown} unlike anything it was taught ({unknown_share:.1%})",
        unsure=counts.unsure,
        sure=100 * counts.threshold,
        unsure_share=counts.unsure / counts.images,
        unknown=counts.unknown,
        unknown_share=counts.unknown / counts.images,
    )
    return [(tr("filed"), filed), (tr("not filed"), others)]


def class_table(predictions: LabelledPredictions) -> str:
    """Return precision, recall (with its 95 % interval) and F1 of every true or predicted class as a table."""
    counts = predictions.confusion()
    rows = [[tr("class"), tr("images"), tr("precision"), tr("recall"), tr("95 % interval"), "F1"]]
    for row, index in enumerate(predictions.occurring_classes):
        right, images, predicted = int(counts[row, row]), int(counts[row].sum()), int(counts[:, row].sum())
        low, high = bounds.interval(right, images)
        rows.append(
            [
                predictions.classes[index],
                f"{images}",
                f"{right / predicted:.3f}" if predicted else "",
                *((f"{right / images:.3f}", tr("{low:.3f} to {high:.3f}", low=low, high=high)) if images else ("", "")),
                f"{2 * right / (images + predicted):.3f}",
            ]
        )
    return table(rows)


def _confused(predictions: LabelledPredictions) -> str:
    """Return the pairs of classes with the most mistakes as a table."""
    counts = predictions.confusion()
    np.fill_diagonal(counts, 0)
    names = [predictions.classes[index] for index in predictions.occurring_classes]
    pairs = sorted(((-counts[true, predicted], true, predicted) for true, predicted in np.argwhere(counts).tolist()))
    rows = [[tr("most often confused"), tr("taken for"), tr("images")]]
    rows += [[names[true], names[predicted], f"{-count}"] for count, true, predicted in pairs[:_PAIRS]]
    if not predictions.tree.groups:
        return table(rows, words=2)
    within = [shared_folder(row[0], row[1]) for row in rows[1:]]
    both_in = [tr("both in"), *(f"{folder}/" if folder else "" for folder in within)]
    return table([[*row[:2], folder, row[2]] for row, folder in zip(rows, both_in, strict=True)], words=3)
