"""The pile is grouped by likeness, by another process, and what was seen is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from daemon.review import grouping
from daemon.review.comparing import Answer, Comparing
from daemon.review.grouping import Grouping
from daemon.review.kept_features import KeptFeatures
from daemon.review.likeness import (
    FIRST_GROUPED,
    MOST_AT_ONCE,
    SMALLEST_GROUP,
    TIMES_AS_MANY,
    Answers,
    Question,
    groups_of,
    most_unlike_first,
)
from daemon.review.pile import Pile
from tests.processes import wait_for

WIDTH = 16


def _clouds(sizes: list[int], seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.eye(WIDTH)[: len(sizes)]
    rows = [centre + 0.1 * random.normal(size=(size, WIDTH)) for centre, size in zip(centres, sizes, strict=True)]
    return np.concatenate(rows).astype(np.float32)


def test_images_that_look_alike_come_together_the_largest_group_first() -> None:
    groups, rest = groups_of(_clouds([10, 40, 20]))
    assert [len(group) for group in groups] == [40, 20, 10]
    assert sorted(groups[0].tolist()) == list(range(10, 50))
    assert rest.size == 0


def test_what_is_like_nothing_comes_last_and_nobody_is_lost() -> None:
    vectors = np.concatenate([_clouds([30, 30]), np.eye(WIDTH)[8:12].astype(np.float32)])
    groups, rest = groups_of(vectors)
    assert [len(group) for group in groups] == [30, 30]
    assert sorted(rest.tolist()) == list(range(60, 64))


@pytest.mark.parametrize("count", [1, 2, SMALLEST_GROUP, 5])
def test_a_few_images_are_grouped_too(count: int) -> None:
    for vectors in (_clouds([count]), np.zeros((count, WIDTH), np.float32), np.ones((count, WIDTH), np.float32)):
        groups, rest = groups_of(vectors)
        assert sorted(place for group in [*groups, rest] for place in group.tolist()) == list(range(count))


def test_many_images_are_grouped_within_the_memory() -> None:
    sizes = [MOST_AT_ONCE, MOST_AT_ONCE // 2, MOST_AT_ONCE // 4]
    groups, _ = groups_of(_clouds(sizes))
    assert [len(group) for group in groups] == sizes


def test_features_are_kept_for_one_model_and_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "features"
    keys = [f"{number:02x}" * 31 + "00" for number in range(4)]
    kept = KeptFeatures(path, "ab" * 32, WIDTH)
    for number, key in enumerate(keys):
        kept.put(key, np.full(WIDTH, number, np.float32), number)
    kept.write(keys)
    again = KeptFeatures(path, "ab" * 32, WIDTH)
    seen = again.get(keys[3])
    assert seen is not None
    assert (seen.label, seen.features.tolist()) == (3, [3.0] * WIDTH)
    assert KeptFeatures(path, "cd" * 32, WIDTH).get(keys[3]) is None
    assert KeptFeatures(path, "ab" * 32, WIDTH + 1).get(keys[3]) is None
    path.write_bytes(path.read_bytes()[:-5])
    assert KeptFeatures(path, "ab" * 32, WIDTH).get(keys[0]) is not None
    monkeypatch.setattr("daemon.review.kept_features.MOST_BYTES", 250)
    again.write(keys[2:])
    few = KeptFeatures(path, "ab" * 32, WIDTH)
    assert [few.get(key) is not None for key in keys] == [False, False, True, True]


def test_groups_come_while_a_large_pile_is_still_being_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 6 * FIRST_GROUPED
    kept = KeptFeatures(tmp_path / "features", "ab" * 32, WIDTH)
    vectors = _clouds([count // 2] * 2)
    images = [(number, f"{number:064x}", "") for number in range(count)]
    question = cast(Question, {"images": images, "wanted": "groups"})
    answers = Answers(question, ["cat", "dog"], kept)
    for start in range(0, count, 64):
        answers.after(count - start)
        for number in range(start, start + 64):
            kept.put(images[number][1], vectors[number], 0)
    answers.after(0)
    answers.last()
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    grouped = [
        (count - one["left"], sum(len(group["ids"]) for group in one["groups"])) for one in said if "groups" in one
    ]
    assert grouped == [(known, known) for known in (FIRST_GROUPED, TIMES_AS_MANY * FIRST_GROUPED, count)]
    assert {one["alike"] for one in said[-1]["groups"]} == {True}
    assert [one["left"] for one in said if "progress" in one] == list(
        range(count, 0, -64)
    )  # none are left once all are grouped


class Process:
    """Answers in the place of the process what it is told to, and counts how often it was asked."""

    is_closed = False

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Sequence[int]] = []

    def compare(self, ids: Sequence[int], wanted: str, on_answer: Callable[[Answer], None]) -> None:
        self.asked.append(ids)
        for answer in self.answers:
            on_answer(answer)

    def groups(self, clock: Callable[[], float] = time.monotonic) -> Grouping:
        return Grouping(cast(Comparing, self), clock)


def _pile(*ids: int) -> Pile:
    return Pile(1, dict.fromkeys(ids, "ab" * 32))


def _group(*ids: int, alike: bool = True) -> dict[str, Any]:
    return {"ids": list(ids), "likely": [["cat", 1.0]] if alike else [], "alike": alike}


def test_a_page_goes_on_with_the_groups_that_it_has_begun_with() -> None:
    first, last = [_group(5, 6, 4)], [_group(5, 6, 4, 2), _group(3, 1, alike=False)]
    process = Process({"progress": 0.5, "left": 3}, {"groups": first, "left": 3}, {"groups": last, "left": 0})
    groups, pile = process.groups(), _pile(6, 5, 4, 3, 2, 1)
    before = groups.of(pile)
    wait_for(lambda: groups.of(pile).edition == 2, "they are grouped twice")
    now = groups.of(pile)
    assert [(group.ids, group.kind) for group in now.groups] == [([5, 6, 4, 2], "alike"), ([3, 1], "unlike")]
    assert (now.is_grouped, now.progress, now.left) == (True, 1.0, 0)
    begun = groups.of(pile, now.groups[0].id - 2)
    assert [(group.ids, group.kind) for group in begun.groups] == [([5, 6, 4], "alike"), ([3, 2, 1], "new")]
    assert groups.of(pile, begun.groups[1].id).edition == begun.edition == 1
    assert groups.of(pile, before.groups[0].id).edition == before.edition == 0
    assert [list(before.groups[0].after(number)) for number in (None, 4, 99)] == [[*pile.ids], [3, 2, 1], [*pile.ids]]
    assert len(process.asked) == 1


def test_images_that_cannot_be_compared_are_not_tried_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(grouping, "MOST_GROUPED", 4)
    process = Process({"progress": 1.0, "left": 0}, {"groups": [_group(6, 5, 4)], "left": 0})
    groups, pile = process.groups(), _pile(6, 5, 4, 3, 2, 1)
    wait_for(lambda: groups.of(pile).is_grouped, "they are grouped")
    for _ in range(5):
        assert [list(group.ids) for group in groups.of(pile).groups] == [[6, 5, 4], [3, 2, 1]]
    assert process.asked == [[6, 5, 4, 3]]
    wait_for(lambda: groups.of(_pile(7, 6, 5, 4)) and len(process.asked) == 2, "a new one is compared")


def test_it_is_said_why_nothing_is_grouped_and_tried_less_and_less_often() -> None:
    now = [0.0]
    process = Process({"error": "there is no model"})
    groups, pile = process.groups(lambda: now[0]), _pile(2, 1)
    tried = []
    for minute in range(60):
        now[0] = 60.0 * minute
        groups.of(pile)
        wait_for(lambda: not groups.is_busy, "it was tried")
        tried.append(len(process.asked))
    assert groups.of(pile).trouble == "there is no model"
    assert groups.of(pile).left == 2
    assert tried[-1] < 10


def test_what_is_least_like_the_others_comes_first() -> None:
    vectors = _clouds([30])
    vectors[[4, 17]] = np.eye(WIDTH)[9:11]
    assert set(most_unlike_first(vectors)[:2].tolist()) == {4, 17}
    assert sorted(most_unlike_first(vectors).tolist()) == list(range(30))
