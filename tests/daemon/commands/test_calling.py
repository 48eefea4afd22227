"""Which daemon a command speaks to, and what it says where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon import config
from daemon import state as places
from daemon.commands import reload, rescan
from daemon.commands.calling import NoDaemon, find_daemon, find_only_daemon, running_daemon
from daemon.commands.filters import FiledOutput
from daemon.config import Settings
from daemon.control import protocol
from daemon.control.calls import Call
from daemon.control.listening import Listener
from daemon.control.server import ControlServer
from daemon.state import control_path, lock
from models.errors import UserError
from models.text.commandline import run as complain
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save
from tests.processes import daemon, environment, run, wait_for


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "SYSTEM_STATE", tmp_path / "system")
    monkeypatch.setattr(places, "SYSTEM_RUNTIME", tmp_path / "run")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


@contextmanager
def serving(path: Path, output: Path, version: int = protocol.VERSION, group: str = "") -> Iterator[None]:
    """A daemon that answers every call with its output."""

    def begin(call: Call) -> None:
        call.result({"output": str(output)})

    listener = Listener(path, group)
    hello = {"imagesortd": version, "output": str(output)}
    server = ControlServer(listener.socket, hello, begin, group=listener.group)
    server.start()
    yield
    server.close()
    listener.close()


def settings(output: str = "sorted", **more: object) -> Settings:
    return config.load({"output": output, **more})


def answered(output: str = "sorted", **more: object) -> object:
    client = find_daemon(settings(output, **more))
    if client is None:
        return None
    with client:
        return client.ask("any")["output"]


def test_one_without_systemd_is_found_by_its_state_folder(tmp_path: Path) -> None:
    path = control_path(tmp_path / "state", tmp_path / "sorted")
    assert path.parent.parent == tmp_path / "state"
    assert answered(state_dir="state") is None
    with serving(path, tmp_path / "sorted"):
        assert answered(state_dir="state") == str(tmp_path / "sorted")
        assert answered() is None


@pytest.mark.parametrize("instance", ["imagesortd", "imagesortd-b"])
def test_the_machines_service_is_found_without_its_state_folder(tmp_path: Path, instance: str) -> None:
    with serving(tmp_path / "run" / instance / "control.sock", tmp_path / "sorted"):
        assert answered() == answered(state_dir="state") == str(tmp_path / "sorted")
        assert answered("other") is None


def test_of_several_services_the_one_with_that_output_is_asked(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "run" / "imagesortd" / "control.sock", tmp_path / "sorted"),
        serving(tmp_path / "run" / "imagesortd-b" / "control.sock", tmp_path / "other"),
    ):
        assert answered("other") == str(tmp_path / "other")
        assert answered() == str(tmp_path / "sorted")
        with pytest.raises(UserError, match="several daemons run here"):
            find_only_daemon(settings("third"))


def test_another_daemon_is_not_asked_in_the_place_of_the_one_that_filed_here(tmp_path: Path) -> None:
    with serving(tmp_path / "run" / "imagesortd" / "control.sock", tmp_path / "other"):
        with running_daemon(settings(), named=False) as client:
            assert client.output == tmp_path / "other", "the only one there is"
        journal = places.journal_path(places.state_folder(None), tmp_path / "sorted")
        journal.parent.mkdir(parents=True)
        journal.touch()
        with pytest.raises(NoDaemon, match="sorted answers: start one"):
            running_daemon(settings(), named=False)


def test_a_service_of_ones_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("own", f"run/user/{os.geteuid()}"):
        with serving(tmp_path / folder / "imagesortd" / "control.sock", tmp_path / "sorted"):
            if folder == "own":
                assert answered() is None
                monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
            assert answered() == str(tmp_path / "sorted")


def test_in_a_unit_the_socket_is_in_its_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/first:{tmp_path}/second")
    assert control_path(tmp_path / "state", tmp_path / "sorted") == tmp_path / "first" / "control.sock"
    with serving(tmp_path / "first" / "control.sock", tmp_path / "sorted"):  # a command of on_filed
        assert answered() == str(tmp_path / "sorted")


def test_where_the_name_of_the_output_is_long_the_path_is_still_short_enough(tmp_path: Path) -> None:
    output = tmp_path / ("가족사진 정리된 폴더" * 4)
    path = control_path(tmp_path / "state", output)
    assert len(os.fsencode(path)) <= places.LONGEST_SOCKET_PATH < len(os.fsencode(output))
    with serving(path, output):
        assert answered(str(output), state_dir="state") == str(output)


def test_another_version_is_said_where_it_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "run" / "imagesortd").mkdir(parents=True)
    with serving(tmp_path / "run" / "imagesortd" / "control.sock", tmp_path / "sorted", protocol.VERSION - 1):
        with pytest.raises(UserError, match="older version than this command: restart the daemon"):
            find_daemon(settings())
        journal = places.journal_path(tmp_path / "home" / "imagesortd", tmp_path / "sorted")
        journal.parent.mkdir(parents=True)
        journal.touch()
        assert find_daemon(settings()) is None  # this user's own, and nobody is at work on it


def test_where_none_answers_it_is_said_with_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (rescan, reload):
        assert complain(command.main, ["--state-dir", "state"]) == 3
        assert "start one, or give the --output" in capsys.readouterr().err
    with (
        lock(tmp_path / "state", [tmp_path / "sorted"]),
        pytest.raises(NoDaemon, match="but does not answer: ask again in a moment"),
    ):
        running_daemon(settings(state_dir="state"), named=True)


def test_a_real_daemon_is_asked_told_to_look_and_to_read_its_settings(tmp_path: Path, publish: Publish) -> None:
    publish(tmp_path / "checkpoints" / "run")
    settings = tmp_path / "config.toml"
    settings.write_text("rescan_seconds = 86400\nthreshold = 0.25\n")
    with daemon(tmp_path, "--state-dir", "state") as running:
        (path,) = (tmp_path / "state").glob("*/control.sock")
        assert path.stat().st_mode & 0o777 == 0o600
        answer = _json(tmp_path, "status")
        assert (answer["running"], answer["pid"]) == (True, running.process.pid)

        settings.write_text("rescan_seconds = 86400\nthreshold = 0.5\nbatch_size = 8\nsettle_seconds = 1\n")
        assert _json(tmp_path, "reload") == {"taken": ["batch_size", "threshold"], "need_restart": ["settle_seconds"]}
        assert _json(tmp_path, "status")["threshold"]["value"] == 0.5
        settings.write_text("threshold = 7\n")
        done = run("daemon", "reload", "--state-dir", "state", "--config", "/dev/null", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "the settings in use stay: threshold in" in done.stderr
        assert _json(tmp_path, "rescan", "--config", "/dev/null")["inboxes"][0]["missing"] is None

        save(KINDS[0], 1, tmp_path / "inbox" / "image.png")
        running.wait_until_said("image.png ->")
        assert running.terminate() == 0
        assert not path.exists()
    assert run("daemon", "rescan", "--state-dir", "state", "--config", "/dev/null", cwd=tmp_path).returncode == 3


def test_a_daemon_that_was_killed_leaves_a_socket_that_the_next_one_replaces(tmp_path: Path, publish: Publish) -> None:
    publish(tmp_path / "checkpoints" / "run")
    with daemon(tmp_path, "--state-dir", "state") as running:
        wait_for(lambda: list((tmp_path / "state").glob("*/status.json")), "its status")
        running.process.kill()
        running.process.wait()
        (path,) = (tmp_path / "state").glob("*/control.sock")
    done = run("daemon", "status", "--state-dir", "state", "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["running"]) == (3, False)
    with daemon(tmp_path, "--state-dir", "state") as again:
        wait_for(lambda: run("daemon", "status", "--state-dir", "state", cwd=tmp_path).returncode == 0, "it answers")
        assert again.terminate() == 0
    assert not path.exists()


def test_a_single_pass_and_a_dry_run_have_no_socket(tmp_path: Path, publish: Publish) -> None:
    publish(tmp_path / "checkpoints" / "run")
    assert run("daemon", "--once", "--state-dir", "state", cwd=tmp_path).returncode == 0
    with daemon(tmp_path, "--state-dir", "state", "--dry-run"):
        assert not list((tmp_path / "state").rglob("*.sock"))


def _json(folder: Path, command: str, *options: str) -> Any:
    done = run("daemon", command, "--json", "--state-dir", "state", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def filed_output(**more: bool) -> FiledOutput:
    return FiledOutput(Namespace(output="sorted", state_dir=None, config=None), **more)


def test_the_journal_of_the_machines_service_is_found_without_its_state_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no journal of filings into"):
        filed_output()
    by_daemon = filed_output(by_daemon=True)
    with pytest.raises(UserError, match="there is no journal of filings into"):
        by_daemon.require_journal()
    journal = places.journal_path(tmp_path / "system", tmp_path / "sorted")
    journal.parent.mkdir(parents=True)
    journal.touch()
    assert (filed_output().journal, filed_output().state) == (journal, tmp_path / "system")
    own = places.journal_path(tmp_path / "home" / "imagesortd", tmp_path / "sorted")
    own.parent.mkdir(parents=True)
    own.touch()
    assert filed_output().journal == own


_AS_ANOTHER = """
import os, sys
from pathlib import Path
from daemon import config, state
from daemon.commands.calling import find_daemon
import daemon.control.client
from models.errors import UserError
state.SYSTEM_STATE = Path("system")
state.SYSTEM_RUNTIME = Path("run")
settings = config.load({"output": "sorted", "state_dir": "state"})
os.setgroups([int(sys.argv[1])])
os.setgid(1234)
os.setuid(1234)
try:
    with find_daemon(settings) as client:
        print(client.ask("any")["output"])
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
def test_a_member_of_the_group_is_answered_and_a_stranger_is_told_how_to_be(public_folder: Path) -> None:
    (public_folder / "sorted").mkdir()

    def asked_in(group: int) -> str:
        command = [sys.executable, "-c", _AS_ANOTHER, str(group)]
        return subprocess.run(
            command, cwd=public_folder, env=environment(), capture_output=True, text=True, check=True
        ).stdout.strip()

    path = control_path(public_folder / "state", public_folder / "sorted")
    with (
        lock(public_folder / "state", [public_folder / "sorted"]),
        serving(path, public_folder / "sorted", group="54321"),
    ):
        path.with_name("journal.sqlite").touch(0o644)
        assert asked_in(54321) == str(public_folder / "sorted")
        assert f"the daemon's control socket {path} is not for this user" in asked_in(54322)
        assert "have control_group set to a group of this user" in asked_in(54322)
