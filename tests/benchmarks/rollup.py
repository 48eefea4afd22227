"""What filing into the folder above a class brings: ``python -m tests.benchmarks.rollup [SET ...] [--json FILE]``.

Of each nested set one fold in turn is left unseen: a head is chosen on the other four, the thresholds for
``--max-error`` (``--asked``, 0.02) on its predictions out of fold, and then the unseen images are filed as the daemon
would file them, into classes alone and with roll-up. Folds are added up. A wrong share is marked with ``!`` where its
95 % interval lies above the share that was asked for.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.checkpoints.metadata import Promise
from models.deciding.rule import DecisionRule, are_unknown
from tests.benchmarks.chosen_heads import chosen_head, score_images
from tests.benchmarks.labelled_sets import LabelledSet, as_it_is
from tests.conftest import SHARED_DATA
from trainer.measuring.bounds import interval
from trainer.measuring.calibration import log_probabilities
from trainer.measuring.filing_counts import ThresholdCounts
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.thresholds import Thresholds, thresholds_for

ASKED = 0.02
FOLDS = (0, 1, 2, 3, 4)
_MOST = 300  # images of a class

SCENES: dict[str, tuple[str, ...]] = {
    "natural": ("forest", "glacier", "mountain", "sea"),
    "built": ("buildings", "street"),
}
INSECTS: dict[str, tuple[str, ...]] = {"insects": ("ants", "bees")}
SMALL: dict[str, tuple[str, ...]] = {
    "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
    "vehicles": ("airplane", "automobile", "ship", "truck"),
}

#: Each set with the folders of its classes, by the data set these come from.
SETS: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "scenes and insects": {"intel_scenes6": SCENES, "hymenoptera2": INSECTS},
    "small photographs": {"cifar10_jpeg": SMALL},
    "three deep": {
        "intel_scenes6": {f"places/{folder}": names for folder, names in SCENES.items()},
        "hymenoptera2": {"creatures/insects": INSECTS["insects"]},
        "cifar10_jpeg": {"creatures/vertebrates": SMALL["animals"], "vehicles": SMALL["vehicles"]},
    },
}


@dataclass(frozen=True)
class Draw:
    """The thresholds found on the judged images of four folds, and what becomes of those of the fifth."""

    thresholds: Thresholds
    alone: ThresholdCounts
    rolled_up: ThresholdCounts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--asked", type=float, default=ASKED, metavar="SHARE")
    parser.add_argument("--unseen", type=int, nargs="+", choices=FOLDS, default=list(FOLDS), metavar="FOLD")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if strangers := sorted(set(options.names) - set(SETS)):
        parser.error(f"there is no set {', '.join(strangers)}: choose from {', '.join(SETS)}")
    if not SHARED_DATA.is_dir():
        print("skipped: the labelled pictures that this takes are not here")
        return
    figures = []
    print(f"{'set':20} {'filed into':22} {'filed':>7}  {'wrong':>6}  {'interval':16}  promised, by folds")
    for name in options.names or SETS:
        data = nested(name)
        draws = [filed(data, fold, options.asked) for fold in options.unseen]
        for row in rows(draws, options.asked):
            figures.append({"set": name, "asked": options.asked, **row})
            print(_line(name, row, options.asked), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def nested(name: str) -> LabelledSet:
    """A nested set: at most `_MOST` images of a class, those of a set in the order of its list."""
    parts = [(as_it_is(source), folders) for source, folders in SETS[name].items()]
    classes = sorted(f"{folder}/{cls}" for _, folders in parts for folder, names in folders.items() for cls in names)
    features, labels, folds = [], [], []
    for data, folders in parts:
        path_of = {cls: f"{folder}/{cls}" for folder, names in folders.items() for cls in names}
        taken = np.concatenate([np.flatnonzero(data.labels == data.classes.index(cls))[:_MOST] for cls in path_of])
        features.append(data.features[taken])
        labels.append(np.array([classes.index(path_of[data.classes[label]]) for label in data.labels[taken]]))
        folds.append(data.folds[taken])
    joined = np.concatenate(labels)
    return LabelledSet(name, classes, np.concatenate(features), joined, joined, np.concatenate(folds))


def filed(data: LabelledSet, unseen: int, asked: float) -> Draw:
    """Fit on four folds as ``fit`` does, and file the images of the fifth."""
    seen, others = data.part(data.folds != unseen), data.part(data.folds == unseen)
    choice = chosen_head(seen)
    known = np.full(len(seen.labels), True) if choice.span is None else choice.span.known
    judged = LabelledPredictions(
        data.classes,
        seen.labels[choice.judged],
        np.exp(log_probabilities(choice.out_of_fold, choice.temperature)),
        ~known[choice.judged],
    )
    count = len(judged.labels)
    thresholds = thresholds_for(judged, np.arange(count), asked, [""] * count)
    probabilities, strangeness = score_images(choice, others.features)
    unseen_images = LabelledPredictions(
        data.classes, others.truth, probabilities.astype(np.float64), are_unknown(strangeness)
    )
    alone = unseen_images.counts_by(DecisionRule(thresholds.threshold))
    return Draw(thresholds, alone, thresholds.counts(unseen_images))


def rows(draws: list[Draw], asked: float) -> Iterator[dict[str, Any]]:
    """The sums of the draws: for classes alone, then with roll-up for each level, and for all of them."""
    images = sum(draw.alone.images for draw in draws)
    promised = [_told(draw.thresholds.kept_promise) for draw in draws]
    yield _row("classes alone", images, [(draw.alone.filed, draw.alone.wrong) for draw in draws], promised)
    by_depth: dict[int, list[tuple[int, int]]] = defaultdict(list)
    told: dict[int, list[str]] = defaultdict(list)
    for draw in draws:
        for level in draw.thresholds.levels:
            told[level.depth].append(_told(level.promise))
            by_depth[level.depth].append((0, 0))
        for counts in draw.rolled_up.inner:
            by_depth[counts.depth].append((counts.filed, counts.wrong))
    for depth in sorted(by_depth, reverse=True):
        yield _row(f"+ folders at depth {depth}", images, by_depth[depth], told[depth])
    yield _row("with roll-up", images, [(draw.rolled_up.filed, draw.rolled_up.wrong) for draw in draws], [])


def _row(what: str, images: int, counts: list[tuple[int, int]], promised: list[str]) -> dict[str, Any]:
    into, wrong = (int(total) for total in np.sum(counts, axis=0))
    return {"level": what, "images": images, "filed": into, "wrong": wrong, "promised": dict(Counter(promised))}


def _line(name: str, row: dict[str, Any], asked: float) -> str:
    low, high = interval(row["wrong"], row["filed"]) if row["filed"] else (0.0, 1.0)
    share = row["wrong"] / row["filed"] if row["filed"] else 0.0
    mark = "!" if low > asked else " "
    promised = ", ".join(f"{what}: {count}" for what, count in row["promised"].items())
    spread = f"({low:.1%} to {high:.1%})"
    return (
        f"{name:20} {row['level']:22} {row['filed'] / row['images']:7.1%}  {share:6.2%}{mark} {spread:16}  {promised}"
    )


def _told(promise: Promise | None) -> str:
    if promise is None:
        return "nothing"
    sure = "estimate" if promise.certainty is None else f"{promise.certainty:.0%} sure"
    return f"{promise.max_error:.3g} {sure}"


if __name__ == "__main__":
    main()
