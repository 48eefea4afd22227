"""The work loop, step by step on this thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest

from daemon import config
from daemon.attendant import Attendant
from daemon.copying import sha256_of
from daemon.filing import Filer, Status
from daemon.health import Tally
from daemon.loop import WorkLoop
from daemon.moves import Entry
from daemon.notify import Notifier
from daemon.pipeline import Outcome, Pipeline, Policy
from daemon.reconfigure import Configuration
from daemon.reload import Reloader
from daemon.watcher import InboxWatcher
from models.weights import WeightsStore
from tests.daemon.conftest import Publish
from tests.filing_desk import Desk, make_desk
from tests.pictures import KINDS, save
from tests.processes import wait_for


@dataclass
class Running:
    """A loop, its folders, and the images that somebody was told of."""

    loop: WorkLoop
    desk: Desk
    told: list[Path] = field(default_factory=list)


@pytest.fixture
def running(
    publish: Publish, store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    """One that is told to stop as soon as the first image was filed."""
    desk = make_desk(tmp_path)
    publish(tmp_path / "checkpoints" / "run")
    settings = config.load({"output": desk.output, "checkpoint": tmp_path / "checkpoints", "batch_size": 4})
    reloader = Reloader.of(settings, store)
    classifier = reloader.first()
    pipeline = Pipeline(classifier, Filer(desk.output, journal=desk.journal()), Policy.of(settings), threads=1)
    watcher = InboxWatcher([desk.inbox], settle_seconds=0.01)
    tally = Tally(desk.output, classifier, lambda: pipeline.threshold)
    attendant = Attendant(Notifier.of(), Configuration(settings, lambda: settings), tally)
    made = Running(WorkLoop(watcher, pipeline, reloader, attendant), desk)

    def outcome(outcome: Outcome) -> None:
        made.told.append(outcome.path)
        made.loop.stop()

    monkeypatch.setattr(tally, "outcome", outcome)
    watcher.start()
    yield made
    watcher.stop()
    pipeline.close()
    reloader.close()


def test_told_to_stop_within_a_batch_it_tells_of_all_that_is_filed(running: Running) -> None:
    """Commands of on_filed, the log and the counts would miss images for ever."""
    paths = {save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed:02}.png") for seed in range(20)}
    wait_for(lambda: running.loop.step(0.05), "some images")
    assert set(running.told) == paths - set(running.desk.inbox.iterdir()) != paths


def test_housekeeping_has_its_turn_also_where_images_never_stop_coming(running: Running) -> None:
    housekeeping = Mock()
    running.loop._housekeeping = housekeeping
    save(KINDS[0], 1, running.desk.inbox / "a.png")
    wait_for(lambda: running.loop.step(0.05), "an image")
    assert housekeeping.turn.call_args.kwargs == {"idle": False}


def test_a_single_pass_told_to_stop_counts_what_stays(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what it was not handed yet."""
    monkeypatch.setattr("daemon.loop._HANDFUL", 8)
    for seed in range(20):
        save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed:02}.png")
    assert running.loop.run_once() == len(list(running.desk.inbox.iterdir())) == 20 - len(running.told) > 0


def test_what_a_single_pass_files_after_it_had_changed_is_not_left_behind(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(KINDS[0], 1, running.desk.inbox / "a.png")
    monkeypatch.setattr(running.loop, "stop", lambda: None)
    original = Pipeline.process
    changes = iter([True])

    def process(self: Pipeline, paths: Iterable[Path], *rest: Callable[..., bool]) -> Iterator[Outcome]:
        if next(changes, False):
            save(KINDS[1], 2, path)  # written again while it was decoded
            return iter([Outcome(path=path, status=Status.CHANGED)])
        return original(self, paths, *rest)

    monkeypatch.setattr(Pipeline, "process", process)
    assert running.loop.run_once() == 0
    assert running.told == [path, path]
    assert not path.exists()


def test_while_a_large_file_is_copied_the_watchdog_hears_that_it_gets_on(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[object] = []
    monkeypatch.setattr(running.loop._attendant, "progress", alive.append)

    def copying(*_: object) -> None:
        source = running.desk.inbox / "film.mov"
        source.write_bytes(bytes(4 << 20))
        folder = os.open(running.desk.inbox, os.O_RDONLY)
        sha256_of(Entry(folder, source.name))
        os.close(folder)
        running.loop.stop()

    monkeypatch.setattr(running.loop, "step", copying)
    running.loop.run()
    assert len(alive) == 4
