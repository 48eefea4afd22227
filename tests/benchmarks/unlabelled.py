"""Measure what unlabelled images bring where few are labelled: ``python -m tests.benchmarks.unlabelled [SET...]``.

Of each set, 2 or 5 images a class of folds 0 to 3 are labelled, and the rest of these folds is not. Fold 4 judges.
The rest is given in three ways: as it is, skewed (the most of one class, and a twentieth of it of the last, in random
order), and skewed with a quarter of strangers, images of another set. Printed are means over the draws: accuracy
without unlabelled images, what they would add if they were always taken and what they add as they are taken, how often
that is, the same for log-loss, and CPU seconds for one draw. ``--json FILE`` writes all draws.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks import labelled_sets
from tests.benchmarks.labelled_sets import LabelledSet
from trainer.data.cache import Features
from trainer.data.folds import assign
from trainer.heads.choice import Choice
from trainer.heads.choosing import FEW_IMAGES, choose_head
from trainer.heads.linear import GradientOptions, Linear, to_unit_length
from trainer.heads.views import Part
from trainer.measuring.calibration import Labels, accuracy, log_loss

SHOTS, KINDS, DRAWS = (2, 5), ("even", "skewed", "strangers"), 3
#: Unlabelled images, at most.
MOST = 1500
UNSEEN = 4


@dataclass(frozen=True)
class Draw:
    """Labelled images of one draw, unlabelled ones, and images to judge by."""

    features: Features
    labels: Labels
    unlabelled: Features
    new: Features
    truth: Labels
    classes: int


@dataclass(frozen=True)
class Measured:
    """What one draw gives; gains of accuracy and log-loss are with unlabelled images minus without."""

    accuracy: float
    always: float
    as_taken: float
    taken: float
    loss: float
    loss_always: float
    loss_as_taken: float
    standard_errors: float
    seconds: float


def draw(images: LabelledSet, shots: int, kind: str, seed: int) -> Draw:
    """Draw labelled and unlabelled images."""
    random = np.random.default_rng([seed, shots])
    known = np.flatnonzero(images.folds != UNSEEN)
    classes = len(images.classes)
    labelled = np.concatenate([random.permutation(known[images.labels[known] == c])[:shots] for c in range(classes)])
    rest = random.permutation(np.setdiff1d(known, labelled))
    if kind != "even":
        shares = np.geomspace(1, 0.05, classes)[random.permutation(classes)]
        rest = rest[random.random(len(rest)) < shares[images.truth[rest]]]
    unlabelled = images.features[rest[:MOST]]
    if kind == "strangers":
        others = labelled_sets.load("intel_scenes6" if images.name == "hymenoptera2" else "hymenoptera2").features
        count = max(20, len(unlabelled) // 3)
        unlabelled = np.concatenate([unlabelled, others[random.permutation(len(others))[:count]]])
    unseen = images.folds == UNSEEN
    return Draw(
        images.features[labelled],
        images.labels[labelled],
        unlabelled,
        images.features[unseen],
        images.truth[unseen],
        classes,
    )


def measure(drawn: Draw, seed: int) -> Measured:
    """Choose a head with and without the unlabelled images of a draw."""
    names = [f"{seed} {number}" for number in range(len(drawn.labels))]
    folds = [assign(names, [str(label) for label in drawn.labels], 5, number) for number in range(5)]
    few = len(drawn.labels) < FEW_IMAGES
    part = Part("features", drawn.features.shape[1])

    def chosen(unlabelled: Features | None) -> Choice:
        return choose_head(
            drawn.features.copy(),
            drawn.labels,
            folds[0],
            drawn.classes,
            [part],
            GradientOptions(),
            redrawn_folds=folds[1:] if few else [],
            unlabelled=unlabelled,
        )

    plain = chosen(None)
    started = time.process_time()
    taken = chosen(drawn.unlabelled.copy())
    seconds = time.process_time() - started
    assert taken.propagation is not None
    new = drawn.new.copy()
    to_unit_length(new, [part.width])
    scaled = plain.scaling.apply(new)

    def judged(head: Linear, temperature: float) -> tuple[float, float]:
        logits = head.logits(scaled)
        return accuracy(logits, drawn.truth), log_loss(logits, drawn.truth, temperature)

    candidate = taken.propagation.candidate
    before, before_loss = judged(plain.head, plain.temperature)
    always, always_loss = judged(candidate.heads[-1], candidate.temperature)
    after, after_loss = judged(taken.head, taken.temperature)
    gains = taken.propagation.plain_losses - taken.propagation.losses
    return Measured(
        before,
        always - before,
        after - before,
        float(taken.propagation.is_taken),
        before_loss,
        always_loss - before_loss,
        after_loss - before_loss,
        float(gains.mean() / max(gains.std() / np.sqrt(len(gains)), 1e-9)),
        seconds,
    )


def measure_set(name: str, draws: int) -> Iterator[tuple[int, str, list[Measured]]]:
    """Yield the number of labelled images a class, the kind of unlabelled ones, and what each draw gives."""
    images = labelled_sets.load(name)
    for shots in SHOTS:
        for kind in KINDS:
            yield shots, kind, [measure(draw(images, shots, kind, seed), seed) for seed in range(draws)]


def show(name: str, shots: int, kind: str, each: Sequence[Measured]) -> None:
    mean = Measured(*np.mean([astuple(one) for one in each], axis=0).tolist())
    errors = " ".join(f"{one.standard_errors:.1f}:{one.always:+.3f}" for one in each)
    print(
        f"{name:14} {shots} {kind:9}  {mean.accuracy:.3f} {mean.always:+.3f} {mean.as_taken:+.3f}  {mean.taken:4.0%}  "
        f"{mean.loss:.3f} {mean.loss_always:+.3f} {mean.loss_as_taken:+.3f}  {mean.seconds:5.1f}   {errors}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(labelled_sets.NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print("set      shots unlabelled  accuracy, always, as taken; taken; log-loss, always, as taken; seconds;")
    print("each draw's gain out of fold in standard errors and accuracy gained if taken")
    figures = []
    for name in options.sets or labelled_sets.NAMES:
        for shots, kind, each in measure_set(name, DRAWS):
            show(name, shots, kind, each)
            figures += [{"set": name, "shots": shots, "unlabelled": kind} | asdict(one) for one in each]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
