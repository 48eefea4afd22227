"""Alarms of a real daemon, sent by a real process to servers of HTTP, SMTP and MQTT, while another server is dead."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon.alarms.rhythm import DAY, HOUR
from daemon.alarms.watch import NOTE
from daemon.files.source import Identity
from daemon.journal.journal import Journal
from daemon.journal.records import Filing, State
from daemon.state import journal_path
from tests.alert_servers import http_server, mqtt_server, silent_server, smtp_server
from tests.journeys.pictures_filed import file_pictures
from tests.processes import daemon, environment, run, wait_for

SETTINGS = 'output = "sorted"\nstate_dir = "state"\nlearn = "off"\nalarm_free_mb = {free_mb}\nthreshold = {threshold}\n'


def settle(place: Path, *, threshold: float, free_mb: int = 0) -> None:
    (place / "config.toml").write_text(SETTINGS.format(threshold=threshold, free_mb=free_mb))


def live_through(place: Path, days: int, until: float) -> None:
    """Write the journal of so many days, with two pictures in each hour, and that a daemon watched until now."""
    (place / "inbox").mkdir(exist_ok=True)
    journal = Journal(journal_path(place / "state", place / "sorted"))
    rows = [
        Filing(
            state=State.DONE,
            action="move",
            source=place / "inbox" / f"{hour}-{number}.png",
            identity=Identity(1, 2 * hour + number, 3, 4),
            folder=place / "sorted" / "dog",
            filed_name=f"{hour}-{number}.png",
            label="dog",
            confidence=0.9,
            time=datetime.fromtimestamp(hour * HOUR + number, UTC),
        )
        for hour in range(int((until - days * DAY) // HOUR), int(until // HOUR))
        for number in range(2)
    ]
    journal.write(rows)
    now = datetime.now(UTC).timestamp()
    journal.note(NOTE, json.dumps({"since": now - days * DAY, "until": now}))
    journal.close()


def alarms(place: Path) -> list[tuple[str, bool]]:
    done = run("daemon", "alarms", "--json", cwd=place)
    return [(event["cause"], event["over"]) for event in json.loads(done.stdout)] if done.returncode == 0 else []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_goes_wrong_reaches_people_though_one_server_is_dead(tmp_path: Path) -> None:
    pytest.importorskip("apprise", reason="what sends alarms is not installed: pip install '.[alerts]'")
    live_through(tmp_path, 30, datetime.now(UTC).timestamp() - 3 * DAY)
    settle(tmp_path, threshold=1.0, free_mb=1 << 40)
    with ExitStack() as stack:
        hook, mail, broker = (stack.enter_context(make()) for make in (http_server, smtp_server, mqtt_server))
        dead = stack.enter_context(silent_server())
        addresses = tmp_path / "alerts.txt"
        addresses.write_text(
            f"json://127.0.0.1:{dead}/dead\nntfy://user:hush@127.0.0.1:{hook.port}/topic\n"
            f"mailto://127.0.0.1:{mail.port}?from=a@example.org&to=b@example.org&secure=no\n"
            f"mqtt://127.0.0.1:{broker.port}/alarms\n"
        )
        servers = (hook, mail, broker)

        def all_got(what: str) -> Callable[[], bool]:
            return lambda: all(any(what in text for text in server.texts) for server in servers)

        running = stack.enter_context(daemon(tmp_path))
        with (tmp_path / "alerts.log").open("w") as log:
            sender = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "daemon", "alerts", "--alerts-file", str(addresses)],
                    cwd=tmp_path,
                    env=environment(),
                    stdout=log,
                    stderr=log,
                )
            )
        stack.callback(sender.terminate)
        wait_for(all_got("no image has come into"), "silence")
        wait_for(all_got("is nearly full"), "a full drive")
        file_pictures(tmp_path, "stripes", range(40))  # while one server is dead; all go to the others
        wait_for(all_got("come into"), "the end of the silence")
        wait_for(all_got("went to others"), "too many others")
        for number in range(12):
            (tmp_path / "inbox" / f"bad{number}.jpg").write_bytes(b"\xff\xd8\xff no picture")
        wait_for(all_got("could not be read"), "unreadable pictures")
        settle(tmp_path, threshold=1.0)
        assert run("daemon", "reload", cwd=tmp_path).returncode == 0
        wait_for(all_got("has room again"), "room")
        status = run("daemon", "status", cwd=tmp_path).stdout
        assert "went to others" in status
        assert {("silence", True), ("disk", True), ("others", False), ("quarantine", False)} <= set(alarms(tmp_path))
        sent = [len(server.texts) for server in servers]
        sender.terminate()
        assert sender.wait(120) == 0
        again = run("daemon", "alerts", "--once", "--alerts-file", str(addresses), cwd=tmp_path)
        assert again.returncode == 3, "the dead one got nothing"
        assert [len(server.texts) for server in servers] == sent, "nothing is sent twice"
        said = (tmp_path / "alerts.log").read_text() + again.stderr + running.log() + status
        assert "hush" not in said
        assert "alert 1 (json)" in said
        assert running.terminate() == 0
