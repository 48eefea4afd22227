"""Fetching a file from a server of the test's own, which breaks off, lies and forgets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from models.weights.download import download

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server:
    """Serves DATA; ``breaks_at`` ends an answer early, ``ranges`` False ignores what the client has already."""

    def __init__(self) -> None:
        self.breaks_at: int | None = None
        self.ranges = True
        self.data = DATA
        self.sent: list[tuple[int, int]] = []
        serving = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                serving.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/weights.pth"
        self._thread = Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", "") if self.ranges else "")
        start = int(asked[1]) if asked else 0
        if start >= len(self.data):
            request.send_error(416)
            return
        rest = self.data[start:]
        request.send_response(206 if asked else 200)
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        sending = rest if self.breaks_at is None else rest[: self.breaks_at]
        request.wfile.write(sending)
        self.sent.append((start, len(sending)))

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()
    yield serving
    serving.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_a_file_is_fetched_whole(server: Server, target: Path) -> None:
    download(server.url, target, SHA256[:8])
    assert target.read_bytes() == DATA
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def broken_off(server: Server, target: Path, at: int) -> None:
    server.breaks_at = at
    with pytest.raises((OSError, ConnectionError), match="was lost|IncompleteRead"):
        download(server.url, target, SHA256)
    server.breaks_at = None
    assert not target.exists()


def test_a_broken_off_fetch_is_taken_up_where_it_ended(server: Server, target: Path) -> None:
    broken_off(server, target, 300_000)
    broken_off(server, target, 100_000)
    download(server.url, target, SHA256)
    assert target.read_bytes() == DATA
    assert server.sent == [(0, 300_000), (300_000, 100_000), (400_000, len(DATA) - 400_000)]


def test_a_server_that_cannot_go_on_in_the_middle_sends_all_again(server: Server, target: Path) -> None:
    broken_off(server, target, 300_000)
    server.ranges = False
    download(server.url, target, SHA256)
    assert target.read_bytes() == DATA


def complete(server: Server, target: Path) -> None:
    target.with_name(f".{target.name}.part").write_bytes(DATA)


def from_another_file(server: Server, target: Path) -> None:
    target.with_name(f".{target.name}.part").write_bytes(b"something else")


def test_a_fetch_that_only_lacked_its_name_is_finished(server: Server, target: Path) -> None:
    complete(server, target)
    download(server.url, target, SHA256)
    assert target.read_bytes() == DATA
    assert server.sent == []


def other_data(server: Server, target: Path) -> None:
    server.data = DATA[::-1]


@pytest.mark.parametrize("spoil", [from_another_file, other_data])
def test_what_has_another_digest_is_not_kept(
    server: Server, target: Path, spoil: Callable[[Server, Path], None]
) -> None:
    spoil(server, target)
    with pytest.raises(ValueError, match="the downloaded file has the sha256"):
        download(server.url, target, SHA256)
    assert list(target.parent.iterdir()) == []
