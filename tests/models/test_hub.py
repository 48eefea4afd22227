"""Weights from a network that may be dead, and from the hub's own cache. Nobody outside this machine is asked."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import download, registry
from models.download import ask
from models.errors import WeightsUnavailable
from models.weights import HubFolder, WeightsStore

NOWHERE = "http://127.0.0.1:9"
CONTENT = bytes(range(256)) * 4096
PREFIX = hashlib.sha256(CONTENT).hexdigest()[:8]


# --- fetching a file


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives CONTENT at /whole, all but its end at /short, and nothing elsewhere."""

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path in {"/whole", "/short"} else 404)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(CONTENT[:-1] if self.path == "/short" else CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_file_is_fetched_whole(server: str, tmp_path: Path) -> None:
    download.download(f"{server}/whole", tmp_path / "file", PREFIX)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("place", "prefix"), [("short", PREFIX), ("whole", "00000000"), ("missing", PREFIX)])
def test_another_file_is_not_kept(server: str, tmp_path: Path, place: str, prefix: str) -> None:
    with pytest.raises((ValueError, OSError)):
        download.download(f"{server}/{place}", tmp_path / "file", prefix)
    assert list(tmp_path.iterdir()) == []


def test_any_answer_is_an_answer(server: str) -> None:
    ask(f"{server}/whole")
    ask(f"{server}/missing")


@pytest.mark.parametrize("url", [NOWHERE, "http://", "nonsense", "http://name.invalid"])
def test_no_answer_is_an_error(url: str) -> None:
    with pytest.raises((OSError, ValueError)):
        ask(url)


def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OSError, match="no answer|timed out"):
        ask(f"http://127.0.0.1:{silent.getsockname()[1]}")


# --- the hub


HUB = registry.entries()["clip"].weights


def hub_cache(home: Path, folder: Path) -> Path:
    """A cache of the hub's layout that holds the files of ``folder`` as the model and revision the registry pins."""
    assert isinstance(HUB, HubFolder)
    assert HUB.revision
    model = home / "hub" / f"models--{HUB.repository.replace('/', '--')}"
    snapshot = model / "snapshots" / HUB.revision
    snapshot.mkdir(parents=True)
    (model / "blobs").mkdir()
    for file in folder.iterdir():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, model / "blobs" / digest)
        (snapshot / file.name).symlink_to(Path("../../blobs") / digest)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(HUB.revision)
    return snapshot


LOCATE = """
import sys
from models import registry
from models.errors import WeightsUnavailable
from models.weights import TorchvisionPickle, WeightsStore

name, given = sys.argv[1:]
try:
    if name == "torchvision":
        found = TorchvisionPickle("tiny", given).locate(None, WeightsStore())
    else:
        found = registry.locate(name, given or None, WeightsStore())
        print(registry.locate(name, found.source, WeightsStore()).digest == found.digest)
    print(found.source)
    print(found.digest)
except WeightsUnavailable as error:
    print(error)
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""


def locate(home: Path, *arguments: str, **environment: str) -> list[str]:
    """What a process of its own, with this home for its caches, says when it locates weights; the network is on."""
    inherited = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    here = {"HF_HOME": str(home), "TORCH_HOME": str(home), "XDG_CACHE_HOME": str(home), "HF_ENDPOINT": NOWHERE}
    done = subprocess.run(
        [sys.executable, "-c", LOCATE, *arguments],
        env=inherited | here | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("offline", ["0", "1"])
def test_weights_in_the_hubs_cache_are_found_without_a_network(tmp_path: Path, tiny_clip: Path, offline: str) -> None:
    snapshot = hub_cache(tmp_path, tiny_clip)
    assert isinstance(HUB, HubFolder)
    same, source, digest, loaded = locate(tmp_path, "clip", "", HF_HUB_OFFLINE=offline)
    assert same == "True"
    assert source == f"{HUB.repository}@{HUB.revision}"
    assert digest == HUB.locate(str(snapshot), WeightsStore()).digest
    assert loaded == "[]"


def test_damaged_weights_in_the_hubs_cache_are_named(tmp_path: Path, tiny_clip: Path) -> None:
    snapshot = hub_cache(tmp_path, tiny_clip)
    file = (snapshot / "model.safetensors").resolve()
    file.write_bytes(file.read_bytes()[:-1])
    said = locate(tmp_path, "clip", "")[0]
    assert f"{snapshot / 'model.safetensors'} is damaged, or no safetensors file: fetch it again" in said


@pytest.mark.parametrize(
    ("name", "given"), [("clip", ""), ("clip", "some/model"), ("torchvision", f"{NOWHERE}/a-00.pth")]
)
def test_a_dead_network_is_one_sentence_without_torch(tmp_path: Path, name: str, given: str) -> None:
    said, loaded = locate(tmp_path, name, given)
    assert re.search(r"are not on this machine and .*Connection refused\): (fetch it on|put a-00.pth into)", said)
    assert "--weights " in said
    assert loaded == "[]"


@pytest.mark.parametrize("name", ["clip", "mobilenet"])
def test_offline_is_one_sentence_and_asks_nobody(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("socket.create_connection", lambda *address: asked.append(address))
    monkeypatch.setattr("socket.getaddrinfo", lambda *address: asked.append(address))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    store = WeightsStore(tmp_path, offline=True)
    with pytest.raises(WeightsUnavailable, match="are not on this machine and it is set to offline: .*--weights"):
        registry.locate(name, None, store)
    assert asked == []
