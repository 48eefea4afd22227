"""Promises from a random sample of the images that came: they hold whatever the head of a lesson files."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from models.checkpoints.metadata import Level, Metadata, Promise
from models.classifier import Classifier
from tests.models.small_checkpoints import small_checkpoint
from tests.trainer.clusters import clusters, folded
from trainer.data.folds import NEVER
from trainer.heads.recipe import Recipe
from trainer.learning.audits import AUDITED, Audits, InnerOutcome, Outcome, Sample, judge_sample, renew
from trainer.learning.kept import KeptFeatures, as_hashes
from trainer.learning.lesson import FittedLesson, Judged, fit_lesson, gather
from trainer.measuring.thresholds import Thresholds

WIDTH, CLASSES = 12, ["a", "b", "c"]
MAX_ERROR = 0.05

Mask = npt.NDArray[np.bool_]


def outcome(right: int, wrong: int = 0, others: int = 0) -> Outcome:
    """Audited images, and unsure ones of which nobody has said what they are; a lesson is as sure of all of them."""
    count = right + wrong + others
    mixed = np.random.default_rng(3).permutation(count)
    return Outcome(np.linspace(0.99, 0.95, count), mixed < right, mixed < right + wrong)


@dataclass
class Arrivals:
    """Images as they come: whether the model in use files them, how sure a lesson is of them, and if it is right."""

    filed_so_far: Mask
    confidence: npt.NDArray[np.float64]
    right: Mask

    @classmethod
    def draw(cls, random: np.random.Generator, count: int, wrong_before: float, wrong_now: float) -> Arrivals:
        """Four in ten went to the others so far, of which the lesson is as sure as of the rest.

        Wrong are these shares of the images that were filed so far, and of those that the lesson files beside them.
        """
        filed_so_far = random.random(count) < 0.6
        wrong = random.random(count) < np.where(filed_so_far, wrong_before, wrong_now)
        return cls(filed_so_far, random.uniform(0.97, 1, count), ~wrong)

    def sample(self, audited: int, *, with_others: bool) -> Outcome:
        """Audit some, beside the others in proportion, of which nobody knows anything."""
        filed = np.flatnonzero(self.filed_so_far)[:audited]
        others = np.flatnonzero(~self.filed_so_far)[: int(audited * 0.4 / 0.6) + 1 if with_others else 0]
        rows = np.concatenate([filed, others])
        is_audited = self.filed_so_far[rows]
        return Outcome(self.confidence[rows], self.right[rows] & is_audited, is_audited)


def share_broken(wrong_before: float, wrong_now: float, *, with_others: bool = True, times: int = 400) -> float:
    """The share of promises, among those draws, that are broken."""
    random, broken = np.random.default_rng(1), 0
    true_share = 0.6 * wrong_before + 0.4 * wrong_now  # as sure of all, whatever the threshold
    for _ in range(times):
        drawn = Arrivals.draw(random, 1000, wrong_before, wrong_now).sample(200, with_others=with_others)
        broken += drawn.promise(MAX_ERROR) is not None and true_share > MAX_ERROR
    return broken / times


@pytest.mark.parametrize("wrong_before", [0.051, 0.055, 0.07])
def test_a_promise_is_broken_no_more_often_than_it_says(wrong_before: float) -> None:
    """Where the lesson files what was filed so far, and nothing else."""
    random, broken, times = np.random.default_rng(2), 0, 1000
    for _ in range(times):
        right = random.random(300) >= wrong_before
        drawn = Outcome(random.uniform(0.95, 1, 300), right, np.ones(300, bool))
        broken += drawn.promise(MAX_ERROR) is not None
    assert broken / times <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / times)


def test_what_went_to_the_others_so_far_breaks_no_promise() -> None:
    """An audit is blind to it: by that alone a promise would be made nearly always, and broken."""
    assert share_broken(0.01, 0.4, with_others=False) > 0.8
    assert share_broken(0.01, 0.4) == 0


def test_those_of_the_others_that_people_have_named_count_as_what_they_are() -> None:
    assert outcome(60, others=40).promise(MAX_ERROR) is None
    named = replace(outcome(60, others=40), right=np.ones(100, bool))
    assert named.promise(MAX_ERROR) is not None
    assert outcome(60).promise(MAX_ERROR) is not None
    assert outcome(50).promise(MAX_ERROR) is None, "it takes 59"


@pytest.fixture(scope="module")
def fitted() -> FittedLesson:
    return fitted_on(CLASSES)


def fitted_on(classes: list[str]) -> FittedLesson:
    """A lesson on 90 images, the last ten of which judge nothing."""
    features, labels = clusters(90, 3, WIDTH, spread=0.3)
    folds = folded(90, 5)
    folds[80:] = NEVER
    hashes = as_hashes([f"{number:064x}" for number in range(90)])
    kept = KeptFeatures(
        features.astype(np.float16), labels, labels, folds, np.arange(90), hashes, classes, Recipe(strength=1e-1), 5, 0
    )  # fmt: skip
    part = small_checkpoint().metadata.parts[0].model_copy(update={"width": WIDTH})
    return fit_lesson(gather(kept, {}, {}, classes), [part], kept.recipe, None, None)


def metadata(**changes: object) -> Metadata:
    made = small_checkpoint().metadata
    part = made.parts[0].model_copy(update={"width": WIDTH})
    values = {"parts": [part], "classes": CLASSES, "max_error": MAX_ERROR, "promises": [], "threshold": 0.9}
    return made.model_copy(update=values | changes)


def test_images_are_judged_by_a_head_that_never_saw_them(fitted: FittedLesson) -> None:
    features, labels = clusters(3, 3, WIDTH, spread=0.3, seed=7)
    inside, unjudged, new, gone = f"{1:064x}", f"{85:064x}", "e" * 64, "f" * 64
    names: list[str | None] = [CLASSES[label] for label in [int(fitted.images.labels[1]), 0, int(labels[0]), 0]]
    sample = Sample([inside, unjudged, new, gone], names, np.ones(4, bool), {new: features[0].astype(np.float16)})
    judged = judge_sample(sample, fitted, fitted.metadata(metadata()))
    position = int(fitted.judged[:1].sum())
    assert judged.confidence.tolist() == [
        pytest.approx(fitted.probabilities[position].max()),
        1,
        pytest.approx(judged.confidence[2]),
        1,
    ]
    assert judged.right.tolist() == [True, False, True, False], "what nobody can judge counts as filed, and wrong"
    assert judged.is_audited.tolist() == [True, False, True, False], "and contradicts nothing"


def test_what_is_named_is_judged_for_the_folders_above_classes_too() -> None:
    classes = ["c", "x/a", "x/b"]
    features, labels = clusters(30, 3, WIDTH, spread=0.3, seed=7)
    of_a = features[labels == 1][:5].astype(np.float16)
    names: list[str | None] = ["x/a", "x/b", "x", "c", None]
    hashes = [f"{number:064x}" for number in range(200, 205)]
    sample = Sample(hashes, names, np.ones(5, bool), dict(zip(hashes, of_a, strict=True)))
    nested = fitted_on(classes)
    judged = judge_sample(sample, nested, nested.metadata(metadata(classes=classes)))
    assert judged.right.tolist() == [True, False, False, False, False]
    assert judged.is_audited.tolist() == [True, True, False, True, True], "x does not tell which class"
    inner = judged.inner[1]
    assert inner.right.tolist() == [True, True, True, False, False]
    assert inner.is_audited.tolist() == [True] * 5
    assert (inner.confidence > judged.confidence).all()


class Answered(Audits):
    """Audits whose outcome is given; it is remembered what was asked for."""

    def __init__(self, given: Outcome | None) -> None:
        super().__init__(None, cast(Classifier, None), metadata(), cast("object", None), {})  # type: ignore[arg-type]
        object.__setattr__(self, "answer", given)

    def judge(self, fitted: Judged, *, audited_alone: bool = False) -> Outcome | None:
        found: Outcome | None = self.answer  # type: ignore[attr-defined]
        if found is None or not audited_alone:
            return found
        only = found.is_audited
        inner = {
            depth: InnerOutcome(each.confidence[only], each.right[only], each.is_audited[only])
            for depth, each in found.inner.items()
        }
        return Outcome(found.confidence[only], found.right[only], found.is_audited[only], inner)


PROMISE = Promise(max_error=MAX_ERROR, certainty=0.95, threshold=0.9, coverage=1)
MADE = Thresholds(100, MAX_ERROR, [PROMISE], own=0.9, kept_promise=PROMISE)
NOT_MADE = Thresholds(10, MAX_ERROR, [], own=0.97)


def renewed(found: Thresholds, drawn: Outcome | None, fitted: FittedLesson, **base: object) -> Thresholds:
    return renew(found, metadata(**base), fitted, Answered(drawn))


def test_audits_make_the_promise_where_the_data_set_cannot(fitted: FittedLesson) -> None:
    found = renewed(NOT_MADE, outcome(100), fitted, promises=[PROMISE])
    assert found.kept_promise is not None
    assert (found.kept_promise.max_error, found.kept_promise.certainty) == (MAX_ERROR, 0.95)
    assert (found.audited, found.lapsed, found.threshold) == (100, False, found.kept_promise.threshold)
    assert not found.renews(metadata(promises=[PROMISE]))
    assert found.renews(metadata(settings={"promise_lapsed": True}))


def test_where_neither_is_enough_it_lapses_and_the_threshold_of_before_stays(fitted: FittedLesson) -> None:
    for drawn in (None, outcome(40), outcome(90, wrong=10)):
        found = renewed(NOT_MADE, drawn, fitted, promises=[PROMISE])
        assert (found.kept_promise, found.lapsed, found.threshold) == (None, True, 0.9)
    assert not renewed(NOT_MADE, None, fitted).lapsed, "there was none"
    assert renewed(NOT_MADE, None, fitted, settings={"promise_lapsed": True}).lapsed


def test_audits_that_contradict_the_data_set_end_its_promise(fitted: FittedLesson) -> None:
    assert renewed(MADE, outcome(90, wrong=10), fitted) == MADE, "10 of 100 may be chance where 5 % are wrong"
    found = renewed(MADE, outcome(85, wrong=15), fitted, promises=[PROMISE])
    assert (found.kept_promise, found.lapsed, found.is_doubted, found.promises) == (None, True, True, [])


@pytest.mark.parametrize(("wrong", "is_kept"), [(10, True), (15, False)])
def test_audits_that_contradict_the_folders_above_classes_end_their_promise_alone(
    fitted: FittedLesson, wrong: int, is_kept: bool
) -> None:
    level = Level(depth=1, threshold=0.7, promise=PROMISE.model_copy(update={"threshold": 0.7}))
    everyone, unsure = np.full(100, True), np.full(100, 0.5)
    inner = InnerOutcome(np.full(100, 0.95), np.arange(100) >= wrong, everyone)
    found = renewed(replace(MADE, levels=[level]), Outcome(unsure, ~everyone, everyone, {1: inner}), fitted)
    assert found.kept_promise == PROMISE
    assert found.levels[0].threshold == 0.7
    assert (found.levels[0].promise is not None) == is_kept
    sure = Outcome(np.full(100, 0.95), everyone, everyone, {1: inner})
    assert renewed(replace(MADE, levels=[level]), sure, fitted).levels == [level], (
        "these go into the folders of classes"
    )


def test_what_nobody_has_named_contradicts_nothing(fitted: FittedLesson) -> None:
    assert renewed(MADE, outcome(85, others=15), fitted) == MADE


def test_a_weaker_promise_of_the_data_set_gives_way_to_a_full_one(fitted: FittedLesson) -> None:
    weak = PROMISE.model_copy(update={"certainty": 0.8})
    found = renewed(replace(MADE, promises=[weak], kept_promise=weak), outcome(100), fitted, promises=[weak])
    assert (found.audited, found.kept_promise and found.kept_promise.certainty) == (100, 0.95)
    assert renewed(MADE, outcome(100), fitted) == MADE, "the data set comes first where it is enough"


@pytest.fixture
def sample_file(tmp_path: Path) -> Path:
    lines = [
        {"path": "", "sha256": f"{number:064x}", "label": name, "how": how}
        for number, (name, how) in enumerate([("가", AUDITED), (None, "unsure"), (None, "passed over")])
    ]
    file = tmp_path / "sample.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return file


def test_the_sample_is_read_from_a_file_of_labels(sample_file: Path) -> None:
    audits = Audits(sample_file, cast(Classifier, None), metadata(), cast("object", None), {})  # type: ignore[arg-type]
    assert [(label.label, label.how) for label in audits.given] == [
        ("가", AUDITED),
        (None, "unsure"),
        (None, "passed over"),
    ]
