"""How images of no class fare: ``python -m tests.benchmarks.unknowns [SET ...]``, before the energy counted and after.

``--json FILE`` writes the figures.

Each class of a set is left out in turn and a head is chosen on the others, in folds 0 to 3. Then come fold 4 of these,
which nothing was fitted on (known), all images of the class that is missing (near), and another set (far). Two rules
are compared with the same head: refuse by the distance from the span alone, or by distance and energy together. For
each it says which shares are refused as unknown, how well strangeness ranks near images above known ones (area under
the ROC curve), and which shares are filed, at 0.5 and at the threshold in force where at most 1 % may be wrong.
``foretold`` is what the fit itself expects to be filed, at 0.5, of a kind that is missing: the mean over its classes.
Of two classes none can be left out; near is the other set then.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.scoring import energies
from tests.benchmarks.chosen_heads import chosen_head, score_images
from tests.benchmarks.labelled_sets import NAMES, LabelledSet, load
from trainer.heads.choice import Choice
from trainer.heads.unknown import Span, limit_of
from trainer.measuring.calibration import log_probabilities
from trainer.measuring.thresholds import choose_thresholds

#: Classes that are left out in a set of more; what comes from elsewhere.
_CLASSES, _FAR, _FAR_IMAGES = 6, "hymenoptera2", 400
#: The rules that are compared, and what is measured of each, with the width of its column.
RULES = ("distance", "both")
FIGURES = {
    "known_refused": 8,
    "near_refused": 7,
    "far_refused": 7,
    "near_area": 7,
    "near_filed_at_half": 8,
    "known_filed_at_half": 7,
    "near_filed_at_1_percent": 8,
    "known_filed_at_1_percent": 7,
    "near_filed_foretold": 10,
}

Floats = npt.NDArray[np.floating[Any]]
#: The figures of both rules.
Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Judged:
    """What becomes of images: strangeness (n,), where 1 is the limit, and confidence (n,)."""

    strangeness: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]

    @property
    def refused(self) -> float:
        return float((self.strangeness > 1).mean())

    def filed(self, threshold: float) -> float:
        return float(((self.strangeness <= 1) & (self.confidence >= threshold)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(
        f"{'set, missing':30}{'rule':>9}{'known':>8}{'near':>7}{'far':>7}{'AUROC':>7}"
        f"{'near':>8}{'known':>7}{'near':>8}{'known':>7}{'foretold':>10}"
    )
    print(f"{'':39}{'refused':>8}{'refused':>14}{'':7}{'filed at 0.5':>15}{'filed at 1 %':>15}")
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for name in options.sets or NAMES:
        figures[name] = {}
        for missing, rows in measure(load(name)):
            show(f"{name}, {missing}", rows)
            figures[name][missing] = {rule: _named(row) for rule, row in zip(RULES, rows, strict=True)}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _named(row: Sequence[float]) -> dict[str, float]:
    """The figures of a rule by their names; without those that there are none of."""
    return {name: value for name, value in zip(FIGURES, row, strict=True) if not math.isnan(value)}


def measure(data: LabelledSet) -> Iterator[tuple[str, Rows]]:
    """What is missing, with the rows of both rules; the mean over the classes comes last."""
    count = len(data.classes)
    if count == 2:
        yield "none", compare(data, None)
        return
    found = []
    for missing in range(0, count, max(count // _CLASSES, 1)):
        found.append(compare(data, missing))
        yield data.classes[missing], found[-1]
    yield "MEAN", np.mean(found, axis=0).tolist()


def show(title: str, rows: Rows) -> None:
    for rule, row in zip(RULES, rows, strict=True):
        shares = "".join(f"{value:{width}.3f}" for value, width in zip(row, FIGURES.values(), strict=True))
        print(f"{title[:29]:30}{rule:>9}{shares}", flush=True)


def compare(data: LabelledSet, missing: int | None) -> Rows:
    """The rows for both rules, with this class left out."""
    known, others = _without(data, missing)
    fitted, unseen = known.part(known.folds != 4), known.part(known.folds == 4)
    choice = chosen_head(fitted)
    far = load(_FAR if data.name != _FAR else "intel_scenes6").features[:_FAR_IMAGES]
    foretold = float("nan")
    if choice.missing_classes is not None:
        shares = [choice.missing_classes.filed_share(label, 0.5) for label in range(len(known.classes))]
        foretold = float(np.mean(shares))
    rows = []
    for span in (_by_distance(choice), choice.span):
        assert span is not None
        model = replace(choice, span=span)
        images = {
            "known": _judged(model, unseen.features),
            "near": _judged(model, others if len(others) else far),
            "far": _judged(model, far),
        }
        threshold = _threshold(model, fitted)
        near, seen = images["near"], images["known"]
        rows.append(
            [
                seen.refused,
                near.refused,
                images["far"].refused,
                _area(seen.strangeness, near.strangeness),
                near.filed(0.5),
                seen.filed(0.5),
                near.filed(threshold),
                seen.filed(threshold),
                foretold,
            ]
        )
    return rows


def _without(data: LabelledSet, missing: int | None) -> tuple[LabelledSet, Floats]:
    """The set without a class, and all images of that class."""
    if missing is None:
        return data, data.features[:0]
    kept = [label for label in range(len(data.classes)) if label != missing]
    position = np.full(len(data.classes), -1)
    position[kept] = np.arange(len(kept))
    known = data.part((data.labels != missing) & (data.truth != missing))
    known = replace(
        known,
        classes=[data.classes[label] for label in kept],
        labels=position[known.labels],
        truth=position[known.truth],
    )
    return known, data.features[data.truth == missing]


def _by_distance(choice: Choice) -> Span:
    """The span as it was before the energy counted."""
    span = choice.span
    assert span is not None
    distances = span.distances.copy()
    energy = energies(choice.out_of_fold / choice.temperature)
    distances[choice.judged] -= span.energy_weight * (energy - span.usual_energy)
    return replace(
        span, distances=distances, limit=limit_of(distances[choice.judged]), energy_weight=0.0, usual_energy=0.0
    )


def _judged(choice: Choice, features: Floats) -> Judged:
    """What the daemon makes of raw features (n, width)."""
    probabilities, strangeness = score_images(choice, features)
    return Judged(strangeness, probabilities.max(axis=1))


def _threshold(choice: Choice, fitted: LabelledSet) -> float:
    """The threshold in force where at most 1 % may be wrong."""
    span = choice.span
    assert span is not None
    confidence = np.exp(log_probabilities(choice.out_of_fold, choice.temperature).max(axis=1))
    right = choice.out_of_fold.argmax(axis=1) == fitted.labels[choice.judged]
    known = np.where(span.known[choice.judged], confidence, -1.0)
    return choose_thresholds(known, right, 0.01, [""] * len(right)).threshold


def _area(known: Floats, others: Floats) -> float:
    """How often one of the others is stranger than a known image, ties counting half."""
    ordered = np.sort(known)
    below = np.searchsorted(ordered, others, side="left") + np.searchsorted(ordered, others, side="right")
    return float(below.mean() / 2 / len(known))


if __name__ == "__main__":
    main()
