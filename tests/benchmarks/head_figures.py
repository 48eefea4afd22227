"""Figures that docstrings of ``trainer.heads`` name: ``python -m tests.benchmarks.head_figures [--json FILE]``.

All are of fold 4, or of every fold in turn, of the sets in `labelled_sets`, by images that no head was fitted on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from models import registry
from tests.benchmarks.labelled_sets import LabelledSet, load
from trainer.data.cache import Features
from trainer.data.folds import assign
from trainer.heads.candidates import USUAL_STRENGTH, View, logistic_candidate
from trainer.heads.linear import to_unit_length
from trainer.heads.task import FittingTask, Weights
from trainer.heads.views import Part, view_of_all_parts
from trainer.measuring.calibration import accuracy, log_loss

DRAWS = 10
#: Images of the classes of scenes, in random order, where classes count alike and where images do.
SKEWED = (400, 50, 50, 50, 50, 20)


class EvenTask(FittingTask):
    """A task in which images count alike, however many their classes have."""

    @cached_property
    def weights(self) -> Weights:
        return (super().weights > 0).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = {}
    for measure in (balanced_classes, served_head):
        figures[measure.__name__] = found = measure()
        print(measure.__name__)
        for name, row in found.items():
            print(f"  {name:24}", "".join(f"  {what} {value:.3f}" for what, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def balanced_classes() -> dict[str, dict[str, float]]:
    """Compare heads for which all classes count alike with heads for which all images do, where classes are skewed."""
    scenes = load("intel_scenes6")
    check = scenes.part(scenes.folds == 4)
    rows: dict[str, list[tuple[float, ...]]] = {"classes count alike": [], "images count alike": []}
    for draw in range(DRAWS):
        view = _view(_drawn(scenes, np.random.default_rng(draw).permutation(SKEWED).tolist(), draw))
        given = view.task
        even = EvenTask(given.inputs, given.labels, given.classes, given.folds)
        for name, task in zip(rows, (given, even), strict=True):
            head = logistic_candidate(replace(view, task=task), [USUAL_STRENGTH])
            right = head.out_of_fold.argmax(axis=1) == given.labels
            recall = float(np.mean([right[given.labels == label].mean() for label in range(given.classes)]))
            loss = log_loss(head.heads[-1].logits(_inputs(view, check.features)), check.truth, head.temperature)
            rows[name].append((recall, head.accuracy, loss))
    return {name: _means(("recall", "accuracy", "log-loss on fold 4"), of) for name, of in rows.items()}


def served_head() -> dict[str, dict[str, float]]:
    """Compare the head of all images with those of four fifths of them."""
    found = {}
    for name in ("intel_scenes6", "hymenoptera2"):
        given, rows = load(name), []
        for fold in range(5):
            view, check = _view(given.part(given.folds != fold)), given.part(given.folds == fold)
            heads = logistic_candidate(view, [USUAL_STRENGTH]).heads
            *parts, whole = (accuracy(head.logits(_inputs(view, check.features)), check.truth) for head in heads)
            rows.append((whole, float(np.mean(parts))))
        found[name] = _means(("accuracy of all", "of four fifths"), rows)
    return found


def _drawn(given: LabelledSet, counts: list[int], seed: int) -> LabelledSet:
    """So many images of each class outside fold 4."""
    random, others = np.random.default_rng(seed), np.flatnonzero(given.folds != 4)
    rows = [random.permutation(others[given.labels[others] == at])[:count] for at, count in enumerate(counts)]
    return given.part(np.concatenate(rows))


def _view(given: LabelledSet) -> View:
    """The features of a set, in folds of their own."""
    names, labels = [str(at) for at in range(len(given.labels))], [str(label) for label in given.labels]
    part = Part(registry.EMBEDDED, given.features.shape[1])
    folds = assign(names, labels, 5, 0)
    return view_of_all_parts(given.features.copy(), given.labels, len(given.classes), folds, [part])


def _inputs(view: View, features: Features) -> Features:
    """Raw features (n, width) as the heads of a view get them."""
    inputs = features.copy()
    to_unit_length(inputs, [inputs.shape[1]])
    return view.scaling.apply(inputs)


def _means(names: tuple[str, ...], rows: Sequence[tuple[float, ...]]) -> dict[str, float]:
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


if __name__ == "__main__":
    main()
