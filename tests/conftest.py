"""What every test may use: the shared pictures where they exist, and small real models made on the spot."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from loguru import logger

from models import allowed
from models.children import run_child
from models.errors import WeightsUnavailable
from models.inference import export, runtime
from models.text import invocation
from models.weights.store import WeightsStore
from tests import warm

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# Nothing that is read while tests are collected becomes garbage; looking for some took a sixth of the time.
gc.disable()


#: Where the long tests are, which start programs and wait for them, the longest first. They come before all others,
#: so that no worker begins one when the rest have nothing left to do.
LONG = (
    "tests/test_style.py",
    "tests/journeys/",
    "tests/daemon/review/page/",
    "tests/faults/",
    "tests/hazards/",
    "tests/trainer/",
    "tests/models/",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Let each worker begin to read at another file, so that it compiles its share and finds that of the others.

    Workers that read in one order all compile the same file at the same time, which is half of what reading costs.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args != session.config.getini("testpaths"):
        return
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    start = len(files) * int(worker["workerid"].removeprefix("gw")) // int(worker["workercount"])
    for file in files[start:] + files[:start]:
        with suppress(Exception, pytest.skip.Exception, pytest.fail.Exception):  # said when pytest collects
            import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage from now on, but never look through the thousands of tests for it."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first; those of a file stay together, in their order."""
    items.sort(key=lambda item: next((rank for rank, start in enumerate(LONG) if item.nodeid.startswith(start)), 99))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures that lies beside the project where it is built; absent elsewhere."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared pictures are not on this machine")
    return SHARED_DATA


def pytest_configure() -> None:
    """Let the processes that tests start obey signals that this one was told to ignore, under nohup or by a shell.

    What is ignored stays so in a child; what has a handler gets its default action there. And let them and the workers
    keep what they compile: where an image of a container forbids it, hundreds of processes would compile our source.
    """
    warm.use()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD, signal.SIGUSR1):
        if signal.getsignal(number) is signal.SIG_IGN:
            ours = signal.default_int_handler if number == signal.SIGINT else lambda *_: None
            signal.signal(number, ours)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Caches and state in a folder of the test run's own, and no hub: nothing depends on what this machine holds."""
    home = tmp_path_factory.mktemp("home")
    share_weights(tmp_path_factory.getbasetemp(), home / "cache" / "imagesortd")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("IMAGESORTD_")]:
            patch.delenv(name)
        patch.delenv("CACHE_DIRECTORY", raising=False)
        patch.delenv("STATE_DIRECTORY", raising=False)
        patch.delenv("RUNTIME_DIRECTORY", raising=False)
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        patch.setenv("HF_HOME", str(home / "hub"))
        patch.setenv("TORCH_HOME", str(home / "torch"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("LANGUAGE", "en")
        yield home


def share_weights(base: Path, cache: Path) -> None:
    """Let the workers of a run convert weights and export graphs once for all, under the locks that daemons use.

    Features stay each worker's own. A test that damages what is cached, or counts what is made, has its own store.
    """
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-cache"
    cache.mkdir(parents=True)
    for name in ("weights", "graphs", "locks"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(shared / name)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter; those of pytest are closed again whenever another run begins."""
    with tempfile.TemporaryDirectory(prefix="imagesortd-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture(autouse=True)
def no_plugins_named() -> None:
    """Nothing has said yet which plug-ins are allowed, whatever command a test before has run in this process."""
    allowed.allow_plugins(None)


@pytest.fixture(autouse=True)
def commands_as_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences name commands as ``python -m``, whether the script is installed here or not."""
    monkeypatch.setattr(invocation, "script_words", lambda: None)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The messages logged while the test runs."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="DEBUG")
    yield lines
    logger.remove(sink)


@pytest.fixture(scope="session")
def store(own_folders: Path) -> WeightsStore:
    """The usual cache, whose weights and graphs the whole run shares: they are converted and exported once."""
    return WeightsStore()


@pytest.fixture(autouse=True)
def exports_beside_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export in this process where torch is imported already: a child takes most of its time to import it."""

    def run_where_torch_is(module: str, *arguments: str) -> str:
        if module != "models.inference.export" or "torch" not in sys.modules:
            return run_child(module, *arguments)
        try:
            export.main(*arguments)
        except Exception as error:  # as where a child fails
            raise WeightsUnavailable(str(error)) from error
        return ""

    monkeypatch.setattr(runtime, "run_child", run_where_torch_is)


@pytest.fixture
def exports_here(exports_beside_torch: None) -> None:
    """Export in this process, where a test needs torch anyway."""
    import torch

    assert torch.__version__


@pytest.fixture(scope="session")
def tiny_mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a real MobileNetV3-Large with random weights, as safetensors."""
    return random_weights("mobilenet_v3_large", tmp_path_factory.mktemp("mobilenet"))


@pytest.fixture(scope="session")
def tiny_mobilenet_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a real MobileNetV3-Small with random weights, as safetensors."""
    return random_weights("mobilenet_v3_small", tmp_path_factory.mktemp("mobilenet"))


def random_weights(architecture: str, folder: Path, *, seed: int = 0) -> Path:
    from models.compat import import_torchvision

    torchvision = import_torchvision()
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    path = folder / "mobilenet.safetensors"
    save_file(getattr(torchvision.models, architecture)(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real CLIP model with its tokenizer and processor, in a folder of the hub's layout."""
    from models.compat import import_torchvision

    import_torchvision()
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary += [f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz"]
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**tower, "vocab_size": len(vocabulary), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(
        text_config=text, vision_config={**tower, "image_size": 64, "patch_size": 16}, projection_dim=24
    )
    CLIPModel(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real SigLIP model that reads a few words, one of them Korean, in a folder of the hub's layout."""
    from models.compat import import_torchvision

    import_torchvision()
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("siglip")
    words = Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1, "</s>": 2, "개": 3, "dog": 4, "cat": 5}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
    text = {**tower, **special, "vocab_size": 6, "max_position_embeddings": 16, "projection_size": 32}
    config = SiglipConfig(text_config=text, vision_config={**tower, "image_size": 64, "patch_size": 16})
    SiglipModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", model_input_names=["input_ids"]
    ).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def crops(count: int, side: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """``count`` random crops of that side."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
