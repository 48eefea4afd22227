"""Which threshold is in force, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from daemon import config
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.threshold import alike, in_force, inner_folder_rules
from models.checkpoints.metadata import DEFAULT_THRESHOLD, Level, Promise, Unknown
from models.text.language import speaking
from tests.models.small_checkpoints import small_checkpoint

NOTHING: dict[str, Any] = {"threshold": None, "max_error": None, "promises": [], "unknown": None}
PROMISES = [
    Promise(max_error=0.005, certainty=0.95, threshold=0.99, coverage=0.2),
    Promise(max_error=0.05, certainty=0.95, threshold=0.625, coverage=0.9),
]
PROMISED = Promise(max_error=0.02, certainty=0.95, threshold=0.75, coverage=0.8)


@pytest.mark.parametrize(
    ("chosen", "changes", "value", "why"),
    [
        (0.25, {"threshold": 0.7, "max_error": 0.05}, 0.25, "the threshold that was set"),
        (None, {"threshold": 0.7}, 0.7, "the checkpoint's own threshold"),
        (
            None,
            {"threshold": 0.625, "max_error": 0.05, "promises": PROMISES},
            0.625,
            "at most 5 % of those filed are wrong, 95 % certain",
        ),
        (
            None,
            {"threshold": 0.625, "max_error": 0.02, "promises": PROMISES},
            0.625,
            "at most 5 % of those filed are wrong, 95 % certain; 2 % cannot be promised; "
            "report.txt of the run says what 2 % takes",
        ),
        (
            None,
            {"threshold": 0.75, "max_error": 0.02, "promises": [PROMISED.model_copy(update={"certainty": 0.8})]},
            0.75,
            "at most 2 % of those filed are wrong, but only 80 % certain; report.txt of the run says what 2 % takes",
        ),
        (
            None,
            {"threshold": 0.75, "max_error": 0.02, "promises": [PROMISED.model_copy(update={"certainty": None})]},
            0.75,
            "by estimate about 2 % of those filed are wrong, which is not certain; "
            "report.txt of the run says what 2 % takes",
        ),
        (
            None,
            {"max_error": 0.01},
            0.99,
            "only the surest are filed, since at most 1 % wrong was asked for and nothing can be promised; "
            "report.txt of the run says what 1 % takes",
        ),
        (None, {}, DEFAULT_THRESHOLD, "the default threshold, since the checkpoint has none of its own"),
        (
            None,
            {"promises": PROMISES},
            DEFAULT_THRESHOLD,
            "the default threshold, since the checkpoint has none of its own; at most this share of mistakes can be "
            "promised: 0.5 % with --threshold 0.99; 5 % with --threshold 0.625",
        ),
    ],
)
def test_the_users_counts_then_the_checkpoints_then_the_usual_one(
    chosen: float | None, changes: dict[str, Any], value: float, why: str
) -> None:
    found = in_force(chosen, small_checkpoint(**NOTHING | changes).metadata)
    assert (found.value, found.why) == (value, why)
    assert str(found) == f"images it is less than {100 * value:.3g} % sure of go to others/: {why}"


@pytest.mark.parametrize(
    ("chosen", "changes", "why"),
    [
        (0.0, {}, "--threshold auto는"),
        (0.25, {}, "설정한 임계값"),
        (None, {"threshold": 0.7}, "체크포인트의 임계값"),
        (None, {}, "기본 임계값"),
    ],
)
def test_the_reason_is_in_the_language_of_who_asks(chosen: float | None, changes: dict[str, Any], why: str) -> None:
    found = in_force(chosen, small_checkpoint(**NOTHING | changes).metadata)  # by a daemon that speaks English
    with speaking("ko"):
        assert why in str(found)


@pytest.mark.parametrize(
    ("chosen", "changes", "said"),
    [
        (
            0.0,
            {"threshold": 0.7, "unknown": Unknown(limit=1.0, refused=0.02)},
            "every readable image goes to its class: no threshold above 0 is set (--threshold 0.5 sends the less "
            "probable to the others, --threshold auto goes by the checkpoint's own)",
        ),
        (
            None,
            {"threshold": 0.0, "max_error": 0.02, "promises": [PROMISED.model_copy(update={"threshold": 0.0})]},
            "every readable image goes to its class: at most 2 % of those filed are wrong, 95 % certain",
        ),
        (
            None,
            {"threshold": 0.0, "unknown": Unknown(limit=1.0, refused=0.02)},
            "only images unlike anything it was taught go to others/: the checkpoint's own threshold",
        ),
    ],
)
def test_no_image_is_said_to_be_less_probable_than_nothing(
    chosen: float | None, changes: dict[str, Any], said: str
) -> None:
    assert str(in_force(chosen, small_checkpoint(**NOTHING | changes).metadata)) == said


@pytest.mark.parametrize(
    ("changes", "are"),
    [
        ({}, True),
        ({"threshold": 0.9}, False),
        ({"max_error": 0.01}, False),
        ({"unknown": Unknown(limit=1.0, refused=0.02)}, False),
    ],
)
def test_checkpoints_are_alike_that_were_asked_for_the_same(changes: dict[str, Any], are: bool) -> None:
    plain, other = small_checkpoint(**NOTHING).metadata, small_checkpoint(**NOTHING | changes).metadata
    assert alike(plain, other) is are
    promised, better = {"max_error": 0.01, "threshold": 0.9}, {"max_error": 0.01, "threshold": 0.8}
    assert alike(small_checkpoint(**NOTHING | promised).metadata, small_checkpoint(**NOTHING | better).metadata)


def test_checkpoints_that_keep_what_was_asked_for_otherwise_are_not_alike() -> None:
    asked: dict[str, Any] = {"max_error": 0.02, "threshold": 0.75}
    kept = small_checkpoint(**NOTHING | asked | {"promises": [PROMISED]}).metadata
    less = small_checkpoint(**NOTHING | asked | {"promises": [PROMISED.model_copy(update={"certainty": 0.8})]}).metadata
    assert not alike(kept, less)
    assert not alike(kept, small_checkpoint(**NOTHING | asked).metadata)
    higher = PROMISED.model_copy(update={"threshold": 0.8})
    assert alike(kept, small_checkpoint(**NOTHING | asked | {"threshold": 0.8, "promises": [higher]}).metadata)


@pytest.mark.parametrize(
    ("settings", "what"),
    [({"others_dir": "나머지"}, "go to 나머지/"), ({"action": "tag"}, "get no tag")],
)
def test_what_becomes_of_unsure_images_is_said_as_it_is(settings: dict[str, Any], what: str) -> None:
    metadata = small_checkpoint(**NOTHING | {"threshold": 0.7}).metadata
    said = str(PipelineSettings.from_settings(config.load(settings)).threshold_for(metadata))
    assert said == f"images it is less than 70 % sure of {what}: the checkpoint's own threshold"


def test_a_threshold_near_1_is_not_said_to_be_100_percent() -> None:
    metadata = small_checkpoint(**NOTHING | {"threshold": 0.99996}).metadata
    assert str(in_force(None, metadata)).startswith("images it is less than 99.996 % sure of go to others/")


@pytest.mark.parametrize(("chosen", "too"), [(None, True), (0.1, True), (0.0, False)])
def test_unknown_images_go_to_the_others_too_unless_everything_is_to_be_filed(chosen: float | None, too: bool) -> None:
    told = Unknown(limit=1.0, refused=0.02)
    found = in_force(chosen, small_checkpoint(**NOTHING | {"unknown": told, "threshold": 0.0}).metadata)
    assert found.refuses_unknown is too
    assert ("unlike anything it was taught" in str(found)) is too
    assert not in_force(chosen, small_checkpoint(**NOTHING).metadata).refuses_unknown


def test_a_promise_that_a_lesson_ended_is_said_to_be_over() -> None:
    changes = {
        "max_error": 0.02,
        "threshold": 0.8,
        "promises": [],
        "settings": {"lesson": True, "promise_lapsed": True},
    }
    found = in_force(None, small_checkpoint(**NOTHING | changes).metadata)
    assert found.value == 0.8
    assert "the threshold from before the lesson; at most 2 % wrong is no longer promised" in str(found)


@pytest.mark.parametrize(("chosen", "levels"), [(None, {1: 0.7}), (0.8, {1: 0.8}), (0.0, {1: 0.0})])
def test_inner_folders_are_named_with_their_thresholds(chosen: float | None, levels: dict[int, float]) -> None:
    nested = ["animals/cat", "animals/dog", "car"]
    found = in_force(chosen, small_checkpoint(classes=nested, **NOTHING | {"threshold": 0.7}).metadata)
    assert found.rule.levels == levels
    assert (f"{100 * levels[1]:.0f} % sure that they belong there" in found.rolled_up) == (chosen != 0)
    assert in_force(chosen, small_checkpoint(**NOTHING | {"threshold": 0.7}).metadata).rolled_up == ""


NESTED = {"classes": ["animals/cat", "animals/dog", "plants/wild/moss", "plants/wild/fern", "plants/oak"]}


def test_each_depth_of_inner_folders_is_said_with_its_own_promise() -> None:
    changes = {"max_error": 0.02, "threshold": PROMISED.threshold, "promises": [PROMISED]}
    weaker = PROMISED.model_copy(update={"max_error": 0.05, "threshold": 0.9})
    levels = [Level(depth=1, threshold=0.9, promise=weaker), Level(depth=2)]
    metadata = small_checkpoint(**NESTED, **NOTHING | changes | {"levels": levels}).metadata
    second, first = inner_folder_rules(None, metadata)  # the deepest first, as it is decided
    assert "(animals/, plants/) if it is at least 90 % sure" in first
    assert "at most 5 % of those filed are wrong" in first
    assert "(plants/wild/)" in second
    assert "it cannot be promised that at most 2 % are wrong there" in second
    assert [("80 % sure" in one, "wrong" in one) for one in inner_folder_rules(0.8, metadata)] == [(True, False)] * 2
    assert inner_folder_rules(0.0, metadata) == []
    lapsed = metadata.model_copy(update={"promises": [], "levels": [Level(depth=1, threshold=0.9)]})
    assert "no longer promised" in inner_folder_rules(None, lapsed)[1]


def test_flat_classes_have_no_inner_folders() -> None:
    assert inner_folder_rules(None, small_checkpoint(**NOTHING).metadata) == []
