"""The report: what a classifier made of images whose class is known, in words, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer import bounds
from trainer.canvas import save
from trainer.charts import curves, reliability, risk_coverage
from trainer.heads import Epoch
from trainer.measure import COVERAGES, Filing, Measured
from trainer.mistakes import contact_sheet
from trainer.plots import confusion_matrix
from trainer.tables import table

#: Confused pairs of classes that are listed.
_PAIRS = 10


def write_report(
    folder: Path,
    measured: Measured,
    paths: Sequence[Path],
    *,
    filing: Filing | None = None,
    stages: Mapping[str, Sequence[Epoch]] | None = None,
    preface: str = "",
) -> None:
    """Write ``report.txt`` and the pictures into ``folder``; only the curves where there is no image to judge by.

    ``paths`` (n,) are the files of the images in ``measured``, ``filing`` is what the daemon would make of
    them, ``stages`` are the epochs of a fit, ``preface`` goes before the report's text.
    """
    (folder / "report.txt").write_text(preface + describe(measured, filing), encoding="utf-8")
    if stages is not None and any(stages.values()):
        save(curves(stages), folder / "curves.png")
    if not len(measured.labels):
        return
    names = [measured.classes[index] for index in measured.concerned]
    save(confusion_matrix(measured.confusion(), names), folder / "confusion_matrix.png")
    save(reliability(measured), folder / "reliability.png")
    save(risk_coverage(measured, None if filing is None else filing.threshold), folder / "risk_coverage.png")
    save(contact_sheet(measured, paths), folder / "mistakes.png")


def describe(measured: Measured, filing: Filing | None = None) -> str:
    """Figures, the table of classes and what is confused most, as text; empty where there is no image."""
    if not len(measured.labels):
        return ""
    parts = [_figures(measured, filing), class_table(measured)]
    if not measured.right.all():
        parts.append(_confused(measured))
    return "\n".join(parts)


def _figures(measured: Measured, filing: Filing | None) -> str:
    figures = measured.figures()
    low, high = measured.interval()
    lines = [
        ("images", f"{len(measured.labels)}, {int(measured.right.sum())} of them right"),
        ("accuracy", f"{figures['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f})"),
        ("macro F1", f"{figures['macro_f1']:.3f}"),
        ("log-loss", f"{figures['log_loss']:.3f} nats"),
        ("calibration error", f"{figures['calibration_error']:.3f}"),
        (
            "surest images",
            ", ".join(f"{share:.0%}: accuracy {measured.accuracy_at(share):.3f}" for share in COVERAGES),
        ),
    ]
    if filing is not None:
        wrong = f", {filing.wrong} of them wrong ({filing.wrong / filing.filed:.2%})" if filing.filed else ""
        sure = f"{100 * filing.threshold:.3g} % sure"
        unsure = f"{filing.unsure} that it is less than {sure} of ({filing.unsure / filing.images:.1%})"
        unknown = f"{filing.unknown} unlike anything it was taught ({filing.unknown / filing.images:.1%})"
        lines += [
            ("filed", f"{filing.filed} ({filing.filed / filing.images:.1%}){wrong}"),
            ("not filed", f"{unsure}, {unknown}"),
        ]
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name:{width}}  {text}\n" for name, text in lines)


def class_table(measured: Measured) -> str:
    """Precision, recall (with its 95 % interval) and F1 of every class that some image is of, or is taken for."""
    counts = measured.confusion()
    rows = [["class", "images", "precision", "recall", "95 % interval", "F1"]]
    for at, index in enumerate(measured.concerned):
        right, of_class, taken_for = int(counts[at, at]), int(counts[at].sum()), int(counts[:, at].sum())
        low, high = bounds.interval(right, of_class)
        rows.append(
            [
                measured.classes[index],
                f"{of_class}",
                f"{right / taken_for:.3f}" if taken_for else "",
                *((f"{right / of_class:.3f}", f"{low:.3f} to {high:.3f}") if of_class else ("", "")),
                f"{2 * right / (of_class + taken_for):.3f}",
            ]
        )
    return table(rows)


def _confused(measured: Measured) -> str:
    """The pairs of classes that most images are lost to."""
    counts = measured.confusion()
    np.fill_diagonal(counts, 0)
    names = [measured.classes[index] for index in measured.concerned]
    pairs = sorted(((-counts[true, taken], true, taken) for true, taken in np.argwhere(counts).tolist()))
    rows = [["most often confused", "taken for", "images"]]
    rows += [[names[true], names[taken], f"{-count}"] for count, true, taken in pairs[:_PAIRS]]
    return table(rows, words=2)
