"""What the server costs, and what it does when it runs out of something or has a fault."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from daemon.control import server
from models.errors import UserError
from tests.daemon.control.desk import ControlDesk
from tests.processes import opened, wait_for


def test_descriptors_stay_as_they_were(desk: ControlDesk) -> None:
    desk.call("status")
    before = opened()
    for _ in range(50):
        with ExitStack() as closing:
            for _ in range(20):
                with suppress(ConnectionError):
                    closing.enter_context(desk.raw()).send(b"x\n" * 3)
    desk.call("status")
    wait_for(lambda: len(opened()) <= len(before), "all are closed")


def test_without_descriptors_it_waits_until_there_are_some(desk: ControlDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [3]
    accept = socket.socket.accept

    def out_of_them(listening: socket.socket) -> tuple[socket.socket, object]:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", out_of_them)
    monkeypatch.setattr(server, "PAUSE", 0.01)
    assert desk.call("status")[1] == {"waiting": 3}
    assert left == [0]


def test_a_fault_of_its_own_costs_the_connections_and_no_more(
    desk: ControlDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PAUSE", 0.01)
    with desk.raw() as raw:
        raw.greet()
        with monkeypatch.context() as broken:
            broken.setattr("daemon.control.peers.Peer.receive", lambda _: 1 / 0)
            raw.send(b"x\n")
            with suppress(ConnectionError):
                assert raw.read() is None
    assert desk.call("status")[1] == {"waiting": 3}


def test_it_does_not_wake_up_while_nobody_speaks(desk: ControlDesk) -> None:
    desk.call("status")
    counts = [_wakeups()]
    for _ in range(30):  # on a busy machine it may be some time before it is back to waiting
        time.sleep(0.5)
        counts.append(_wakeups())
        if counts[-1] == counts[-2]:
            return
    pytest.fail(f"it wakes up again and again: {counts}")


def _wakeups() -> int:
    """How many times the server's thread has waited so far."""
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "control"]
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@pytest.mark.slow
def test_a_flood_of_connections_takes_a_fifth_of_a_core_at_most(desk: ControlDesk) -> None:
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            with suppress(OSError), desk.raw() as raw:
                raw.send(b"x\n")

    floods = [threading.Thread(target=flood) for _ in range(4)]
    for thread in floods:
        thread.start()
    before = _thread_seconds("control")
    time.sleep(5)
    used = _thread_seconds("control") - before
    over.set()
    for thread in floods:
        thread.join()
    assert used < 5 * 0.3
    with suppress(UserError):
        desk.call("status")


def _thread_seconds(name: str) -> float:
    threads = [thread for thread in threading.enumerate() if thread.name == name]
    ticks = 0
    for thread in threads:
        stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
        ticks += sum(map(int, stat.rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
