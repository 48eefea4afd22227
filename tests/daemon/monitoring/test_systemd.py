"""sd_notify: the datagrams systemd gets, on real sockets and from a real daemon."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.files.source import Identity
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from daemon.monitoring.systemd import Notifier
from daemon.state import journal_path, lock
from tests.processes import PATIENCE, Daemon, daemon


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """systemd's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind("\0" + address[1:] if address.startswith("@") else address)
        ours.settimeout(PATIENCE)
        yield ours


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify.sock") if request.param == "path" else f"@imagesortd-test-{os.getpid()}"


def received(ours: socket.socket) -> list[str]:
    """What has come so far."""
    ours.settimeout(0.0)
    messages = []
    while True:
        try:
            messages.append(ours.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_the_messages_are_those_of_sd_notify(address: str) -> None:
    with listening(address) as ours:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
        notifier.status("loading\nthe model")
        notifier.ready()
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        notifier.stopping()
        status, ready, reloading, stopping = received(ours)
        notifier.close()
    assert (status, ready, stopping) == ("STATUS=loading the model", "READY=1", "STOPPING=1")
    first, second = reloading.splitlines()
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_same_status_is_sent_once(address: str) -> None:
    with listening(address) as ours:
        notifier = Notifier(address)
        for sentence in ("a", "a", "b", "a"):
            notifier.status(sentence)
        assert received(ours) == ["STATUS=a", "STATUS=b", "STATUS=a"]
        notifier.close()


def test_a_sign_of_life_is_given_four_times_an_interval_at_most(address: str) -> None:
    now = 100.0
    with listening(address) as ours:
        notifier = Notifier(address, 20.0, clock=lambda: now)
        for step in range(41):
            now = 100.0 + step / 4
            notifier.alive()
        assert received(ours) == ["WATCHDOG=1"] * 3
        notifier.close()


def test_without_a_socket_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    notifier.ready()
    notifier.alive()
    assert notifier.sign_seconds is None
    assert Notifier.from_environment({"NOTIFY_SOCKET": "relative"}).sign_seconds is None


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    notifier = Notifier.from_environment(environment)
    assert environment == {"A": "b"}
    assert notifier.watchdog_seconds == 1.0
    notifier.close()


@pytest.mark.parametrize(
    "variables",
    [{"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, {}],
    ids=str,
)
def test_a_watchdog_that_is_not_ours_is_left_alone(variables: dict[str, str]) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "/nowhere", **variables})
    assert notifier.watchdog_seconds is None
    notifier.close()


def test_a_socket_that_went_away_is_complained_of_once(tmp_path: Path, logged: list[str]) -> None:
    notifier = Notifier(str(tmp_path / "gone.sock"), 1.0)
    notifier.ready()
    notifier.stopping()
    notifier.close()
    assert len(logged) == 1
    assert "cannot notify systemd" in logged[0]


class Systemd:
    """The far end, remembering everything."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self.said: list[str] = []

    def next(self, beginning: str) -> str:
        """The next message that begins so; those before it are passed over."""
        while True:
            message = self._socket.recv(4096).decode()
            self.said.append(message)
            if message.startswith(beginning):
                return message


def test_a_daemon_tells_of_start_watchdog_reload_and_stop(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("threshold = 0.5\n")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with listening(address) as ours, daemon(tmp_path) as running:
        systemd = Systemd(ours)
        systemd.next("READY=1")
        assert "watching " in running.log()  # the watch was armed, and the model loaded, before
        assert systemd.said[0] == "STATUS=loading the model"
        assert not [message for message in systemd.said if message.startswith("WATCHDOG")]
        for _ in range(3):
            systemd.next("WATCHDOG=1")

        config.write_text('threshold = 2.0\nothers_dir = "unsure"\n')
        reload(running, systemd)
        running.wait_until_said("the settings in use stay: threshold in config.toml is 2.0")

        config.write_text('threshold = 0.25\noutput = "elsewhere"\n')
        reload(running, systemd)
        running.wait_until_said("took over new settings: threshold")
        running.wait_until_said("these new settings need a restart: output")
        systemd.next("WATCHDOG=1")

        assert running.terminate() == 0
        systemd.next("STOPPING=1")


def reload(running: Daemon, systemd: Systemd) -> None:
    running.process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in systemd.next("RELOADING=1")
    systemd.next("READY=1")


def test_a_stopped_loop_gives_no_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What feeds the watchdog is the loop: hold it up by a settings file that takes for ever to read."""
    address = str(tmp_path / "notify.sock")
    config = tmp_path / "config.toml"
    config.touch()
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with listening(address) as ours, daemon(tmp_path, "--config", "config.toml") as running:
        systemd = Systemd(ours)
        systemd.next("WATCHDOG=1")
        config.unlink()
        os.mkfifo(config)
        running.process.send_signal(signal.SIGHUP)
        systemd.next("RELOADING=1")
        ours.settimeout(1.0)
        with pytest.raises(TimeoutError):
            systemd.next("WATCHDOG=1")


def test_a_service_waits_for_whoever_is_at_work_on_its_folders(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: object
) -> None:
    """Were it to end, systemd would give up starting it in the end."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    held = lock(tmp_path / "elsewhere", [inbox])
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address) as ours:
        running = Daemon(tmp_path, [])
        try:
            systemd = Systemd(ours)
            assert systemd.next("STATUS=") == f"STATUS=not started yet: another daemon is at work on {inbox}: {_STOP}"
            assert int(systemd.next("EXTEND_TIMEOUT_USEC=").partition("=")[2]) > 5e6
            held.close()
            systemd.next("READY=1")
            assert running.log().count("not started yet: another daemon") == 1
        finally:
            running.terminate()


def test_a_start_that_reads_what_a_crash_left_half_done_tells_that_it_gets_on(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: object
) -> None:
    """A large file may take longer than systemd waits for a start, and would be read again and again for ever."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("IMAGESORTD_STATE_DIR", str(tmp_path / "state"))
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"
    inbox.mkdir()
    film = inbox / "cat.mov"
    film.write_bytes(b"film")
    journal = Journal(journal_path(tmp_path / "state", output))
    identity = Identity.from_stat(film.stat())
    row = Filing(state=State.INTENT, action="move", source=film, identity=identity, folder=output, filed_name=film.name)
    journal.write([row])
    journal.close()
    with listening(address) as ours, daemon(tmp_path) as running:
        systemd = Systemd(ours)
        assert int(systemd.next("EXTEND_TIMEOUT_USEC=").partition("=")[2]) > 60e6
        systemd.next("READY=1")
        assert "recovered from an interrupted run" in running.log()


def test_a_start_that_takes_long_tells_so_now_and_then(address: str) -> None:
    now = [0.0]
    with listening(address) as ours:
        notifier = Notifier(address, clock=lambda: now[0])
        for _ in range(100):
            notifier.gets_on()
            now[0] += 0.1
        assert len(received(ours)) == 2
        notifier.close()


_STOP = "stop it first, or give another folder"
