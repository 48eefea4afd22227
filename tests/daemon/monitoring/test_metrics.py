"""Metrics: the text, the file, the listener, and a real daemon with both."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import config
from daemon.monitoring.health import Health, InboxHealth
from daemon.monitoring.metrics import render
from daemon.monitoring.metrics_server import MetricsListener
from models.errors import UserError
from tests.daemon.commands.test_status import HEALTH
from tests.pictures import KINDS, save
from tests.processes import daemon, wait_for

#: A line of the text format, by its documentation.
SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="([^"\\\n]|\\[\\"n])*"(,[a-z]+="([^"\\\n]|\\[\\"n])*")*\})? -?[0-9]+(\.[0-9]+)?')


def samples(text: str) -> dict[str, float]:
    """Each sample by its name with labels; the text is checked on the way."""
    assert text.endswith("\n")
    found: dict[str, float] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            kind = kinds[name.partition("{")[0]]
            assert name.partition("{")[0].endswith("_total") == (kind == "counter")
            assert name not in found
            found[name] = float(value)
    return found


def test_everything_is_said_in_prometheus_words() -> None:
    found = samples(render(HEALTH, 2000.5))
    assert found['imagesortd_images_total{outcome="sure"}'] == 12
    assert found['imagesortd_images_total{outcome="unsure"}'] == 2
    assert found['imagesortd_attempts_total{outcome="retry"}'] == 7
    assert found["imagesortd_images_waiting"] == 3
    assert found["imagesortd_oldest_image_timestamp_seconds"] == 1090
    assert found['imagesortd_inbox_up{inbox="/inbox"}'] == 1
    assert found['imagesortd_inbox_up{inbox="/usb"}'] == 0
    assert found['imagesortd_inbox_polled{inbox="/net"}'] == 1
    assert found['imagesortd_inbox_other_files{inbox="/inbox"}'] == 1
    assert found['imagesortd_inbox_other_files{inbox="/net"}'] == 0
    assert found['imagesortd_model_info{mode="hybrid",digest="0123456789ab"}'] == 1
    assert found["imagesortd_model_reloads_total"] == 2
    assert found["imagesortd_errors_total"] == 1
    assert found["imagesortd_progress_timestamp_seconds"] == 2000.5


def test_hostile_names_stay_inside_their_label() -> None:
    inbox = InboxHealth(path='/a"} 1\\\n', mode="inotify", polled=None, missing=None)
    found = samples(render(HEALTH.model_copy(update={"inboxes": [inbox]}), 0.0))
    assert found['imagesortd_inbox_up{inbox="/a\\"} 1\\\\\\n"}'] == 1


def test_images_are_counted_by_class() -> None:
    classes = {"개": 3, 'a"b\\': 2, "": 5}
    found = samples(render(HEALTH.model_copy(update={"classes": classes}), 0.0))
    assert found['imagesortd_filed_total{class="개"}'] == 3
    assert found['imagesortd_filed_total{class="a\\"b\\\\"}'] == 2
    assert found['imagesortd_filed_total{class=""}'] == 5


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9469", "192.168.0.1:80", "example.org:80", "127.0.0.1", "127.0.0.1:x", "::1"]
)
def test_only_this_machine_may_ask(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"--metrics-listen is .* give 127\.0\.0\.1:PORT"):
        config.load({"metrics_listen": address})


class Unix(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=300)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def get(connection: http.client.HTTPConnection, path: str = "/metrics") -> tuple[int, str]:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.fixture
def health() -> Health:
    return HEALTH


@pytest.fixture
def listener(health: Health) -> Iterator[MetricsListener]:
    made = MetricsListener("127.0.0.1:0", lambda: render(health, 0.0))
    yield made
    made.close()


def test_a_port_answers_with_the_metrics(listener: MetricsListener) -> None:
    for _ in range(2):
        status, body = get(http.client.HTTPConnection("127.0.0.1", listener.port, timeout=300))
        assert status == 200
        assert samples(body)["imagesortd_images_waiting"] == 3
    assert get(http.client.HTTPConnection("127.0.0.1", listener.port, timeout=300), "/etc/passwd")[0] == 404


def test_whoever_says_nothing_or_nonsense_is_dropped(listener: MetricsListener) -> None:
    for words in (b"", b"\0\xff\r\n\r\n", b"GET / HTTP/1.1\r\n"):
        with socket.create_connection(("127.0.0.1", listener.port)) as rude:
            rude.sendall(words)
    assert get(http.client.HTTPConnection("127.0.0.1", listener.port, timeout=300))[0] == 200


def test_closing_ends_the_wait(health: Health) -> None:
    listener = MetricsListener("127.0.0.1:0", lambda: "")
    port = listener.port
    listener.close()
    assert "metrics" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_socket_left_behind_is_taken_over_and_one_in_use_is_not(tmp_path: Path, health: Health) -> None:
    path = tmp_path / "run" / "metrics.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    listener = MetricsListener(str(path), lambda: render(health, 0.0))
    assert get(Unix(path))[0] == 200
    with pytest.raises(UserError, match="metrics_listen: cannot listen on"):
        MetricsListener(str(path), lambda: "")
    listener.close()
    assert not path.exists()


def test_a_daemon_writes_its_file_and_answers_its_socket(tmp_path: Path) -> None:
    prom, sock = tmp_path / "collector" / "imagesortd.prom", tmp_path / "metrics.sock"
    with daemon(tmp_path, "--metrics-file", str(prom), "--metrics-listen", str(sock)) as running:
        save(KINDS[0], 1, tmp_path / "inbox" / "image.png")

        def counted() -> bool:
            found = samples(prom.read_text()) if prom.exists() else {}
            return any(name.startswith("imagesortd_images_total") for name in found)

        wait_for(counted, "the image in the metrics")
        assert prom.stat().st_mode & 0o777 == 0o644
        status, body = get(Unix(sock))
        assert status == 200
        assert sum(value for name, value in samples(body).items() if "images_total" in name) == 1
        assert running.terminate() == 0
    assert not prom.exists()
    assert not sock.exists()
