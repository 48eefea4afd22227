"""Simulate days with lessons: images arrive, a person answers for some of them, and a lesson follows.

It begins with a real fit on `FIRST` images of each class. The rest, but for one fold that judges, arrives in equal
parts over `DAYS` days. Each day the person answers for ``answers`` of the images that arrived so far, and
`trainer.learn` gives a lesson: with its gate, its thresholds and its publication.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import registry
from models.checkpoints import checkpoint as checkpoints
from models.deciding.rule import are_unknown
from models.inference.runtime import open_extractor
from models.scoring import score
from models.weights.store import WeightsStore
from tests.benchmarks import labelled_sets
from tests.benchmarks.labelled_sets import Labels
from tests.conftest import SHARED_DATA
from trainer.data.cache import FeatureCache, Features
from trainer.data.dataset import File
from trainer.data.features import extract
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.learn import LearnOptions, learn

FIRST, DAYS = 10, 10
#: The day on which the class of `Scenario.late_class` appears.
APPEARS = 6
#: The promise that is asked for, so that the thresholds are careful ones.
MAX_ERROR = 0.05
STORE = WeightsStore(labelled_sets.FOLDER / "weights")
#: Arms of the simulation: in which order the person answers, and the share of wrong answers.
ARMS = {"unsure first": (True, 0.0), "random": (False, 0.0), "5 % wrong": (True, 0.05)}


@dataclass(frozen=True)
class Images:
    """The n images of a set with their raw features (n, width), classes (n,) and folds (n,)."""

    name: str
    classes: list[str]
    paths: list[Path]
    sha256: list[str]
    features: Features
    labels: Labels
    folds: Labels


def read(name: str) -> Images:
    """Read a set of images, and put what `trainer.data` computes of them into the cache."""
    with (SHARED_DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["cls"] for row in rows})
    paths = [SHARED_DATA / name / row["file"] for row in rows]
    parts = [registry.locate(registry.EMBEDDED, None, STORE)]
    with FeatureCache(parts, STORE) as cache:
        found = extract([File(path, path.name, "") for path in paths], open_extractor(parts, STORE), cache)
    assert len(found.samples) == len(paths), found.unreadable
    return Images(
        name,
        classes,
        paths,
        [sample.sha256 for sample in found.samples],
        found.features,
        np.array([classes.index(row["cls"]) for row in rows]),
        np.array([int(row["fold"]) for row in rows]),
    )


@dataclass(frozen=True)
class Scenario:
    """What arrives when: positions of the ``first`` images, of those of each day, and of those that judge.

    The images of ``late_class``, if any, arrive from day `APPEARS` on, and judge from then.
    """

    images: Images
    first: Labels
    arrivals: Sequence[Labels]
    judges: Labels
    answers: int
    late_class: int | None = None

    def judging(self, day: int) -> Labels:
        """The images that judge on a day."""
        if self.late_class is None or day >= APPEARS:
            return self.judges
        is_early = self.images.labels[self.judges] != self.late_class
        judging: Labels = self.judges[is_early]
        return judging


def scenario(images: Images, answers: int, seed: int, *, appears: bool) -> Scenario:
    """Draw a scenario; each seed has another fold that judges, and another class that appears late."""
    random = np.random.default_rng(seed)
    late_class = seed % len(images.classes) if appears else None
    judging_fold = seed % 5
    known = random.permutation(np.flatnonzero(images.folds != judging_fold))
    early = [label for label in range(len(images.classes)) if label != late_class]
    first = np.concatenate([known[images.labels[known] == label][:FIRST] for label in early])
    rest = known[~np.isin(known, first)]
    is_late = images.labels[rest] == (-1 if late_class is None else late_class)
    parts = [[each] for each in np.array_split(rest[~is_late], DAYS)]
    for day, part in enumerate(np.array_split(rest[is_late], DAYS - APPEARS + 1), APPEARS - 1):
        parts[day].append(part)
    arrivals = [random.permutation(np.concatenate(each)) for each in parts]
    return Scenario(images, first, arrivals, np.flatnonzero(images.folds == judging_fold), answers, late_class)


@dataclass(frozen=True)
class Day:
    """How the images that judge are classified, those of the late class left out in ``accuracy_early``.

    ``wrong`` is the share of the filed images; ``seconds`` are CPU seconds of the lesson, and ``why`` what was said.
    """

    accuracy: float
    accuracy_early: float
    coverage: float
    wrong: float
    published: bool = True
    seconds: float = 0.0
    why: str = ""


@dataclass
class Person:
    """Answers for images that arrived: ``given`` has the class that is said of each, by position."""

    scenario: Scenario
    wrong_share: float
    random: np.random.Generator
    given: dict[int, int] = field(default_factory=dict)

    def answer(self, rows: Sequence[int], day: int) -> None:
        """Say the class of images, some of them wrongly."""
        classes = [
            c for c in range(len(self.scenario.images.classes)) if day >= APPEARS or c != self.scenario.late_class
        ]
        for row in rows:
            truth = int(self.scenario.images.labels[row])
            is_wrong = self.random.random() < self.wrong_share
            self.given[row] = int(self.random.choice([c for c in classes if c != truth])) if is_wrong else truth

    def write(self, file: Path) -> None:
        """Write all answers as ``labels --json`` does."""
        images, start = self.scenario.images, datetime(2026, 1, 1, tzinfo=UTC)
        items = [
            {
                "path": str(images.paths[row]),
                "sha256": images.sha256[row],
                "label": images.classes[label],
                "how": "reviewed",
                "time": (start + timedelta(seconds=number)).isoformat(),
            }
            for number, (row, label) in enumerate(self.given.items())
        ]
        file.write_text(json.dumps(items), encoding="utf-8")


def data_set(folder: Path, images: Images, labels: dict[int, int]) -> Path:
    """Make a data set of links to images, each in the folder of the class that it is said to be of."""
    for row, label in labels.items():
        link = folder / images.classes[label] / images.paths[row].name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(images.paths[row])
    return folder


def fit_on(folder: Path, scenario: Scenario, labels: dict[int, int], peoples: Path | None = None) -> Path:
    """Fit on some images, and on people's labels in a file, and return the folder of runs."""
    data, runs = data_set(folder / "data", scenario.images, labels), folder / "runs"
    options = FitOptions(
        data_dir=data,
        labels=peoples,
        mode=registry.EMBEDDED,
        max_error=MAX_ERROR,
        output_dir=runs,
        cache_dir=STORE.root,
        publish="always",
    )
    with quiet():
        fit(options)
    return runs


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Print nothing."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@dataclass(frozen=True)
class Judged:
    """Whether images (n,) are right and filed by the published model, and how sure it is."""

    right: npt.NDArray[np.bool_]
    filed: npt.NDArray[np.bool_]
    confidence: npt.NDArray[np.float32]


def judge(runs: Path, images: Images, rows: Labels) -> Judged:
    """Classify images with the published model, as the daemon does."""
    checkpoint = checkpoints.load(runs)
    metadata = checkpoint.metadata
    probabilities, strangeness = score(metadata, checkpoint.head, images.features[rows])
    named = [metadata.classes[best] for best in probabilities.argmax(axis=1)]
    right = np.array([name == images.classes[images.labels[row]] for name, row in zip(named, rows, strict=True)])
    confidence = probabilities.max(axis=1)
    return Judged(right, (confidence >= metadata.served_threshold) & ~are_unknown(strangeness), confidence)


def evaluate(
    runs: Path, scenario: Scenario, day: int, published: bool = True, seconds: float = 0.0, why: str = ""
) -> Day:
    """Judge the published model by the images of a day."""
    rows = scenario.judging(day)
    judged = judge(runs, scenario.images, rows)
    early = scenario.images.labels[rows] != scenario.late_class
    filed = max(int(judged.filed.sum()), 1)
    return Day(
        float(judged.right.mean()),
        float(judged.right[early].mean()),
        float(judged.filed.mean()),
        int((judged.filed & ~judged.right).sum()) / filed,
        published,
        seconds,
        why,
    )


def live(runs: Path, scenario: Scenario, arm: str, seed: int) -> tuple[list[Day], Path]:
    """Go through all days; return each one's figures, from day 0 on, and the file of all answers."""
    unsure_first, wrong_share = ARMS[arm]
    random = np.random.default_rng([seed, 1])
    person = Person(scenario, wrong_share, np.random.default_rng([seed, 2]))
    days, file = [evaluate(runs, scenario, 0)], runs.parent / "labels.json"
    for day, arrived in enumerate(np.cumsum([len(each) for each in scenario.arrivals]).tolist(), 1):
        waiting = np.array([row for row in np.concatenate(scenario.arrivals)[:arrived] if row not in person.given])
        order = judge(runs, scenario.images, waiting).confidence if unsure_first else random.random(len(waiting))
        person.answer(waiting[np.argsort(order)][: scenario.answers].tolist(), day)
        person.write(file)
        started = time.process_time()
        with quiet():
            outcome = learn(LearnOptions(checkpoints=runs, labels=file, cache_dir=STORE.root, keep=2))
        seconds = time.process_time() - started
        days.append(evaluate(runs, scenario, day, outcome.run is not None, seconds, outcome.reason))
    return days, file
