"""Lessons beside the service: when one is given, what becomes of it, and what is said."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.learning import lessons as module
from daemon.learning.base_run import find_obstacle
from daemon.learning.given_labels import filed_file
from daemon.learning.lessons import LABELS_FILE, LessonFailed
from daemon.learning.trainer_child import LessonAnswer
from models.checkpoints import checkpoint
from models.errors import UserError
from tests.daemon.learning.conftest import Asked, School, filing_of
from tests.models.small_checkpoints import small_checkpoint

MakeSchool = Callable[..., School]

JUDGED = {"data_set": {"images": 90, "right": 86, "right_before": 86}}
BETTER = {"labelled": {"images": 10, "right": 9, "right_before": 7}}


def publish(school: School, run: str, **metadata: Any) -> Path:
    folder = school.checkpoints / run
    folder.mkdir()
    digest = checkpoint.write(small_checkpoint(**metadata), folder / checkpoint.FILE_NAME)
    checkpoint.publish(folder, digest, datetime.now(UTC).isoformat())
    return folder


def published(school: School, run: str = "20261129-lesson", **figures: Any) -> LessonAnswer:
    folder = publish(school, run, settings={"lesson": True})
    return LessonAnswer("published", "it is better", {"run": str(folder), "judged": JUDGED | BETTER} | figures)


def test_labels_become_a_lesson_and_that_is_told(make_school: MakeSchool, logged: list[str]) -> None:
    school = make_school()
    school.teacher.answers = [published(school)]
    labels = school.label(12)
    school.wait_for_lessons(1)
    assert {given["sha256"] for given in school.teacher.given[0]} == {label.sha256 for label in labels}
    assert {given["now"] for given in school.teacher.given[0]} == {str(label.path) for label in labels}
    says = "learned from 12 labels: run 20261129-lesson is published, accuracy on checked images 0.930 -> 0.950"
    assert says in "".join(logged)
    health = school.lessons.health
    assert (health.mode, health.waiting, health.lessons) == ("on", 0, {"published": 1})
    assert health.last is not None
    assert (health.last.result, health.last.says, health.last.run) == ("published", says, "20261129-lesson")
    assert not (school.journal_path.parent / LABELS_FILE).exists()
    assert school.is_at_rest()


def test_labels_of_the_time_when_it_was_stopped_are_learned_from_at_the_start(make_school: MakeSchool) -> None:
    school = make_school(learn="ask")
    school.label(3)
    school.settings["learn"] = "on"
    school.restart()
    school.wait_for_lessons(1)
    assert len(school.teacher.given[0]) == 3
    school.restart()
    assert school.is_at_rest()
    assert school.lessons.health.last is not None


def test_a_refused_lesson_is_not_repeated_for_the_same_labels(make_school: MakeSchool, logged: list[str]) -> None:
    school = make_school()
    school.label(2)
    school.wait_for_lessons(1)
    assert school.is_at_rest()
    school.restart()
    assert school.is_at_rest()
    school.label()
    school.wait_for_lessons(2)
    assert "".join(logged).count("nothing is learned from 2 labels: nothing is won") == 1


def test_hands_that_do_not_rest_are_left_in_peace(make_school: MakeSchool) -> None:
    school = make_school(learn_quiet_seconds=1000)
    school.label(2)
    assert school.is_at_rest()
    school.now = 1001
    school.lessons.adopt(school.config)
    school.now = 2002
    school.lessons.ask(Asked())
    school.wait_for_lessons(1)


def test_lessons_are_not_given_too_often(make_school: MakeSchool) -> None:
    school = make_school(learn_every_seconds=1000)
    school.label()
    school.wait_for_lessons(1)
    school.label()
    assert school.is_at_rest()
    assert school.lessons.health.waiting == 1
    school.now = 1001
    assert not school.is_at_rest()


def test_who_wants_to_be_asked_is_only_told_how_many_labels_wait(make_school: MakeSchool) -> None:
    school = make_school(learn="ask")
    school.label(3)
    school.wait_until(lambda: school.lessons.health.waiting == 3, "they are counted")
    assert not school.teacher.given
    asked = Asked()
    school.lessons.ask(asked)
    school.wait_for_lessons(1)
    school.wait_until(lambda: asked.told, "an answer")
    assert asked.items == [{"says": "at work"}]
    assert isinstance(asked.told, dict)
    assert (asked.told["result"], asked.told["labels"], asked.told["exit"]) == ("refused", 3, 3)
    assert school.lessons.health.waiting == 0
    school.label(2)
    school.wait_until(lambda: school.lessons.health.waiting == 2, "new ones are counted")


def test_without_learning_nothing_is_done_until_somebody_asks(make_school: MakeSchool) -> None:
    school = make_school(learn="off")
    school.label(3)
    assert school.is_at_rest()
    assert school.lessons.health.model_dump(include={"mode", "waiting"}) == {"mode": "off", "waiting": 0}
    school.lessons.ask(Asked())
    school.wait_for_lessons(1)


def test_forgotten_labels_are_unlearned(make_school: MakeSchool) -> None:
    school = make_school()
    labels = school.label(3)
    school.wait_for_lessons(1)
    assert labels[0].id is not None
    school.journal.forget_labels([labels[0].id])
    school.wait_for_lessons(2)
    assert {given["sha256"] for given in school.teacher.given[1]} == {label.sha256 for label in labels[1:]}


def test_a_lesson_that_breaks_off_is_tried_again_later_and_said_once(
    make_school: MakeSchool, logged: list[str]
) -> None:
    school = make_school()
    school.teacher.answers = [LessonAnswer("broken", "it was ended by signal 6")]
    school.label(4)
    school.wait_for_lessons(1)
    assert school.is_at_rest()
    assert school.lessons.health.waiting == 4
    school.restart()
    assert school.is_at_rest()
    asked = Asked()
    school.lessons.ask(asked)
    school.wait_for_lessons(2)
    school.wait_until(lambda: asked.told, "an answer")
    assert isinstance(asked.told, LessonFailed)
    assert asked.told.exit_code == 1
    school.label()
    school.wait_for_lessons(3)
    text = "".join(logged)
    assert text.count("nothing is learned from 4 labels: it was ended by signal 6") == 2  # once each start
    school.teacher.answers = [published(school)]
    school.label()
    school.wait_for_lessons(4)
    assert school.lessons.health.lessons == {"broken": 2, "published": 1}


def test_while_another_lesson_is_given_in_the_folder_it_waits(make_school: MakeSchool, logged: list[str]) -> None:
    school = make_school()
    school.teacher.answers = [LessonAnswer("busy", "another lesson runs"), LessonAnswer("refused", "no")]
    school.label(2)
    school.wait_for_lessons(1)
    assert school.is_at_rest()
    assert school.lessons.health.waiting == 2


def test_the_end_of_the_daemon_ends_the_lesson(make_school: MakeSchool) -> None:
    school = make_school()
    school.teacher.may_end.clear()
    school.label()
    asked = Asked()
    school.lessons.ask(asked)
    school.wait_until(lambda: school.lessons.health.running, "it runs")
    school.stop()
    assert school.teacher.ended == 1
    assert str(asked.told) == "the daemon is stopping: run the same command again when it is started"
    late = Asked()
    school.lessons.ask(late)
    assert isinstance(late.told, LessonFailed)


def test_images_that_vanish_between_the_count_and_the_lesson_are_passed_on_as_gone(make_school: MakeSchool) -> None:
    school = make_school(learn="ask")
    gone, there = (label.path for label in school.label(2))
    school.wait_until(lambda: school.lessons.health.waiting == 2, "they are counted")
    gone.unlink()
    school.lessons.ask(Asked())
    school.wait_for_lessons(1)
    assert {each["path"]: each["now"] for each in school.teacher.given[0]} == {str(gone): None, str(there): str(there)}


def test_what_was_filed_and_left_is_passed_on_beside_the_labels(make_school: MakeSchool) -> None:
    school = make_school(learn="ask")
    school.label()
    filed = school.output / "blue" / "filed.png"
    filed.parent.mkdir()
    filed.write_bytes(b"blue")
    school.journal.write([filing_of(filed, "blue")])
    school.lessons.ask(Asked())
    school.wait_for_lessons(1)
    assert [(each["path"], each["label"]) for each in school.teacher.filed[0]] == [(str(filed), "blue")]
    assert not filed_file(school.journal_path.parent / LABELS_FILE).exists()


def test_a_file_of_labels_that_cannot_be_written_fails_the_lesson(make_school: MakeSchool, logged: list[str]) -> None:
    school = make_school(learn="ask")
    school.label()
    (school.journal_path.parent / LABELS_FILE).mkdir()
    asked = Asked()
    school.lessons.ask(asked)
    school.wait_until(lambda: asked.told, "an answer")
    assert isinstance(asked.told, LessonFailed)
    assert os.strerror(errno.EISDIR) in str(asked.told)
    assert school.lessons.health.last is not None
    assert school.lessons.health.last.result == "broken"


def test_where_nothing_may_be_written_labels_are_counted(
    make_school: MakeSchool, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    obstacle = ["the daemon may not write there"]
    monkeypatch.setattr(module, "find_obstacle", lambda _: obstacle[0] if obstacle else None)
    school = make_school()
    school.label(2)
    school.wait_until(lambda: school.lessons.health.waiting == 2, "they are counted")
    assert school.is_at_rest()
    assert school.lessons.health.obstacle == obstacle[0]
    asked = Asked()
    school.lessons.ask(asked)
    school.wait_until(lambda: asked.told, "an answer")
    assert (str(asked.told), isinstance(asked.told, LessonFailed)) == (obstacle[0], True)
    assert "".join(logged).count(obstacle[0]) == 1
    obstacle.clear()
    assert not school.is_at_rest()
    school.wait_until(lambda: school.lessons.health.obstacle is None, "it is gone")


def test_one_checkpoint_cannot_be_learned_into(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / checkpoint.FILE_NAME).touch()
    for path in (run, run / checkpoint.FILE_NAME):
        assert "is one checkpoint" in str(find_obstacle(path))
    assert find_obstacle(tmp_path) is None
    assert find_obstacle(tmp_path / "later") is None


def test_a_folder_that_may_not_be_written_to_is_an_obstacle(public_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    (public_folder / "checkpoints").mkdir(mode=0o755)
    (public_folder / "closed").mkdir(mode=0o700)
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        closed = public_folder / "closed" / "checkpoints"
        sentences = [str(find_obstacle(folder)) for folder in (public_folder / "checkpoints", closed)]
        os._exit(not all("may not write" in sentence for sentence in sentences))
    assert os.waitpid(pid, 0)[1] == 0
    assert find_obstacle(public_folder / "checkpoints") is None


def test_a_lesson_that_fails_its_probation_is_not_given_again(make_school: MakeSchool, logged: list[str]) -> None:
    school = make_school()
    school.teacher.answers = [published(school)]
    school.label(5)
    school.wait_for_lessons(1)
    pointer = checkpoint.read_pointer(school.checkpoints)
    assert pointer is not None
    school.lessons.model_changed("another", "it failed")
    school.lessons.model_changed(pointer.sha256, "it sent 30 of 50 images to the others")
    school.lessons.turn()
    last = school.lessons.health.last
    assert last is not None
    assert last.result == "taken back"
    assert last.says.endswith("from the same labels: it sent 30 of 50 images to the others")
    assert school.is_at_rest()
    school.restart()
    assert school.is_at_rest()
    assert school.lessons.health.last == last
    school.label(1)
    school.wait_for_lessons(2)
    school.label(1)
    school.wait_for_lessons(3)
    assert school.teacher.given_up == [None, pointer.sha256, pointer.sha256], "and later ones begin before it"


def test_a_model_that_fails_after_another_lesson_is_given_up_too(make_school: MakeSchool) -> None:
    """A probation may take longer than the next lesson."""
    school = make_school()
    school.teacher.answers = [published(school), LessonAnswer("refused", "no")]
    school.label(5)
    school.wait_for_lessons(1)
    pointer = checkpoint.read_pointer(school.checkpoints)
    assert pointer is not None
    school.label(1)
    school.wait_for_lessons(2)
    school.lessons.model_changed(pointer.sha256, "it failed")
    school.lessons.turn()
    last = school.lessons.health.last
    assert last is not None
    assert last.result == "refused", "that is told of the last lesson, which was not this one"
    school.label(1)
    school.wait_for_lessons(3)
    assert school.teacher.given_up == [None, None, pointer.sha256]


def test_a_run_that_was_fitted_since_learns_from_the_labels_too(make_school: MakeSchool) -> None:
    school = make_school()
    school.teacher.answers = [published(school), LessonAnswer("refused", "no")]
    school.label(5)
    school.wait_for_lessons(1)
    later = (datetime.now(UTC) + timedelta(seconds=60)).isoformat(timespec="seconds")
    publish(school, "given elsewhere", created=later, settings={"lesson": True})
    assert school.is_at_rest()
    publish(school, "fitted", created=later)
    school.lessons.model_changed("", None)
    school.wait_for_lessons(2)


def test_what_was_learned_is_remembered_for_each_folder_of_checkpoints(make_school: MakeSchool) -> None:
    school = make_school()
    school.teacher.answers = [LessonAnswer("refused", "not here"), LessonAnswer("refused", "not there")]
    school.label(5)
    school.wait_for_lessons(1)
    here, there = school.config, school.config.model_copy(update={"checkpoint": school.checkpoints.parent / "there"})
    school.teacher.may_end.clear()
    school.lessons.adopt(there)
    school.wait_until(lambda: len(school.teacher.given) == 2, "a lesson for the other folder")
    school.lessons.adopt(here)
    school.teacher.may_end.set()
    school.wait_for_lessons(2)
    assert school.is_at_rest()
    assert school.lessons.health.last is not None
    assert school.lessons.health.last.says.endswith("not here")
    school.settings["checkpoint"] = there.checkpoint
    school.restart()
    assert school.is_at_rest()
    assert school.lessons.health.last.says.endswith("not there")


def test_labels_of_another_journal_that_the_run_in_use_has_learned_are_passed_on(make_school: MakeSchool) -> None:
    school = make_school(learn="ask")
    mine = school.label(2)
    forgotten = school.label()[0]
    assert forgotten.id is not None
    school.journal.forget_labels([forgotten.id])
    published(school)
    learned = [
        {"sha256": "f" * 64, "label": "cat", "how": "moved"},
        {"sha256": forgotten.sha256, "label": "red", "how": "moved"},
        {"sha256": mine[0].sha256, "label": "blue", "how": "moved"},
    ]
    lines = "".join(f"{json.dumps(each)}\n" for each in learned)
    (school.checkpoints / "20261129-lesson" / "labels.jsonl").write_text(lines)
    school.lessons.ask(Asked())
    school.wait_for_lessons(1)
    given = {each["sha256"]: each["label"] for each in school.teacher.given[0]}
    assert given == {"f" * 64: "cat", mine[0].sha256: "red", mine[1].sha256: "red"}


def test_a_fault_of_ours_is_answered_and_does_not_end_lessons(
    make_school: MakeSchool, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    school = make_school(learn="ask")
    school.label()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(module, "look_at_labels", fail)
        asked = Asked()
        school.lessons.ask(asked)
        school.wait_until(lambda: asked.told, "an answer")
    assert isinstance(asked.told, ZeroDivisionError)
    assert not isinstance(asked.told, UserError)
    school.lessons.ask(Asked())
    school.wait_for_lessons(1)
