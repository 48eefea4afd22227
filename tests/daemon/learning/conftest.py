"""A journal with labels, and lessons that are given by a stand-in for the trainer."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from daemon import config
from daemon.files.source import Identity
from daemon.journal.journal import Journal
from daemon.journal.labels import How, Label
from daemon.journal.records import Filing, State
from daemon.learning.given_labels import filed_file
from daemon.learning.lessons import Lessons
from daemon.learning.trainer_child import LessonAnswer, LessonOptions, TrainerChild
from models.text.language import Language
from tests.processes import wait_for


def label_of(path: Path, name: str | None = "red") -> Label:
    """A label of an image that is there."""
    status = path.stat()
    identity = Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Label(sha256=sha256, label=name, how=How.MOVED, path=path, identity=identity)


def filing_of(path: Path, label: str, **changes: Any) -> Filing:
    """The filing that has put an image where it lies."""
    return Filing(
        state=State.DONE,
        action="move",
        source=Path("/inbox") / path.name,
        identity=Identity.from_stat(path.stat()),
        folder=path.parent,
        filed_name=path.name,
        label=label,
        **changes,
    )


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The JSON object on each line of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


class Teacher:
    """Stands in for the trainer: gives the answers in turn, the last one for ever, and keeps the labels it was given,
    and the images that were filed.

    While `holds` is set, a lesson lasts until it is cleared or the lesson is ended.
    """

    def __init__(self) -> None:
        self.answers = [LessonAnswer("refused", "nothing is won")]
        self.given: list[list[dict[str, Any]]] = []
        self.filed: list[list[dict[str, Any]]] = []
        self.given_up: list[str | None] = []
        self.may_end = threading.Event()
        self.may_end.set()
        self.ended = 0

    def begin(self, options: LessonOptions, labels: Path) -> TrainerChild:
        teacher = self

        class Child(TrainerChild):
            def run(self, on_line: Callable[[str], None] = lambda _: None) -> LessonAnswer | None:
                teacher.given_up.append(options.given_up)
                teacher.filed.append(lines_of(filed_file(labels)))
                teacher.given.append(lines_of(labels))
                on_line("at work")
                while not teacher.may_end.wait(0.01):
                    if self.is_ended:
                        teacher.ended += 1
                        return None
                answers = teacher.answers
                return answers.pop(0) if len(answers) > 1 else answers[0]

            is_ended = False

            def end(self) -> None:
                self.is_ended = True

        return Child(options, labels)


class Asked:
    """Somebody who asks for a lesson."""

    language: Language = "en"
    is_over = False

    def __init__(self) -> None:
        self.items: list[Mapping[str, object]] = []
        self.told: Mapping[str, object] | Exception | None = None

    def item(self, item: Mapping[str, object]) -> None:
        self.items.append(item)

    def result(self, result: Mapping[str, object]) -> None:
        self.told = result

    def failed(self, error: Exception) -> None:
        self.told = error


class School:
    """A daemon's lessons and journal, and what its work loop does with them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.output, self.journal_path = folder / "sorted", folder / "state" / "journal.sqlite"
        self.checkpoints = folder / "checkpoints"
        self.checkpoints.mkdir(exist_ok=True)
        self.settings = settings
        self.teacher = Teacher()
        self.journal = Journal(self.journal_path)
        self._closing = ExitStack()
        self._count = 0
        self.now = 0.0
        self.start()

    def start(self) -> None:
        """Begin, as at the start of a daemon."""
        usual = {"output": self.output, "checkpoint": self.checkpoints, "learn_quiet_seconds": 0}
        self.config = config.load({**usual, "learn_every_seconds": 0, **self.settings})
        self.lessons = self._closing.enter_context(
            Lessons(self.config, self.journal, self.journal_path, begin=self.teacher.begin, clock=self.clock)
        )

    def clock(self) -> float:
        return time.monotonic() + self.now

    def restart(self) -> None:
        self.stop()
        self.journal = Journal(self.journal_path)
        self.start()

    def stop(self) -> None:
        self._closing.close()
        self.journal.close()

    def label(self, count: int = 1, name: str | None = "red") -> list[Label]:
        """Have somebody label so many new images; the work loop notices."""
        labels = []
        for _ in range(count):
            self._count += 1
            path = self.output / str(name) / f"{self._count}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{self._count}".encode())
            labels.append(label_of(path, name))
        self.journal.write([], labels=labels)
        self.lessons.turn()
        return labels

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        def turned() -> object:
            self.lessons.turn()
            return condition()

        wait_for(turned, what)

    def wait_for_lessons(self, count: int) -> None:
        """Wait until so many lessons were given since the beginning and the last one is noted."""
        self.wait_until(
            lambda: len(self.teacher.given) == count and self.lessons.health.running is None, f"{count} lessons"
        )
        self.lessons.turn()

    def is_at_rest(self) -> bool:
        """Have a look begun and finished, and tell whether it gave no lesson."""
        before = len(self.teacher.given)
        self.lessons.model_changed("", None)
        time.sleep(0.3)
        self.lessons.turn()
        return len(self.teacher.given) == before


@pytest.fixture
def make_school(tmp_path: Path) -> Iterator[Callable[..., School]]:
    schools: list[School] = []

    def make(**settings: Any) -> School:
        schools.append(School(tmp_path, **settings))
        return schools[-1]

    yield make
    for school in schools:
        school.stop()
