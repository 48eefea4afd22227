"""Kill a lesson at every system call of writing its run and publishing it: the old run serves, or the whole new one.

So it is where the disk is full at any of them, which the lesson says in one sentence. The lesson fits the head of a run
again, or adapts the starter model, before which nothing was published.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trainer.learn
import trainer.runs.publish
from models.checkpoints import checkpoint as checkpoints
from models.errors import UserError
from models.files.atomic import file_digest
from models.weights.store import WeightsStore
from tests.faults.tracer import Point, fail_at, kill_at, need_strace, points, trace
from tests.filing_desk import far_folder
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.learn import LearnOptions, learn
from trainer.learning.files import FILE_NAME, LABELLED_FILE_NAME, kept_record, read_features, read_labelled
from trainer.learning.origin import ORIGIN_NAME
from trainer.learning.record import Lesson, write_lesson
from trainer.runs.publish import publish

pytestmark = pytest.mark.timeout(2 * 3600)

#: What needs room on a disk.
NEED_ROOM = re.compile(r"O_CREAT|\b(write|pwrite64|fsync|fdatasync|ftruncate|rename\w*|link\w*|mkdir\w*)\(")

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


def paint(folder: Path, colour: str, count: int) -> list[Path]:
    random_numbers = np.random.default_rng(len(colour))
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        pixels = np.array(COLOURS[colour]) + random_numbers.normal(0, 40, (64, 64, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return paths


@dataclass
class Proved:
    """What `publish` asks of a run that was proved: that is not what is killed here."""

    digest: str
    classes: tuple[str, ...] = ()


@dataclass
class Scenario:
    """A lesson that has passed, for the run in ``folder``, which is copied from ``origin`` every time."""

    folder: Path
    origin: Path
    lesson: Lesson

    @property
    def is_of_starter(self) -> bool:
        return self.lesson.origin is not None

    @property
    def is_published(self) -> bool:
        """Whether the lesson is."""
        pointer = checkpoints.read_pointer(self.folder)
        return pointer is not None and pointer.run != self.lesson.parent.name

    def prepare(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.origin, self.folder)

    def work(self) -> None:
        run = write_lesson(self.lesson, {}, ["done"])
        publish(run, WeightsStore(self.folder), after="" if self.is_of_starter else self.lesson.parent.name)

    def try_to_work(self) -> None:
        """What a person or the daemon is told is a sentence; any other error ends the child."""
        with suppress(UserError):
            self.work()

    def check(self, *, complete: bool, linked: bool = True) -> None:
        if complete:
            assert self.is_published
            assert [path for path in self.folder.iterdir() if path.name[0] == "." and path.is_dir()] == []
        if self.is_of_starter:
            self._check_adapted()
        else:
            self._check_fitted(complete=complete, linked=linked)

    def _check_adapted(self) -> None:
        if self.is_published:
            served = checkpoints.load(self.folder).metadata
            assert (served.classes[-1], served.settings["parent"]) == ("red", "starter")
        for run in (path for path in self.folder.iterdir() if path.is_dir() and path.name[0] != "."):
            metadata = checkpoints.read(run / checkpoints.FILE_NAME).metadata
            read_labelled(run, kept_record(run, "labelled"), metadata)
            assert file_digest(run / ORIGIN_NAME) == metadata.settings["origin_sha256"]
        assert self.lesson.origin is not None
        checkpoints.read(self.lesson.origin.file)

    def _check_fitted(self, *, complete: bool, linked: bool) -> None:
        parent = self.lesson.parent.name
        served = checkpoints.load(self.folder)
        assert served.metadata.classes == ["blue", "green"] or served.metadata.settings["parent"] == parent
        if complete:
            assert served.metadata.classes == ["blue", "green", "red"]
        originals = {path.name: file_digest(path) for path in (self.origin / parent).iterdir()}
        assert {path.name: file_digest(path) for path in (self.folder / parent).iterdir()} == originals
        for run in (path for path in self.folder.iterdir() if path.is_dir() and path.name[0] != "."):
            metadata = checkpoints.read(run / checkpoints.FILE_NAME).metadata
            read_features(run, kept_record(run), metadata)
            if run.name != parent:
                read_labelled(run, kept_record(run, "labelled"), metadata)
                assert not linked or (run / FILE_NAME).samefile(self.folder / parent / FILE_NAME)
                assert (run / LABELLED_FILE_NAME).is_file()


@pytest.fixture(params=["fitted", "starter"])
def scenario(
    request: pytest.FixtureRequest, store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scenario]:
    need_strace()
    assert store.root.is_absolute()
    reds = paint(tmp_path / "red", "red", 8)
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n".join(json.dumps({"path": str(path), "label": "red"}) for path in reds), encoding="utf-8")
    if request.param == "fitted":
        for colour in ("blue", "green"):
            paint(tmp_path / "data" / colour, colour, 12)
        data, runs = tmp_path / "data", tmp_path / "runs"
        fit(FitOptions(data_dir=data, mode="efficientnet_lite0", output_dir=runs, epochs=2))
    else:
        (tmp_path / "runs").mkdir()
    taught: list[Lesson] = []

    def take(lesson: Lesson, *_: Any) -> Path:
        taught.append(lesson)
        raise KeyboardInterrupt

    def proved(run: Path, _: WeightsStore) -> Proved:
        return Proved(file_digest(run / checkpoints.FILE_NAME))

    with far_folder() as quick:
        folder = quick / "checkpoints"
        shutil.copytree(tmp_path / "runs", folder)
        with monkeypatch.context() as patched:
            patched.setattr(trainer.learn, "write_lesson", take)
            with pytest.raises(KeyboardInterrupt):
                learn(LearnOptions(checkpoints=folder, labels=labels))
        monkeypatch.setattr(trainer.runs.publish, "prove", proved)
        yield Scenario(folder, tmp_path / "runs", taught[0])


def kill_and_check(scenario: Scenario, point: Point) -> None:
    scenario.prepare()
    if kill_at(point, scenario.work):
        scenario.check(complete=False)
        if not scenario.is_published:
            scenario.work()
    scenario.check(complete=True)


def fill_and_check(scenario: Scenario, point: Point) -> None:
    """Let the disk be full once; the lesson is given again where it is not published."""
    scenario.prepare()
    fail_at(point, "ENOSPC", scenario.try_to_work)
    linked = not point.call.startswith("link")  # else the features are copied
    scenario.check(complete=False, linked=linked)
    if not scenario.is_published:
        scenario.work()
    scenario.check(complete=True, linked=linked)


def population(scenario: Scenario, log: Path) -> list[Point]:
    scenario.prepare()
    return points(trace(scenario.work, log))


def where_room_is_needed(scenario: Scenario, log: Path) -> list[Point]:
    scenario.prepare()
    folder = str(scenario.folder)
    return points(trace(scenario.work, log), lambda line: folder in line and NEED_ROOM.search(line) is not None)


def test_a_killed_lesson_leaves_the_old_run_or_the_whole_new_one(scenario: Scenario, tmp_path: Path) -> None:
    every = population(scenario, tmp_path / "trace")
    assert len(every) > 40
    for point in random.Random(1).sample(every, 4):
        kill_and_check(scenario, point)


@pytest.mark.slow
def test_killed_at_every_call_a_lesson_leaves_the_old_run_or_the_whole_new_one(
    scenario: Scenario, tmp_path: Path
) -> None:
    every = population(scenario, tmp_path / "trace")
    for point in every:
        kill_and_check(scenario, point)
    print(f"{len(every)} kill points")


def test_a_full_disk_leaves_the_old_run_or_the_whole_new_one(scenario: Scenario, tmp_path: Path) -> None:
    every = where_room_is_needed(scenario, tmp_path / "trace")
    assert len(every) > 20
    for point in random.Random(2).sample(every, 4):
        fill_and_check(scenario, point)


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_call_leaves_the_old_run_or_the_whole_new_one(
    scenario: Scenario, tmp_path: Path
) -> None:
    every = where_room_is_needed(scenario, tmp_path / "trace")
    for point in every:
        fill_and_check(scenario, point)
    print(f"{len(every)} points")
