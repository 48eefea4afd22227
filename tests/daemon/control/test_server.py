"""Calls through the control socket, line by line, and what is answered."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.control.client import ControlClient
from daemon.control.protocol import LONGEST_LINE
from tests.daemon.control.desk import GREETING, ControlDesk, control_desk
from tests.processes import wait_for


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
