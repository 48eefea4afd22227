"""What `doctor` says of the control socket."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon import config
from daemon import state as places
from daemon.commands.control_probes import control_findings
from daemon.config import Settings
from daemon.control.listening import Listener
from daemon.control.protocol import greeting
from daemon.control.server import ControlServer
from daemon.state import control_path, lock


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SYSTEM_STATE", tmp_path / "system")
    monkeypatch.setattr(places, "SYSTEM_RUNTIME", tmp_path / "run")


def settings(**more: object) -> Settings:
    return config.load({"output": "sorted", "state_dir": "state", **more})


def findings(settings: Settings) -> list[tuple[str, str]]:
    return [(finding.state, finding.text) for finding in control_findings(settings)]


@contextmanager
def serving(tmp_path: Path, group: str = "") -> Iterator[Path]:
    path = control_path(tmp_path / "state", tmp_path / "sorted")
    listener = Listener(path, group)
    server = ControlServer(listener.socket, greeting(output=str(tmp_path / "sorted")), lambda call: call.result({}))
    server.start()
    yield path
    server.close()
    listener.close()


def test_without_a_daemon_it_says_where_the_socket_will_be(tmp_path: Path) -> None:
    ((state, text),) = findings(settings())
    assert state == "note"
    assert str(control_path(tmp_path / "state", tmp_path / "sorted")) in text


def test_a_path_that_is_too_long_is_wrong(tmp_path: Path) -> None:
    ((state, text),) = findings(settings(state_dir=tmp_path / ("x" * 120)))
    assert state == "wrong"
    assert "longer than 107 bytes" in text


def test_a_daemon_that_answers_is_fine_and_who_may_use_it_is_said(tmp_path: Path) -> None:
    with serving(tmp_path) as path:
        answers, users = findings(settings())
    assert answers == ("fine", f"the daemon answers at {path}")
    assert users[0] == "fine"
    assert "root may use it" in users[1]


def test_a_daemon_that_is_there_and_does_not_answer_is_wrong(tmp_path: Path) -> None:
    with lock(tmp_path / "state", [tmp_path / "sorted"]):
        ((state, text),) = findings(settings())
    assert (state, text) == ("wrong", f"a daemon files into {tmp_path / 'sorted'}, but commands cannot speak to it")


def test_a_group_that_is_not_there_is_wrong() -> None:
    first, _ = findings(settings(control_group="no-such-group"))
    assert first == ("wrong", "control_group: there is no group no-such-group")


def test_a_group_that_cannot_use_the_socket_is_told_why(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    shared = settings(control_group=group)
    with serving(tmp_path):
        assert findings(shared)[-1][1].startswith(f"the group {group} may not use the socket")
    with serving(tmp_path, group) as path:
        path.parent.chmod(0o700)
        assert f"the group {group} cannot enter" in findings(shared)[-1][1]
        for folder in path.parents:
            if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o011)
        assert findings(shared)[-1][0] == "fine"
