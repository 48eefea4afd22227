"""Choosing a head: its time and memory beside one fit of scikit-learn's, and how right the chosen head is.

``python -m tests.benchmarks.choosing [--times] [--rights] [--set NAME] [--json FILE]``, without an option both. Times
are of features made to be as difficult as real ones: mixtures of two real images of a class with noise of others.
Each is measured in a process of its own; memory is what comes on top of the features. Rights are of fold 4 of the sets
in `labelled_sets`, which takes no part in the choice: all other images, and 16 and 5 of each class in three draws.
With ``--every-fold`` each fold is left out in turn. ``--before FILE`` (what ``--json`` wrote with other code) puts the
difference beside each row, and whether it is chance (`rights_compared`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import registry
from models.checkpoints.checkpoint import Pretrained
from models.scoring import likeness
from models.weights.store import WeightsStore
from tests.benchmarks import labelled_sets
from tests.benchmarks.labelled_sets import LabelledSet, Labels
from tests.benchmarks.rights_compared import Right, compared, joined
from trainer.data.folds import assign
from trainer.heads.choice import Choice
from trainer.heads.choosing import FEW_IMAGES, choose_head
from trainer.heads.linear import GradientOptions, Scaling, to_unit_length
from trainer.heads.views import Part
from trainer.measuring.calibration import losses

#: Images and classes of what is timed.
SIZES = ((1_000, 6), (3_000, 96), (10_000, 6), (30_000, 30))
#: How many of each class are drawn, and how often; None is all.
DRAWS = ((None, 1), (16, 3), (5, 3))
#: The strength of the one fit: the best for these features.
STRENGTH = 3e-3
FOLDS, SEED = 5, 0
#: How much an image is moved towards others, and the share of labels that are of chance.
NOISE, WRONG = 0.4, 0.03

Features = npt.NDArray[np.float32]
#: The fields of a `Right`, by set and by images of a class.
Rights = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU and on the clock, and MiB that were needed beside the features."""

    cpu: float
    clock: float
    mebibytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", action="store_true", help="only time and memory")
    parser.add_argument("--rights", action="store_true", help="only accuracy and log-loss")
    parser.add_argument("--set", action="append", choices=labelled_sets.NAMES, help="only this set, for --rights")
    parser.add_argument("--size", type=int, action="append", help="only this many images, for --times")
    parser.add_argument("--every-fold", action="store_true", help="leave out each fold in turn, for --rights")
    parser.add_argument("--before", type=Path, metavar="FILE", help="compare with the rights in this JSON file")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, features, labels = options.measure
        print(json.dumps(asdict(measure(what, np.load(features), np.load(labels)))))
        return
    both = options.times == options.rights
    result: dict[str, object] = {}
    if both or options.times:
        result["times"] = times(options.size or [images for images, _ in SIZES])
    if both or options.rights:
        before = json.loads(options.before.read_text())["rights"] if options.before else {}
        unseen = range(FOLDS) if options.every_fold else [FOLDS - 1]
        result["rights"] = rights(options.set or labelled_sets.NAMES, unseen, before)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


# --- time and memory


def times(sizes: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """The table of costs, by images and by what was done."""
    print(f"{'images':>7}{'classes':>8}  {'':14}{'CPU s':>8}{'clock s':>9}{'MiB':>7}", flush=True)
    found = {}
    for images, classes in SIZES:
        if images not in sizes:
            continue
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / "features.npy", Path(folder) / "labels.npy"]
            features, labels = made(images, classes)
            np.save(paths[0], features)
            np.save(paths[1], labels)
            del features
            costs = {what: apart(what, paths) for what in ("choose", "scikit-learn")}
        for what, cost in costs.items():
            print(f"{images:7}{classes:8}  {what:14}{cost['cpu']:8.1f}{cost['clock']:9.1f}{cost['mebibytes']:7.0f}")
        print(f"{'':17}{'ratio':14}{costs['choose']['cpu'] / costs['scikit-learn']['cpu']:8.1f}", flush=True)
        found[f"{images}; {classes}"] = costs
    return found


def apart(what: str, paths: Sequence[Path]) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.choosing", "--measure", what, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cost: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return cost


def measure(what: str, features: Features, labels: Labels) -> Cost:
    """Choose a head, or let scikit-learn fit one."""
    warnings.simplefilter("ignore")
    chosen_from(features[:60].copy(), np.arange(60) % 2, 2)  # what is imported late is there then
    before, cpu, clock = resident("VmRSS"), time.process_time(), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
    if what == "choose":
        chosen_from(features, labels, int(labels.max()) + 1)
    else:
        from sklearn.linear_model import LogisticRegression

        to_unit_length(features, [features.shape[1]])
        Scaling.from_features(features, [features.shape[1]]).apply_in_place(features)
        LogisticRegression(C=STRENGTH, max_iter=200).fit(features, labels)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return Cost(cpu, clock, resident("VmHWM") - before)


def resident(mark: str) -> float:
    """The resident memory in MiB, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(mark)) / 1024


def made(images: int, classes: int) -> tuple[Features, Labels]:
    """Features and labels of images of scenes, of their parts, or of these and of the sixty classes of few."""
    pool = scenes_in(classes) if classes <= 60 else both(scenes_in(classes - 60), labelled_sets.load("many"))
    random = np.random.default_rng(images)
    labels = np.arange(images) % classes
    one, other = np.empty((2, images), np.int64)
    for label in range(classes):
        rows = labels == label
        one[rows], other[rows] = random.choice(np.flatnonzero(pool.labels == label), (2, int(rows.sum())))
    features = np.empty((images, pool.features.shape[1]), np.float32)
    for start in range(0, images, 1024):
        some = slice(start, start + 1024)
        share = random.random((len(labels[some]), 1), np.float32)
        here, there = pool.features[random.integers(0, len(pool.labels), (2, len(share)))]
        mixed = share * pool.features[one[some]] + (1 - share) * pool.features[other[some]]
        features[some] = np.maximum(mixed + np.float32(NOISE) * (here - there), 0)
    wrong = random.random(images) < WRONG
    return features, np.where(wrong, random.integers(0, classes, images), labels)


def scenes_in(classes: int) -> LabelledSet:
    """Scenes, each class parted into as many clusters as it takes."""
    from sklearn.cluster import KMeans

    scenes = labelled_sets.load("intel_scenes6")
    parts = classes // len(scenes.classes)
    labels = np.empty_like(scenes.labels)
    for label in range(len(scenes.classes)):
        rows = scenes.labels == label
        labels[rows] = parts * label + KMeans(parts, random_state=0, n_init=1).fit_predict(scenes.features[rows])
    return LabelledSet("parts", [str(at) for at in range(classes)], scenes.features, labels, labels, scenes.folds)


def both(one: LabelledSet, other: LabelledSet) -> LabelledSet:
    labels = np.concatenate([one.labels, other.labels + len(one.classes)])
    features, folds = np.concatenate([one.features, other.features]), np.concatenate([one.folds, other.folds])
    return LabelledSet("both", one.classes + other.classes, features, labels, labels, folds)


# --- accuracy and log-loss


def rights(names: Sequence[str], unseen: Sequence[int], before: Rights) -> Rights:
    """The table of accuracies and log-losses on the unseen folds, by set and by images of a class."""
    print(f"{'set':16}{'a class':>8}{'images':>8}{'accuracy':>10}{'log-loss':>10}{'CPU s':>8}  taken", flush=True)
    found: Rights = {}
    for name in names:
        given = labelled_sets.load(name)
        found[name] = {}
        for count, draws in DRAWS:
            started, label = time.process_time(), str(count or "all")
            row = joined(
                [[right(given, drawn, fold) for drawn in samples(given, count, draws, fold)] for fold in unseen]
            )
            cpu = (time.process_time() - started) / draws / len(unseen)
            figures = f"{len(row.losses[0]):8}{row.accuracy:10.4f}{row.loss:10.4f}{cpu:8.1f}  {row.taken}"
            print(f"{name:16}{label:>8}{figures}", flush=True)
            if label in before.get(name, {}):
                print(f"{'':24}  {compared(Right(**before[name][label]), row)}", flush=True)
            found[name][label] = asdict(row)
    return found


def samples(given: LabelledSet, count: int | None, draws: int, unseen: int) -> Iterator[LabelledSet]:
    """The images outside a fold, or so many of each class."""
    others = np.flatnonzero(given.folds != unseen)
    for seed in range(draws):
        if count is None:
            yield given.part(others)
            continue
        random = np.random.default_rng(seed)
        drawn = [random.permutation(others[given.labels[others] == at])[:count] for at in range(len(given.classes))]
        yield given.part(np.sort(np.concatenate(drawn)))


def right(given: LabelledSet, drawn: LabelledSet, unseen: int) -> Right:
    """Choose a head on what is drawn, and judge it on a fold."""
    check = given.part(given.folds == unseen)
    choice = chosen_from(drawn.features.copy(), drawn.labels, len(given.classes))
    features = check.features.copy()
    if choice.pretrained is None:
        to_unit_length(features, [features.shape[1]])
    else:
        features = likeness(features, choice.pretrained)
    logits = choice.head.logits(choice.scaling.apply(features))
    hits = (logits.argmax(axis=1) == check.truth).astype(int).tolist()
    return Right([hits], [losses(logits, check.truth, choice.temperature).round(5).tolist()], choice.winner)


def chosen_from(features: Features, labels: Labels, classes: int) -> Choice:
    """Choose a head from these; the features are overwritten."""
    names, of = [str(at) for at in range(len(labels))], [str(label) for label in labels]
    seeds = range(SEED, SEED + (5 if len(labels) < FEW_IMAGES else 1))
    folds, *redrawn = [assign(names, of, FOLDS, seed) for seed in seeds]
    part = Part(registry.EMBEDDED, features.shape[1], pretrained=_imagenet())
    return choose_head(features, labels, folds, classes, [part], GradientOptions(seed=SEED), redrawn_folds=redrawn)


def _imagenet() -> Pretrained:
    backbone = registry.locate(registry.EMBEDDED, None, WeightsStore(labelled_sets.FOLDER / "weights"))
    assert backbone.imagenet_head is not None
    return Pretrained.rounded(*backbone.imagenet_head())


if __name__ == "__main__":
    main()
