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
from pathlib import Path

import pytest

from models import download, registry
from models.download import ask
from models.errors import WeightsUnavailable
from models.weights import HubFolder, WeightsStore

NOWHERE = "http://127.0.0.1:9"


# --- asking whether there is anybody


class Refusing(http.server.BaseHTTPRequestHandler):
    """Has nothing."""

    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def test_any_answer_is_an_answer() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        ask(f"http://127.0.0.1:{server.server_port}")
        thread.join()


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
    assert re.search(r"are not on this machine and .*Connection refused\): run .* --weights ", said)
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
