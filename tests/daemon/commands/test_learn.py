"""The command learn without a daemon, the method beside one, and what status and the metrics say of lessons."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import config
from daemon.__main__ import main
from daemon.commands import learning_probes
from daemon.commands.learning_probes import learning_findings
from daemon.commands.learning_rows import learning_rows
from daemon.control.calls import Call
from daemon.control.client import ControlClient
from daemon.control.listening import Listener
from daemon.control.methods import Methods
from daemon.control.protocol import Refused, greeting
from daemon.control.server import ControlServer
from daemon.journal.journal import Journal
from daemon.learning.lessons import LessonFailed
from daemon.learning.record import recall
from daemon.learning.status import LastLesson, LearningHealth
from daemon.monitoring.health import Health
from daemon.monitoring.metrics import render
from daemon.state import journal_path
from models.checkpoints.checkpoint import POINTER
from models.errors import UserError
from models.text.commandline import normalise
from tests.daemon.commands.test_status import HEALTH
from tests.daemon.learning.conftest import label_of
from tests.daemon.monitoring.test_metrics import samples
from tests.processes import wait_for


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sorted/red").mkdir(parents=True)
    (tmp_path / "sorted/red/1.png").write_bytes(b"1")
    return tmp_path


def learn(*options: str) -> int:
    return main(normalise(["learn", "--state-dir", "state", "--output", "sorted", *options]))


def test_where_nothing_was_filed_there_is_no_label(place: Path) -> None:
    with pytest.raises(UserError, match="so there is no label: give the --output"):
        learn()


def test_one_checkpoint_cannot_learn(place: Path) -> None:
    Journal(journal_path(place / "state", place / "sorted")).prepare()
    (place / "checkpoint.safetensors").touch()
    with pytest.raises(UserError, match="is one checkpoint, so nothing can be learned"):
        learn("--checkpoint", "checkpoint.safetensors")


@pytest.mark.timeout(300)
def test_a_lesson_that_is_impossible_is_a_sentence_and_noted_for_the_daemon(place: Path) -> None:
    path = journal_path(place / "state", place / "sorted")
    journal = Journal(path)
    journal.write([], labels=[label_of(place / "sorted/red/1.png")])
    journal.close()
    (place / "runs").mkdir()
    (place / "runs" / POINTER).write_text(json.dumps({"run": "gone", "sha256": "0" * 64}))
    with pytest.raises(LessonFailed, match="^nothing is learned from 1 label: .*gone") as failed:
        learn("--checkpoint", "runs")
    assert failed.value.exit_code == 2
    record = recall(Journal(path), place / "runs")
    assert record is not None
    assert (record.result, record.failures, record.count) == ("impossible", 1, 0)


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[tuple[Path, list[Call]]]:
    """A daemon that takes calls of ``learn`` and does not answer them by itself."""
    taken: list[Call] = []
    methods = Methods({}, {}, {}, {"learn": taken.append})
    listener = Listener(tmp_path / "control.sock", "")
    server = ControlServer(
        listener.socket, greeting(output="/sorted"), lambda call: methods.answer(call, lambda _: None)
    )
    server.start()
    yield tmp_path / "control.sock", taken
    server.close()
    listener.close()


def test_the_method_is_answered_by_whoever_gives_the_lesson(calls: tuple[Path, list[Call]]) -> None:
    path, taken = calls

    def give() -> None:
        wait_for(lambda: taken, "the call")
        taken[0].item({"says": "at work"})
        taken[0].result({"result": "refused"})

    thread = threading.Thread(target=give)
    thread.start()
    with ControlClient(path) as client:
        calling = client.call("learn", {})
        assert next(calling) == {"says": "at work"}
        with pytest.raises(StopIteration) as end:
            next(calling)
        assert end.value.value == {"result": "refused"}
        with pytest.raises(Refused, match="no parameters"):
            next(client.call("learn", {"now": True}))
    thread.join()


def test_doctor_says_whether_anything_can_be_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(**settings: object) -> list[tuple[str, str, str | None]]:
        found = learning_findings(config.load({"checkpoint": tmp_path / "runs", **settings}))
        return [(finding.state, finding.text, finding.advice) for finding in found]

    assert told() == []  # what is published there later may be learned from
    (tmp_path / "runs").mkdir()
    assert told() == [("fine", f"lessons may be published in {tmp_path}/runs", None)]
    assert told(learn="off") == [("fine", "nothing is learned from what people correct: learn is off", None)]
    (tmp_path / "one.safetensors").touch()
    ((state, text, advice),) = told(checkpoint=tmp_path / "one.safetensors")
    assert (state, text) == ("note", f"{tmp_path}/one.safetensors is one checkpoint, so nothing can be learned")
    assert str(advice).startswith("give as checkpoint the folder")
    monkeypatch.setattr(learning_probes, "find_obstacle", lambda _: "the daemon may not write there: let it")
    assert told() == [("wrong", "the daemon may not write there", "let it")]
    assert told(learn="ask") == [("note", "the daemon may not write there", "let it")]


def rows(learning: LearningHealth | None) -> list[str]:
    return [text for _, text in learning_rows(learning, 1100.0, lambda seconds: f"{seconds:.0f} s")]


def test_status_says_what_is_learned_and_what_waits() -> None:
    assert rows(None) == []
    assert rows(LearningHealth(mode="on")) == ["on: no label waits for a lesson"]
    assert rows(LearningHealth(mode="on", waiting=1)) == ["on: 1 label waits for a lesson"]
    assert rows(LearningHealth(mode="ask", waiting=3)) == ["3 labels are not learned from yet: python -m daemon learn"]
    assert rows(LearningHealth(mode="off")) == ["off"]
    assert rows(LearningHealth(mode="on", waiting=2, running=1098.0)) == ["a lesson is running, for 2 s"]
    assert rows(LearningHealth(mode="on", waiting=2, obstacle="no room: make some")) == [
        "2 labels are not learned from: no room: make some"
    ]
    last = LastLesson(result="refused", says="nothing is won", time=1000.0, seconds=2.0)
    assert rows(LearningHealth(mode="on", last=last))[1] == "100 s ago: nothing is won"


def test_a_status_file_of_an_earlier_version_says_nothing_of_lessons() -> None:
    text = HEALTH.model_dump_json(exclude={"learning"})
    assert Health.model_validate_json(text).learning is None


def test_the_metrics_count_lessons() -> None:
    last = LastLesson(result="published", says="", time=1000.0, seconds=2.5)
    learning = LearningHealth(mode="on", waiting=4, last=last, lessons={"published": 2, "refused": 1})
    found = samples(render(HEALTH.model_copy(update={"learning": learning}), 2000))
    assert found['imagesortd_lessons_total{result="published"}'] == 2
    assert found['imagesortd_lessons_total{result="refused"}'] == 1
    assert found["imagesortd_labels_waiting"] == 4
    assert found["imagesortd_last_lesson_seconds"] == 2.5
    assert found["imagesortd_last_lesson_timestamp_seconds"] == 1000
    assert not any("lesson" in name for name in samples(render(HEALTH, 2000)))
