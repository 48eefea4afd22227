"""What a command makes of what a daemon answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.control.client import ControlClient, NoDaemonAnswers, NotAdmitted
from daemon.control.protocol import Refused
from tests.filing_desk import bound_by_modes

_HELLO = b'{"imagesortd":1,"output":"/srv/sorted"}\n'


@contextmanager
def answering(path: Path, *answers: bytes, stays: bool = False) -> Iterator[None]:
    """A daemon that greets with the first answer, and after each line it is sent gives the next one; then it ends."""
    over = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(answers[0])
                lines.readline()
                for answer in answers[1:]:
                    lines.readline()
                    connection.sendall(answer)
                if stays:
                    over.wait(300)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        over.set()
        thread.join()


def test_where_nobody_listens_no_daemon_answers(tmp_path: Path) -> None:
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(left))
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", left, tmp_path / "file", tmp_path / "file" / "s", tmp_path / ("x" * 200)):
        with pytest.raises(NoDaemonAnswers):
            ControlClient(path)


def test_a_daemon_that_ends_at_once_does_not_answer(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b""), pytest.raises(NoDaemonAnswers):
        ControlClient(tmp_path / "s")


def test_one_who_may_not_is_told_how(tmp_path: Path) -> None:
    with answering(tmp_path / "s", _HELLO):
        (tmp_path / "s").chmod(0)
        with bound_by_modes(), pytest.raises(NotAdmitted, match="control_group"):
            ControlClient(tmp_path / "s")
        (tmp_path / "s").chmod(0o600)
        ControlClient(tmp_path / "s").close()


def test_a_daemon_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b"", stays=True), pytest.raises(Refused, match="does not answer") as told:
        ControlClient(tmp_path / "s", patience=0.1)
    assert told.value.exit_code == 1


def test_a_daemon_that_falls_silent_in_a_call_is_not_waited_for(tmp_path: Path) -> None:
    with answering(tmp_path / "s", _HELLO, b'{"id":1}\n', stays=True):
        client = ControlClient(tmp_path / "s", silence=0.1)
        with pytest.raises(Refused, match="does not answer"):
            next(client.call("undo", {}))


def test_a_daemon_that_ends_in_the_middle_is_said(tmp_path: Path) -> None:
    with answering(tmp_path / "s", _HELLO, b'{"id":1,"item":{"n":1}}\n'):
        client = ControlClient(tmp_path / "s")
        calling = client.call("undo", {})
        assert next(calling) == {"n": 1}
        with pytest.raises(Refused, match="ended in the middle") as told:
            next(calling)
        assert told.value.exit_code == 1


@pytest.mark.parametrize(
    "answer", [b"nonsense\n", b"[]\n", b'{"id":2,"result":{}}\n', b'{"id":1,"result":3}\n', b'{"id":1,"item":[]}\n']
)
def test_an_answer_that_makes_no_sense_is_said(tmp_path: Path, answer: bytes) -> None:
    with (
        answering(tmp_path / "s", _HELLO, answer),
        ControlClient(tmp_path / "s") as client,
        pytest.raises(Refused, match="cannot be understood"),
    ):
        next(client.call("undo", {}))


def test_an_error_has_its_exit_code(tmp_path: Path) -> None:
    with (
        answering(tmp_path / "s", _HELLO, b'{"id":1,"error":{"sentence":"no","exit":3}}\n'),
        ControlClient(tmp_path / "s") as client,
        pytest.raises(Refused, match="no") as told,
    ):
        next(client.call("undo", {}))
    assert told.value.exit_code == 3


def test_another_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b'{"imagesortd":0}\n'), pytest.raises(Exception, match="restart the daemon"):
        ControlClient(tmp_path / "s")


def test_closing_a_call_ends_the_connection(tmp_path: Path) -> None:
    with answering(tmp_path / "s", _HELLO, b'{"id":1,"item":{"n":1}}\n', stays=True):
        client = ControlClient(tmp_path / "s")
        calling = client.call("undo", {})
        next(calling)
        calling.close()
        with pytest.raises(OSError, match="closed|descriptor"):
            list(client.call("undo", {}))
