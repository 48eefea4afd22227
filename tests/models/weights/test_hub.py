"""Weights from a network that may be dead, and from the hub's own cache. Nobody outside this machine is asked."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from models import classifier, registry
from models.checkpoints.metadata import PartRecord
from models.errors import WeightsUnavailable
from models.weights import download, hub
from models.weights.download import check_reachable
from models.weights.hub import HubFolder, ModelRevision
from models.weights.store import WeightsStore

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
        check_reachable(f"http://127.0.0.1:{server.server_port}")
        thread.join()


@pytest.mark.parametrize("url", [NOWHERE, "http://", "nonsense", "http://name.invalid"])
def test_no_answer_is_an_error(url: str) -> None:
    with pytest.raises((OSError, ValueError)):
        check_reachable(url)


def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OSError, match="no answer|timed out"):
        check_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}")


# --- the hub


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def pinned() -> ModelRevision:
    """What the registry pins for ``clip``."""
    hub = registry.entries()["clip"].weights
    assert isinstance(hub, HubFolder)
    published = hub.known_model(None)
    assert published is not None
    return published


def hub_cache(home: Path, folder: Path, repository: str = "some/model", commit: str = COMMIT) -> Path:
    """A cache of the hub's layout that holds the files of ``folder`` as the newest commit of a repository."""
    model = home / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = model / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (model / "blobs").mkdir()
    for file in folder.iterdir():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, model / "blobs" / digest)
        (snapshot / file.name).symlink_to(Path("../../blobs") / digest)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    return snapshot


LOCATE = """
import json
import sys
from models import registry
from models.errors import WeightsUnavailable
from models.weights.store import TorchvisionPickle, WeightsStore

for name, given in json.loads(sys.argv[1]):
    said = []
    try:
        if name == "torchvision":
            found = TorchvisionPickle("tiny", given).locate(None, WeightsStore())
        else:
            found = registry.locate(name, given or None, WeightsStore())
            said.append(str(registry.locate(name, found.source, WeightsStore()).digest == found.digest))
        said += [found.source, found.digest]
    except WeightsUnavailable as error:
        said.append(str(error))
    print(json.dumps([*said, str(sorted({"torch", "transformers"} & set(sys.modules)))]))
"""


def locate(home: Path, name: str, given: str, **environment: str) -> list[str]:
    """What `locate_each` says of one."""
    (said,) = locate_each(home, [(name, given)], **environment)
    return said


def locate_each(home: Path, wanted: Sequence[tuple[str, str]], **environment: str) -> list[list[str]]:
    """What a process of its own, with this home for its caches, says when it locates weights, one after the other.

    ``wanted`` are names and what is given for them. The network is on.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    here = {"HF_HOME": str(home), "TORCH_HOME": str(home), "XDG_CACHE_HOME": str(home), "HF_ENDPOINT": NOWHERE}
    done = subprocess.run(
        [sys.executable, "-c", LOCATE, json.dumps(wanted)],
        env=inherited | here | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("offline", ["0", "1"])
def test_weights_in_the_hubs_cache_are_found_without_a_network(tmp_path: Path, tiny_clip: Path, offline: str) -> None:
    snapshot = hub_cache(tmp_path, tiny_clip)
    same, source, digest, loaded = locate(tmp_path, "clip", "some/model", HF_HUB_OFFLINE=offline)
    assert same == "True"
    assert source == f"some/model@{COMMIT}"
    assert digest == HubFolder("clip", "some/model").locate(str(snapshot), WeightsStore()).digest
    assert loaded == "[]"


@pytest.mark.parametrize("name", ["HF_HUB_CACHE", "XDG_CACHE_HOME"])
def test_the_hubs_cache_is_where_its_library_has_it(tmp_path: Path, tiny_clip: Path, name: str) -> None:
    base = {"HF_HUB_CACHE": tmp_path / "x", "XDG_CACHE_HOME": tmp_path / "x" / "huggingface"}[name]
    hub_cache(base, tiny_clip)
    value = str(base / "hub" if name == "HF_HUB_CACHE" else tmp_path / "x")
    assert locate(tmp_path / "elsewhere", "clip", "some/model", **{"HF_HOME": "", name: value})[0] == "True"
    assert _library_cache(HF_HOME="", **{name: value}) == base / "hub"


def _library_cache(**environment: str) -> Path:
    """Where the hub's own library says its cache is."""
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    kept = {key: value for key, value in (inherited | environment).items() if value}
    return Path(subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True).stdout.strip())


def test_a_commit_is_found_without_its_branch(tmp_path: Path, tiny_clip: Path) -> None:
    hub_cache(tmp_path, tiny_clip)
    found, other = locate_each(tmp_path, [("clip", f"some/model@{COMMIT}"), ("clip", "some/model@v2")])
    assert found[1] == f"some/model@{COMMIT}"
    assert "could not be reached" in other[0]


def test_other_weights_than_the_pinned_ones_are_refused(tmp_path: Path, tiny_clip: Path) -> None:
    published = pinned()
    snapshot = hub_cache(tmp_path, tiny_clip, published.repository, published.revision)
    given = ("", "openai", published.repository + "@" + published.revision)
    for said, *_ in locate_each(tmp_path, [("clip", each) for each in given]):
        assert f"{snapshot / 'model.safetensors'} is damaged, or is not the published file" in said
        assert f"expected {published.sha256[:12]}): delete it and fetch it again" in said


def test_a_file_that_is_not_what_the_cache_names_it_by_is_refused(tmp_path: Path, tiny_clip: Path) -> None:
    file = (hub_cache(tmp_path, tiny_clip) / "model.safetensors").resolve()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    said = locate(tmp_path, "clip", "some/model")[0]
    assert f"(its sha256 begins {hashlib.sha256(data).hexdigest()[:12]}, expected {file.name[:12]})" in said


def test_every_short_name_is_pinned() -> None:
    hub = registry.entries()["clip"].weights
    assert isinstance(hub, HubFolder)
    assert {"openai", "siglip2"} <= set(hub.known)
    for name, published in hub.known.items():
        assert hub.known_model(name) == published
        assert re.fullmatch("[0-9a-f]{40}", published.revision)
        assert re.fullmatch("[0-9a-f]{64}", published.sha256)


def test_neither_a_folder_nor_an_id_is_one_sentence(tmp_path: Path) -> None:
    given = ("no-such-folder", "/no/such", "a/b/c", "some/model@../x")
    for said, *_ in locate_each(tmp_path, [("clip", each) for each in given]):
        assert "there is no folder" in said


def test_damaged_weights_in_the_hubs_cache_are_named(tmp_path: Path, tiny_clip: Path) -> None:
    snapshot = hub_cache(tmp_path, tiny_clip)
    file = (snapshot / "model.safetensors").resolve()
    file.write_bytes(file.read_bytes()[:-1])
    said = locate(tmp_path, "clip", "some/model")[0]
    assert f"{snapshot / 'model.safetensors'} is damaged or is not a safetensors file: fetch it again" in said


def test_a_dead_network_is_one_sentence_without_torch_that_names_the_model(tmp_path: Path) -> None:
    advice = {
        ("clip", ""): "pull clip --to",
        ("clip", "siglip2"): "pull clip --clip-model google/siglip2",
        ("clip", "some/model"): "pull clip --clip-model some/model",
        ("clip", "some/model@v2"): "pull clip --clip-model some/model@v2 --to",
        ("torchvision", f"{NOWHERE}/a-00.pth"): "pull tiny",
    }
    for pull, (said, loaded) in zip(advice.values(), locate_each(tmp_path, list(advice)), strict=True):
        assert re.search(r"are not on this machine and .*Connection refused\): run .* --weights ", said)
        assert pull in said
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


@pytest.mark.parametrize("name", ["clip", "timm/mobilenetv3_large_100.ra_in1k"])
def test_nothing_is_fetched_because_a_checkpoint_names_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("somebody's repository was asked for")

    monkeypatch.setattr(hub, "check_reachable", asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    record = PartRecord.model_construct(name=name, source="somebody/elses@main", digest="0" * 64)
    with pytest.raises(WeightsUnavailable, match="not fetched because a checkpoint names them: run"):
        classifier.locate_part(record, WeightsStore(tmp_path))
