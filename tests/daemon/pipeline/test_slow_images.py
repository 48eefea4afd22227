"""An image that takes long to decode occupies its decoder, and holds up no other."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from daemon.decoding.decoder import Decoded, Task
from daemon.filing.filer import Status
from daemon.pipeline import Pipeline
from tests.pictures import save
from tests.processes import wait_for


def drained(pipeline: Pipeline, paths: list[Path], count: int) -> list[Path]:
    """The first ``count`` images that are filed of those given, and of those that were left before, by name."""
    outcomes = list(pipeline.process(paths))
    while len(outcomes) < count:
        outcomes += pipeline.process([])
    assert {outcome.status for outcome in outcomes} == {Status.FILED}
    return sorted(outcome.path for outcome in outcomes)


@pytest.mark.parametrize("place", [0, 2, 5, 11])
def test_one_that_hangs_holds_up_no_other(
    pipeline: Pipeline, inbox: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """It is decoded only when all the others are filed, wherever in the handful it is."""
    monkeypatch.setattr("daemon.pipeline.MOST_WAIT", 0.05)
    paths = [save("fog", seed, inbox / f"{seed:02}.png") for seed in range(12)]
    submit, filed, others = pipeline.decoders.submit, [], threading.Event()

    def hanging(task: Task) -> Future[Decoded]:
        decoded = submit(task)
        return pool.submit(lambda: (others.wait(300), decoded.result())[1]) if task.path == paths[place] else decoded

    monkeypatch.setattr(pipeline.decoders, "submit", hanging)
    with ThreadPoolExecutor(1) as pool:
        for outcome in pipeline.process(paths):
            filed.append(outcome.path)
            if len(filed) == len(paths) - 1:
                assert paths[place] not in filed
                others.set()
    slow = paths.pop(place)
    assert (sorted(filed[:-1]), filed[-1]) == (paths, slow)


def test_an_image_that_takes_long_may_be_left_to_a_later_call(
    pipeline: Pipeline, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.pipeline.MOST_WAIT", 0.05)
    paths = [save("fog", seed, inbox / f"{seed:02}.png") for seed in range(9)]
    submit, others, told = pipeline.decoders.submit, threading.Event(), threading.Event()

    def hanging(task: Task) -> Future[Decoded]:
        decoded = submit(task)
        return pool.submit(lambda: (others.wait(300), decoded.result())[1]) if task.path == paths[1] else decoded

    monkeypatch.setattr(pipeline.decoders, "submit", hanging)
    pipeline.leave_slow(told.set)
    with ThreadPoolExecutor(1) as pool:
        assert drained(pipeline, paths[:4], 3) == [paths[0], *paths[2:4]]
        assert drained(pipeline, paths[4:], 5) == paths[4:]
        assert pipeline.pending == [paths[1]]
        told.clear()
        others.set()
        assert told.wait(300)
    assert drained(pipeline, [], 1) == [paths[1]]
    assert pipeline.pending == []


def test_an_image_that_was_on_its_way_to_another_model_is_decoded_again(
    pipeline: Pipeline, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looks at larger crops, say."""
    monkeypatch.setattr("daemon.pipeline.MOST_WAIT", 0.05)
    path = save("fog", 1, inbox / "a.png")
    submit, ready, tasks = pipeline.decoders.submit, threading.Event(), []

    def hanging(task: Task) -> Future[Decoded]:
        tasks.append(task)
        decoded = submit(task)
        return decoded if len(tasks) > 1 else pool.submit(lambda: (ready.wait(300), decoded.result())[1])

    monkeypatch.setattr(pipeline.decoders, "submit", hanging)
    pipeline.leave_slow(lambda: None)
    with ThreadPoolExecutor(1) as pool:
        assert list(pipeline.process([path])) == []
        newer = Mock(wraps=pipeline.classifier, metadata=pipeline.classifier.metadata, digest="0" * 64)
        newer.transforms = tuple(replace(each, resize=each.resize + 1) for each in pipeline.classifier.transforms)
        pipeline.classifier = newer
        ready.set()
    assert drained(pipeline, [], 1) == [path]
    assert [task.transforms for task in tasks[1:]] == [newer.transforms] != [tasks[0].transforms]


def test_an_image_that_takes_long_is_waited_for_or_given_up(
    pipeline: Pipeline, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.pipeline.MOST_WAIT", 0.05)
    wait_for(lambda: len(pipeline.decoders.pids()) == 3, "the decoders started")
    decoders = pipeline.decoders.pids()[1:]
    path = save("fog", 1, inbox / "a.png")
    for pid in decoders:
        os.kill(pid, signal.SIGSTOP)
    assert list(pipeline.process([path], stopping=lambda: True)) == []
    assert path.is_file()
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            for pid in decoders:
                os.kill(pid, signal.SIGCONT)
        return False

    assert [outcome.status for outcome in pipeline.process([path], stopping=stopping)] == [Status.FILED]
    assert asked >= 3
