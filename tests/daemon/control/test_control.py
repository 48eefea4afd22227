"""The control socket of a daemon, put together: what it does while folders are away, and at its end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import Mock

import pytest

from daemon.control.client import ControlClient
from daemon.control.control import Control
from daemon.control.protocol import Refused
from daemon.files.output_mark import REMEMBERED, OutputMark
from daemon.operations.desk import Operation
from daemon.watching.presence import PendingCall
from daemon.watching.watcher import InboxStatus, InboxWatcher, WatcherStatus


class Service:
    """A daemon without images, whose work loop is a thread that gives commands all its time."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.output, self.path = folder / "inbox", folder / "sorted", folder / "control.sock"
        self.inbox.mkdir()
        self.output.mkdir()
        self.memory = folder / REMEMBERED
        self.watcher = InboxWatcher([self.inbox])
        self.watcher.start()
        self.monitor = Mock(last_step=None, latest=None)
        self.control = Control(
            self.output, self.watcher, self.monitor, OutputMark(self.output, folder), {"move": self.move}
        )
        self.moved = 0
        self.reloaded: tuple[frozenset[str], frozenset[str], str | None] = (frozenset(), frozenset(), None)
        self._over = threading.Event()
        self._loop = threading.Thread(target=self._work)

    def move(self, params: Mapping[str, object]) -> Operation:
        for number in range(int(str(params.get("n", 1)))):
            self.moved += 1
            yield {"n": number}
        return {"moved": self.moved}

    def start(self, *, works: bool = True) -> None:
        self.control.listen(self.path, "", lambda: self.reloaded)
        if works:
            self._loop.start()

    def _work(self) -> None:
        while not self._over.is_set():
            self.watcher.ready(0.0 if self.control.turns.is_due else 60, 64)
            self.control.turns.run(self._over.is_set, idle=True)

    def stop(self) -> None:
        self._over.set()
        self.watcher.wake()
        if self._loop.is_alive():
            self._loop.join()
        self.control.close()
        self.watcher.stop()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    made.stop()


def called(service: Service, method: str, **params: object) -> list[dict[str, object]]:
    with ControlClient(service.path) as client:
        return list(client.call(method, params))


def test_a_method_that_moves_files_is_carried_out_on_the_work_loop(service: Service) -> None:
    service.start()
    assert called(service, "move", n=3) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_call_of_an_idle_daemon_takes_no_tick_of_its_loop(service: Service) -> None:
    service.start()
    called(service, "move")
    begun = time.monotonic()
    for _ in range(5):
        called(service, "move")
    assert time.monotonic() - begun < 150  # it would wait for a minute each time


def test_while_the_output_is_away_it_is_said_at_once(service: Service) -> None:
    service.start()
    service.memory.write_text(json.dumps({"number": "another", "file_system": "another"}))
    with pytest.raises(Refused, match="mount its drive"):
        called(service, "move")
    assert service.moved == 0
    service.memory.unlink()
    assert called(service, "move") == [{"n": 0}]


def test_while_an_inbox_does_not_answer_it_is_said_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    status = Mock(
        inboxes=[
            InboxStatus(service.inbox, "polling", None, "gone", walking=False, other_files=0, is_unresponsive=True)
        ]
    )
    monkeypatch.setattr(service.watcher, "all_answer", lambda: False)
    monkeypatch.setattr(service.watcher, "status", lambda: status)
    service.start()
    with pytest.raises(Refused, match=f"{service.inbox} does not answer: look at its server"):
        called(service, "move")
    assert service.moved == 0


def test_while_the_work_loop_hangs_in_a_share_nobody_waits_for_it(service: Service) -> None:
    service.watcher.asked = PendingCall("/mnt/share", time.monotonic() - 20)
    service.start(works=False)
    with pytest.raises(Refused, match="'/mnt/share' has not answered for 20 s") as told:
        called(service, "move")
    assert told.value.exit_code == 1
    service.watcher.asked = None


def test_a_status_is_that_of_the_last_report_and_needs_no_work_loop(service: Service) -> None:
    service.start(works=False)
    with ControlClient(service.path) as client:
        with pytest.raises(Refused, match="just starting") as told:
            client.ask("status")
        assert told.value.exit_code == 3
    service.monitor.latest = Mock(model_dump=lambda: {"waiting": 5})
    with ControlClient(service.path) as client:
        assert client.ask("status") == {"waiting": 5}


def test_a_status_after_a_command_shows_what_that_has_done(service: Service) -> None:
    def report(status: Callable[[], WatcherStatus]) -> None:
        assert status().inboxes
        service.monitor.latest = Mock(model_dump=lambda moved=service.moved: {"moved": moved})

    service.monitor.report.side_effect = report
    service.start()
    with ControlClient(service.path) as client:
        for moved in (1, 2):
            client.ask("move")
            assert client.ask("status") == {"moved": moved}


def test_a_rescan_says_of_each_inbox_whether_it_is_there(service: Service) -> None:
    service.start()
    with ControlClient(service.path) as client:
        assert client.ask("rescan") == {
            "inboxes": [{"path": str(service.inbox), "missing": None, "says": f"looking through {service.inbox} now"}]
        }
        service.inbox.rmdir()
        assert "is missing" in str(client.ask("rescan"))


def test_settings_that_are_wrong_are_said_with_exit_code_2(service: Service) -> None:
    service.reloaded = (frozenset({"threshold"}), frozenset({"watch"}), None)
    service.start()
    with ControlClient(service.path) as client:
        assert client.ask("reload") == {"taken": ["threshold"], "need_restart": ["watch"]}
        service.reloaded = (frozenset(), frozenset(), "threshold is 7")
        with pytest.raises(Refused, match="the settings in use stay: threshold is 7") as told:
            client.ask("reload")
    assert told.value.exit_code == 2


def test_without_a_socket_the_daemon_goes_on(service: Service, logged: list[str]) -> None:
    service.path.write_text("mine")
    service.start()
    assert "no command can speak to this daemon" in "".join(logged)
