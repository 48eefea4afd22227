"""The control socket, and peers of every kind."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.control import server
from daemon.control.client import ControlClient
from daemon.control.protocol import LONGEST_LINE, Busy, Refused
from daemon.control.turns import Operation
from models.errors import UserError
from tests.daemon.control.desk import GREETING, ControlDesk, control_desk
from tests.processes import opened, wait_for


def test_a_method_is_called_and_answered(desk: ControlDesk) -> None:
    assert desk.call("count", n=2) == (
        [{"number": 0, "text": "x"}, {"number": 1, "text": "x"}],
        {"count": 2},
    )


def test_one_connection_serves_several_calls(desk: ControlDesk) -> None:
    with ControlClient(desk.path) as client:
        for _ in range(3):
            assert len(list(client.call("count", {"n": 5}))) == 5


@pytest.mark.parametrize(
    ("method", "params", "sentence"),
    [
        ("nonsense", {}, "has no method 'nonsense'"),
        ("count", {"n": "many"}, "takes no parameters"),
        ("status", {"n": 1}, "takes no parameters"),
        ("rescan", {"n": 1}, "takes no parameters"),
    ],
)
def test_a_wrong_call_is_answered_with_a_sentence_and_the_connection_goes_on(
    desk: ControlDesk, method: str, params: dict[str, object], sentence: str
) -> None:
    with desk.raw() as raw:
        raw.greet().send({"id": 1, "method": method, "params": params})
        line = raw.read()
        assert line is not None
        assert line["id"] == 1
        assert sentence in line["error"]["sentence"]
        assert line["error"]["exit"] == 2
        raw.send({"id": 2, "method": "status"})
        assert raw.read() == {"id": 2, "result": {"waiting": 3}}


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"[" * 5000 + b"\n",
        b'{"imagesortd":"1"}\n',
        b'{"imagesortd":true}\n',
        b'{"imagesortd":2}\n',
        b'{"imagesortd":0}\n',
        b'{"id":1,"method":"count"}\n',
    ],
)
def test_who_does_not_greet_is_told_once_and_dropped(desk: ControlDesk, line: bytes) -> None:
    with desk.raw() as raw:
        raw.read()
        raw.send(line)
        assert raw.last_sentence()
    assert desk.call("count", n=1)[1] == {"count": 1}


@pytest.mark.parametrize(
    "line", [b"x\n", b'{"id":1}\n', b'{"id":[],"method":"count"}\n', b'{"id":1,"method":{}}\n', b"[" * 100_000 + b"\n"]
)
def test_who_sends_no_call_is_told_once_and_dropped(desk: ControlDesk, line: bytes) -> None:
    with desk.raw() as raw:
        raw.greet().send(line)
        assert raw.last_sentence()


def test_a_line_may_come_in_pieces_and_lines_together(desk: ControlDesk) -> None:
    with desk.raw() as raw:
        raw.read()
        for byte in json.dumps(GREETING).encode() + b"\n":
            raw.send(bytes([byte]))
        raw.send(b'{"id":1,"method":"count"}\n{"id":2,"method":"status"}\n{"id":3,"method":"count","params":{"n":1}}\n')
        assert [raw.read(), raw.read()] == [{"id": 1, "result": {"count": 0}}, {"id": 2, "result": {"waiting": 3}}]
        assert raw.read() == {"id": 3, "item": {"number": 0, "text": "x"}}
        assert raw.read() == {"id": 3, "result": {"count": 1}}


def test_who_has_sent_all_and_says_so_is_still_answered(desk: ControlDesk) -> None:
    """As ``printf ... | socat - UNIX-CONNECT:...`` does."""
    with desk.raw() as raw:
        raw.greet().send(b'{"id":1,"method":"count","params":{"n":1}}\n')
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.read() == {"id": 1, "item": {"number": 0, "text": "x"}}
        assert raw.read() == {"id": 1, "result": {"count": 1}}
        assert raw.read() is None


def test_a_line_that_is_too_long_is_not_kept(desk: ControlDesk) -> None:
    with desk.raw() as raw:
        raw.greet()
        with suppress(ConnectionError):
            raw.send(b"x" * (2 * LONGEST_LINE))
        with suppress(ConnectionError):
            assert "longer than" in raw.last_sentence()
    assert desk.call("status")[1] == {"waiting": 3}


def test_a_long_line_is_taken(desk: ControlDesk) -> None:
    with desk.raw() as raw:
        raw.greet().send({"id": 1, "method": "nonsense" + "x" * (LONGEST_LINE - 100)})
        line = raw.read()
        assert line is not None
        assert "error" in line


def test_half_a_line_is_waited_for_so_long_and_no_longer(tmp_path: Path) -> None:
    with control_desk(tmp_path, patience=0.3) as desk, desk.raw() as silent, desk.raw() as half:
        half.greet().send(b'{"id":1,')
        silent.read()
        assert "nothing was sent" in silent.last_sentence()
        assert "nothing was sent" in half.last_sentence()


def test_who_waits_for_an_answer_is_not_dropped(tmp_path: Path) -> None:
    go = threading.Event()

    def slow(params: Mapping[str, object]) -> Operation:
        go.wait(60)
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
        assert closed.wait(60)  # it was given up
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
            assert begun.wait(60)
        assert closed.wait(60)
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


def test_memory_and_descriptors_stay_as_they_were(desk: ControlDesk) -> None:
    desk.call("status")
    before = opened()
    for _ in range(50):
        with ExitStack() as closing:
            for _ in range(20):
                with suppress(ConnectionError):
                    closing.enter_context(desk.raw()).send(b"x\n" * 3)
    desk.call("status")
    wait_for(lambda: len(opened()) <= len(before), "all are closed")


def test_without_descriptors_it_waits_until_there_are_some(
    desk: ControlDesk, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
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
    time.sleep(0.3)
    before = _wakeups()
    time.sleep(0.5)
    assert _wakeups() == before


def _wakeups() -> int:
    """How many times the server's thread has waited so far."""
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "control"]
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_the_answer_is_in_the_language_of_the_command(desk: ControlDesk) -> None:
    with desk.raw() as raw:
        raw.read()
        raw.send({**GREETING, "language": "ko"}).send({"id": 1, "method": "nonsense"})
        line = raw.read()
        assert line is not None
        assert "데몬" in line["error"]["sentence"]


def test_at_the_end_who_waits_is_told(tmp_path: Path) -> None:
    with control_desk(tmp_path, serves=False) as desk:
        raw = desk.raw().greet().send({"id": 1, "method": "count"})
        wait_for(lambda: desk.turns.is_due, "the call")
    line = raw.read()
    assert line is not None
    assert "is stopping" in line["error"]["sentence"]
    assert raw.read() is None
    raw.close()
    assert not desk.path.exists()


_LINES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=50).map(lambda text: json.dumps(text).encode()),
    st.fixed_dictionaries(
        {},
        optional={
            "imagesortd": st.integers() | st.none() | st.just(1),
            "language": st.text(max_size=3) | st.integers(),
            "id": st.integers() | st.text(max_size=3) | st.none() | st.lists(st.integers(), max_size=2),
            "method": st.sampled_from(["status", "count", "rescan", "", "\0", "x" * 300]) | st.integers(),
            "params": st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2) | st.none(),
        },
    ).map(lambda message: json.dumps(message).encode()),
    st.integers(1, 2000).map(lambda depth: b'{"id":' + b"[" * depth),
)


def _fuzz(desk: ControlDesk, lines: list[bytes], greets: bool) -> None:
    with desk.raw() as raw, suppress(ConnectionError):
        raw.read()
        if greets:
            raw.send(GREETING)
        for line in lines:
            raw.send(line + b"\n")
        raw.socket.shutdown(socket.SHUT_WR)
        while (answer := raw.read()) is not None:
            assert {"result", "item"} & set(answer) or answer["error"]["sentence"]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlDesk]:
    with control_desk(tmp_path_factory.mktemp("fuzz")) as desk:
        yield desk


@given(lines=st.lists(_LINES, max_size=5), greets=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_sent_each_line_is_answered_or_the_peer_is_dropped(
    fuzzed: ControlDesk, lines: list[bytes], greets: bool
) -> None:
    _fuzz(fuzzed, lines, greets)
    assert fuzzed.call("status")[1] == {"waiting": 3}


@pytest.mark.slow
def test_ten_thousand_fuzzed_lines_leave_nothing_behind(tmp_path: Path) -> None:
    with control_desk(tmp_path) as desk:

        @given(lines=st.lists(_LINES, min_size=10, max_size=10), greets=st.booleans())
        @settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
        def fuzz(lines: list[bytes], greets: bool) -> None:
            _fuzz(desk, lines, greets)

        desk.call("status")
        before, resident = opened(), _resident()
        fuzz()
        assert desk.call("count", n=3)[1] == {"count": 3}
        wait_for(lambda: len(opened()) <= len(before), "all are closed")
        assert _resident() - resident < 64 << 20  # hypothesis keeps some of it


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
