"""The report: what a classifier made of images whose class is known, in words, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.text.language import tr
from trainer.heads.linear import Epoch
from trainer.measuring import bounds
from trainer.measuring.measure import COVERAGES, FilingCounts, LabelledPredictions
from trainer.reports.canvas import save
from trainer.reports.charts import curves, reliability, risk_coverage
from trainer.reports.confusion_matrix import confusion_matrix
from trainer.reports.mistakes import contact_sheet
from trainer.tables import columns, padded, table

#: Confused pairs of classes that are listed.
_PAIRS = 10


def write_report(
    folder: Path,
    predictions: LabelledPredictions,
    paths: Sequence[Path],
    *,
    filing: FilingCounts | None = None,
    stages: Mapping[str, Sequence[Epoch]] | None = None,
    preface: str = "",
    appendix: str = "",
) -> None:
    """Write ``report.txt`` and the pictures into ``folder``; only the curves where there is no image to judge by.

    ``paths`` (n,) are the files of the images in ``predictions``, ``filing`` is what the daemon would make of
    them, ``stages`` are the epochs of a fit, ``preface`` goes before the report's text and ``appendix`` after it.
    """
    (folder / "report.txt").write_text(preface + describe(predictions, filing) + appendix, encoding="utf-8")
    if stages is not None and any(stages.values()):
        save(curves(stages), folder / "curves.png")
    if not len(predictions.labels):
        return
    names = [predictions.classes[index] for index in predictions.occurring_classes]
    save(confusion_matrix(predictions.confusion(), names), folder / "confusion_matrix.png")
    save(reliability(predictions), folder / "reliability.png")
    save(risk_coverage(predictions, filing), folder / "risk_coverage.png")
    save(contact_sheet(predictions, paths), folder / "mistakes.png")


def describe(predictions: LabelledPredictions, filing: FilingCounts | None = None) -> str:
    """Figures, the table of classes and what is confused most, as text; empty where there is no image."""
    if not len(predictions.labels):
        return ""
    parts = [_figures(predictions, filing), class_table(predictions)]
    if not predictions.right.all():
        parts.append(_confused(predictions))
    return "\n".join(parts)


def _figures(predictions: LabelledPredictions, filing: FilingCounts | None) -> str:
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
        *([] if filing is None else _fates(filing)),
    ]
    width = max(columns(name) for name, _ in lines)
    return "".join(f"{padded(name, width)}  {text}\n" for name, text in lines)


def _fates(filing: FilingCounts) -> list[tuple[str, str]]:
    """What becomes of the images in the daemon."""
    if filing.filed:
        filed = tr(
            "{filed} ({share:.1%}), {wrong} of them wrong ({wrong_share:.2%})",
            filed=filing.filed,
            share=filing.filed / filing.images,
            wrong=filing.wrong,
            wrong_share=filing.wrong / filing.filed,
        )
    else:
        filed = f"0 ({0:.1%})"
    others = tr(
        "{unsure} that it is less than {sure:.3g} % sure of ({unsure_share:.1%}), "
        "{unknown} unlike anything it was taught ({unknown_share:.1%})",
        unsure=filing.unsure,
        sure=100 * filing.threshold,
        unsure_share=filing.unsure / filing.images,
        unknown=filing.unknown,
        unknown_share=filing.unknown / filing.images,
    )
    return [(tr("filed"), filed), (tr("not filed"), others)]


def class_table(predictions: LabelledPredictions) -> str:
    """Precision, recall (with its 95 % interval) and F1 of every class that some image is of, or is taken for."""
    counts = predictions.confusion()
    rows = [[tr("class"), tr("images"), tr("precision"), tr("recall"), tr("95 % interval"), "F1"]]
    for at, index in enumerate(predictions.occurring_classes):
        right, of_class, taken_for = int(counts[at, at]), int(counts[at].sum()), int(counts[:, at].sum())
        low, high = bounds.interval(right, of_class)
        rows.append(
            [
                predictions.classes[index],
                f"{of_class}",
                f"{right / taken_for:.3f}" if taken_for else "",
                *(
                    (f"{right / of_class:.3f}", tr("{low:.3f} to {high:.3f}", low=low, high=high))
                    if of_class
                    else ("", "")
                ),
                f"{2 * right / (of_class + taken_for):.3f}",
            ]
        )
    return table(rows)


def _confused(predictions: LabelledPredictions) -> str:
    """The pairs of classes that most images are lost to."""
    counts = predictions.confusion()
    np.fill_diagonal(counts, 0)
    names = [predictions.classes[index] for index in predictions.occurring_classes]
    pairs = sorted(((-counts[true, taken], true, taken) for true, taken in np.argwhere(counts).tolist()))
    rows = [[tr("most often confused"), tr("taken for"), tr("images")]]
    rows += [[names[true], names[taken], f"{-count}"] for count, true, taken in pairs[:_PAIRS]]
    return table(rows, words=2)
