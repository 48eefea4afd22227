"""Peers that are silent, slow, gone or too many: each is waited for so long, and holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from daemon.control import server
from daemon.control.client import ControlClient
from daemon.control.protocol import Busy, Refused
from daemon.operations.desk import Operation
from tests.daemon.control.desk import ControlDesk, control_desk
from tests.processes import wait_for


def test_half_a_line_is_waited_for_so_long_and_no_longer(tmp_path: Path) -> None:
    with control_desk(tmp_path, patience=0.3) as desk, desk.raw() as silent, desk.raw() as half:
        half.greet().send(b'{"id":1,')
        silent.read()
        assert "nothing was sent" in silent.last_sentence()
        assert "nothing was sent" in half.last_sentence()


def test_who_waits_for_an_answer_is_not_dropped(tmp_path: Path) -> None:
    go = threading.Event()

    def slow(params: Mapping[str, object]) -> Operation:
        go.wait(300)
        yield from ()
        return {}

    with control_desk(tmp_path, {"slow": slow}, patience=0.2) as desk, desk.raw() as raw:
        raw.greet().send({"id": 1, "method": "slow"})
        time.sleep(0.6)
        go.set()
        assert raw.read() == {"id": 1, "result": {}}


def test_who_does_not_read_holds_up_nobody_and_costs_little_memory(tmp_path: Path) -> None:
    closed = threading.Event()
    made = []

    def endless(params: Mapping[str, object]) -> Operation:
        try:
            for number in range(1_000_000):
                made.append(number)
                yield {"text": "x" * 1000}
        finally:
            closed.set()
        return {}

    with control_desk(tmp_path, {"endless": endless}, patience=0.5) as desk, desk.raw() as raw:
        raw.greet().send({"id": 1, "method": "endless"})
        wait_for(lambda: made, "an item")
        assert desk.call("count", n=100)[1] == {"count": 100}
        assert closed.wait(300)  # it was given up
        assert len(made) < 2000


def test_who_reads_slowly_gets_everything(desk: ControlDesk) -> None:
    with desk.raw() as raw:
        raw.greet().send({"id": 1, "method": "count", "params": {"n": 2000, "size": 1000}})
        numbers = []
        while (line := raw.read()) is not None and "item" in line:
            numbers.append(line["item"]["number"])
            if len(numbers) % 500 == 0:
                time.sleep(0.05)
        assert numbers == list(range(2000))


def test_who_goes_away_ends_the_operation(tmp_path: Path) -> None:
    closed = threading.Event()
    begun = threading.Event()

    def endless(params: Mapping[str, object]) -> Operation:
        try:
            while True:
                begun.set()
                yield {"n": 1}
                time.sleep(0.001)
        finally:
            closed.set()

    with control_desk(tmp_path, {"endless": endless}) as desk:
        with desk.raw() as raw:
            raw.greet().send({"id": 1, "method": "endless"})
            assert begun.wait(300)
        assert closed.wait(300)
        assert desk.call("status")[1] == {"waiting": 3}


def test_where_the_work_loop_is_stuck_nobody_waits(tmp_path: Path) -> None:
    with control_desk(tmp_path, serves=False) as desk, desk.raw() as raw:
        raw.greet().send({"id": 1, "method": "count"})
        desk.stuck = "inbox 'x' has not answered"
        line = raw.read()
        assert line is not None
        assert (line["error"]["sentence"], line["error"]["exit"]) == ("inbox 'x' has not answered", 1)
        assert desk.call("status")[1] == {"waiting": 3}
        with pytest.raises(Refused, match="has not answered"):
            desk.call("count")


def test_the_seventeenth_peer_is_told_to_come_again(desk: ControlDesk) -> None:
    with ExitStack() as closing:
        for _ in range(server.MOST_PEERS):
            closing.enter_context(desk.raw()).read()
        with desk.raw() as raw:
            line = raw.read()
            assert line is not None
            assert line["error"]["busy"] is True
        with pytest.raises(Busy):
            ControlClient(desk.path, patience=0.2)
    assert desk.call("status")[1] == {"waiting": 3}


def test_a_command_comes_through_where_others_only_sit_there(desk: ControlDesk) -> None:
    with ExitStack() as closing:
        sitting = [closing.enter_context(desk.raw()) for _ in range(100)]
        assert desk.call("count", n=1)[1] == {"count": 1}
        assert sum(raw.read() is not None for raw in sitting) == 100
        assert "try again in a moment" in sitting[0].last_sentence(), "it has been idle for longest"
