"""The work loop, step by step on this thread."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest

from daemon import config
from daemon.control.calls import Call
from daemon.control.protocol import Request, decode
from daemon.control.turns import Turns, Work
from daemon.decoding.decoder import Decoded, Task
from daemon.files.copying import sha256_of
from daemon.files.renaming import FileAt
from daemon.filing.filer import Filer, Status
from daemon.filing.outcome import Outcome
from daemon.loop import WorkLoop
from daemon.monitoring.health import Tally
from daemon.monitoring.monitor import Monitor
from daemon.monitoring.systemd import Notifier
from daemon.operations.desk import Operation
from daemon.pipeline import Pipeline
from daemon.reconfigure import Configuration
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.reloader import Reloader
from daemon.watching.watcher import InboxWatcher
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.filing_desk import Desk, make_desk
from tests.pictures import KINDS, save
from tests.processes import wait_for


@dataclass
class Running:
    """A loop, its folders, and the images that somebody was told of."""

    loop: WorkLoop
    desk: Desk
    pipeline: Pipeline
    monitor: Monitor
    housekeeping: Mock
    turns: Turns
    told: list[Path] = field(default_factory=list)

    def told_of(self, count: int, patience: float = 0.05) -> bool:
        """Whether somebody was told of so many images, after one step more."""
        self.loop.step(patience)
        return len(self.told) == count


class Peer:
    """Somebody who has called, and what he was told."""

    def __init__(self, turns: Turns, to: int) -> None:
        self.lines: list[dict[str, object]] = []
        self.call = Call(Request(1, "count", {"to": to}), "en", self)
        turns.add(self.call)

    def put(self, line: bytes) -> None:
        self.lines.append(decode(line[:-1]))

    def has_room(self) -> bool:
        return True


def _counting(to: object) -> Operation:
    assert isinstance(to, int)
    for number in range(to):
        time.sleep(0.01)
        yield {"n": number}
    return {"to": to}


class Hanging:
    """A decoder that never comes to an end with some images, until it is told to, or is at its time limit."""

    def __init__(self, pipeline: Pipeline, pool: ThreadPoolExecutor) -> None:
        self.names: set[str] = set()
        self._release = threading.Event()
        self._submit = pipeline.decoders.submit
        self._pool = pool

    def submit(self, task: Task) -> Future[Decoded]:
        decoded = self._submit(task)
        if task.path.name not in self.names:
            return decoded
        return self._pool.submit(lambda: (self._release.wait(300), decoded.result())[1])

    def end(self) -> None:
        self._release.set()


@pytest.fixture
def running(
    publish: Publish, store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    """One that is told to stop as soon as the first image was filed."""
    desk = make_desk(tmp_path)
    publish(tmp_path / "checkpoints" / "run")
    settings = config.load({"output": desk.output, "checkpoint": tmp_path / "checkpoints", "batch_size": 4})
    reloader = Reloader.from_settings(settings, store)
    classifier = reloader.first()
    pipeline = Pipeline(
        classifier, Filer(desk.output, journal=desk.journal()), PipelineSettings.from_settings(settings), threads=1
    )
    watcher = InboxWatcher([desk.inbox], settle_seconds=0.01)
    tally = Tally(desk.output, classifier, lambda: pipeline.threshold)
    monitor = Monitor(Notifier.from_environment(), tally)
    housekeeping = Mock()
    configuration = Configuration(settings, lambda: settings)
    turns = Turns(lambda call: Work(_counting(call.request.params["to"]), between_steps=False), watcher.wake)
    loop = WorkLoop(watcher, pipeline, reloader, monitor, configuration, housekeeping, turns)
    made = Running(loop, desk, pipeline, monitor, housekeeping, turns)

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
    save(KINDS[0], 1, running.desk.inbox / "a.png")
    wait_for(lambda: running.loop.step(0.05), "an image")
    assert running.housekeeping.turn.call_args.kwargs == {"idle": False}


def test_a_single_pass_told_to_stop_counts_what_stays(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what it was not handed yet."""
    monkeypatch.setattr("daemon.loop.MOST_AT_ONCE", 8)
    for seed in range(20):
        save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed:02}.png")
    assert running.loop.run_once() == len(list(running.desk.inbox.iterdir())) == 20 - len(running.told) > 0


def test_a_single_pass_leaves_behind_what_was_refused(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an image whose sidecar is not XMP: it has no tag, and a script should hear of it."""
    path = save(KINDS[0], 1, running.desk.inbox / "a.png")
    monkeypatch.setattr(running.loop, "stop", lambda: None)
    refused = Outcome(path=path, status=Status.REFUSED, detail="it is not XML")
    monkeypatch.setattr(Pipeline, "process", lambda *_: iter([refused]))
    assert running.loop.run_once() == 1


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


@pytest.fixture
def hanging(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """A loop that nobody stops, and whose decoders may hang."""
    monkeypatch.setattr("daemon.pipeline.MOST_WAIT", 0.05)
    monkeypatch.setattr(running.loop, "stop", lambda: None)
    with ThreadPoolExecutor(2) as pool:
        made = Hanging(running.pipeline, pool)
        monkeypatch.setattr(running.pipeline.decoders, "submit", made.submit)
        yield made
        made.end()


def test_while_one_image_takes_long_those_that_come_later_are_filed(running: Running, hanging: Hanging) -> None:
    """It occupies its decoder, and nothing else."""
    hanging.names = {"slow0.png", "slow1.png"}
    inbox = running.desk.inbox
    first = {save(KINDS[0], seed, inbox / f"{name}.png") for seed, name in enumerate(["slow0", "slow1", "a", "b"])}
    wait_for(lambda: running.told_of(2), "the others of the first handful")
    second = {save(KINDS[1], seed, inbox / f"second{seed}.png") for seed in range(10, 16)}
    wait_for(lambda: running.told_of(8), "the second handful")
    slow = {path for path in first if path.name in hanging.names}
    assert set(running.told) == (first | second) - slow
    assert set(running.pipeline.pending) == slow
    hanging.end()
    wait_for(lambda: running.told_of(10, patience=60), "the slow ones, by being woken")
    assert set(running.told) == first | second
    assert list(inbox.iterdir()) == running.pipeline.pending == []


def test_a_single_pass_waits_for_an_image_that_takes_long_only_at_its_end(
    running: Running, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.loop.MOST_AT_ONCE", 4)
    hanging.names = {"00.png"}
    paths = [save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed:02}.png") for seed in range(20)]
    outcome = running.monitor.outcome

    def told(each: Outcome) -> None:
        outcome(each)
        if len(running.told) == 19:
            hanging.end()

    monkeypatch.setattr(running.monitor, "outcome", told)
    assert running.loop.run_once() == 0
    assert sorted(running.told) == paths
    assert running.told[-1] == paths[0]


def test_while_a_large_file_is_copied_the_watchdog_hears_that_it_gets_on(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[object] = []
    monkeypatch.setattr(running.monitor, "stepped", alive.append)

    def copying(*_: object) -> None:
        source = running.desk.inbox / "film.mov"
        source.write_bytes(bytes(4 << 20))
        folder = os.open(running.desk.inbox, os.O_RDONLY)
        sha256_of(FileAt(folder, source.name))
        os.close(folder)
        running.loop.stop()

    monkeypatch.setattr(running.loop, "step", copying)
    running.loop.run()
    assert len(alive) == 4


def test_a_command_wakes_an_idle_loop_and_is_answered_at_once(running: Running) -> None:
    running.loop.step(0.05)
    timer = threading.Timer(0.1, Peer, [running.turns, 1])
    timer.start()
    begun = time.monotonic()
    running.loop.step(600)
    assert time.monotonic() - begun < 300
    timer.join()


def test_an_idle_loop_gives_a_long_command_all_its_time_and_does_not_sleep(running: Running) -> None:
    peer = Peer(running.turns, 20)
    begun = time.monotonic()
    while not peer.call.is_over:
        running.loop.step(600)
    assert time.monotonic() - begun < 300
    assert peer.lines[-1] == {"id": 1, "result": {"to": 20}}
    idle = [call.kwargs["idle"] for call in running.housekeeping.turn.call_args_list]
    assert not any(idle[:-1])  # it comes after commands, and is not forgotten for them
    assert len(idle) > 1


def test_images_are_filed_while_a_long_command_runs(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.loop, "stop", lambda: None)
    peer = Peer(running.turns, 100_000)
    for seed in range(12):
        save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed:02}.png")
    wait_for(lambda: running.told_of(12), "all images")
    assert len(peer.lines) > 1
    assert not peer.call.is_over
    running.turns.close()


def test_a_long_command_goes_on_while_images_come_without_end(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.loop, "stop", lambda: None)
    for seed in range(32):
        save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed:02}.png")
    wait_for(lambda: running.loop.step(0.05) > 0 or running.told, "the first")
    peer = Peer(running.turns, 3)
    for seed in range(32, 64):
        save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed:02}.png")
    steps: list[int] = []
    while not peer.call.is_over:
        steps.append(running.loop.step(0.05))
    assert len(steps) < 60
    wait_for(lambda: running.told_of(64), "all images")


def test_a_long_command_goes_on_between_the_batches_of_one_step(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be many of them."""
    monkeypatch.setattr(running.loop, "stop", lambda: None)
    peer = Peer(running.turns, 100_000)
    answered: list[int] = []  # until the last batch of each step
    monkeypatch.setattr(running.monitor, "batch_ended", lambda: answered.append(len(peer.lines)))
    seeds = itertools.count()

    def goes_on() -> bool:
        for seed in itertools.islice(seeds, 16):
            save(KINDS[seed % 2], seed, running.desk.inbox / f"{seed}.png")
        before = len(peer.lines)
        running.loop.step(0.05)
        return answered[-1] > before

    wait_for(goes_on, "a turn within a step")
    running.turns.close()


def test_told_to_stop_it_leaves_the_rest_of_a_command(running: Running) -> None:
    peer = Peer(running.turns, 1000)
    running.loop.stop()
    running.loop.step(0.05)
    assert len(peer.lines) <= 1
    running.turns.close()
    assert "is stopping" in str(peer.lines[-1]["error"])
