"""An output whose class folders are looked at, with a clock that the test turns."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.correcting.allowance import Allowance
from daemon.correcting.examination import Found
from daemon.correcting.noting import LabelWriter
from daemon.correcting.observer import Observer
from daemon.correcting.own_filings import OwnFilings
from daemon.journal.labels import Label, WantedLabels
from tests.filing_desk import Desk, make_desk

_BEGIN = 1000.0
#: Larger files are not read.
MAX_BYTES = 64 << 20


class Scene:
    """What runs beside the filer, step by step: `look` is what happens within some seconds."""

    def __init__(self, desk: Desk, *, poll: bool) -> None:
        self.desk = desk
        self.output = desk.output
        self.journal = desk.journal()
        self.poll = poll
        self.classes: tuple[str, ...] = ()
        self.now = _BEGIN
        self.own = OwnFilings()
        self.found: list[Found] = []
        self.observer: Observer | None = None
        self.output.mkdir(exist_ok=True)
        self.journal.note("test", "the file is there")

    def wall(self) -> float:
        """Return the time of day."""
        return time.time() + self.now - _BEGIN

    def start(self) -> None:
        """Begin as the daemon does, before it files anything."""
        self.own, self.found = OwnFilings(), []
        self.observer = Observer(
            self.output,
            self.desk.journal_path,
            self.own,
            self.found.append,
            others="others",
            quarantine="quarantine",
            max_bytes=MAX_BYTES,
            poll=self.poll,
            classes=self.classes,
            clock=lambda: self.now,
            wall=self.wall,
            allowance=Allowance(lambda: self.now, lambda: 0.0),
        )
        self.observer.begin(self.journal.identity())
        self.writer = LabelWriter(self.output, self.journal, lambda: self.now)
        self.look()

    def stop(self, *, killed: bool = False) -> None:
        """End; ``killed`` keeps nothing."""
        assert self.observer is not None
        if killed:
            (self.desk.journal_path.parent / "seen-files").rename(self.desk.journal_path.parent / "kept")
        self.observer.close()
        if killed:
            (self.desk.journal_path.parent / "kept").rename(self.desk.journal_path.parent / "seen-files")
        self.observer = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def look(self, seconds: float = 20.0, *, noting: bool = True) -> None:
        """Let so much time pass, and note what is found."""
        assert self.observer is not None
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            if (events := self.observer.events) is not None and select.select([events], [], [], 0)[0]:
                self.observer.heard()
            self.observer.step(may_find=True)
            if noting:
                self.note()

    def note(self) -> None:
        """Do what the work loop does between two batches."""
        assert self.observer is not None
        batch, self.found[:] = list(self.found), []
        if batch:
            noted = self.writer.write(batch)
            for each in noted.examine:
                self.observer.examine_again(each)
            self.observer.decided({each.sighting.key for each in batch} - {each.sighting.key for each in noted.examine})

    def file(self, name: str, folder: str = "dog", content: bytes | None = None, **more: Any) -> Path:
        """File an image as the daemon does."""
        self.desk.put(name, content or name.encode())
        filed = self.desk.file_one(self.desk.inbox / name, folder, **more)
        assert filed.destination is not None
        self.own.add(filed.destination)
        return filed.destination

    def move(self, image: Path, folder: str, name: str | None = None) -> Path:
        """Move an image as a person does."""
        target = self.output / folder / (name or image.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return image.rename(target)

    def place(self, name: str, folder: str, content: bytes | None = None) -> Path:
        """Put an image there as a person does."""
        target = self.output / folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content or name.encode())
        return target

    @property
    def all_labels(self) -> list[Label]:
        return list(self.journal.labels(WantedLabels(every=True)))

    @property
    def labels(self) -> dict[str, tuple[str | None, str]]:
        """The labels that hold, by the names of their images: the class, and how it came about."""
        return {label.path.name: (label.label, label.how.value) for label in self.journal.labels()}


@pytest.fixture(params=["events", "polling"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """A scene with events, and one without."""
    scene = Scene(make_desk(tmp_path), poll=request.param == "polling")
    yield scene
    if scene.observer is not None:
        scene.stop()
    scene.journal.close()
