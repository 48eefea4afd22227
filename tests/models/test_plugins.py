"""Backbones that another package brings: a real one is installed, used, and kept out unless it is allowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests" / "example_plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example plug-in in it, put there by pip."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    subprocess.run(["cp", "-r", str(PLUGIN), str(source)], check=True)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, capture_output=True)
    return folder


def run(site: Path, *arguments: str, allowed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "IMAGESORTD_PLUGINS": allowed}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


def listing(site: Path, allowed: str) -> tuple[set[str], dict[str, str]]:
    code = (
        "import json; from models import registry; "
        "print(json.dumps([[*registry.entries(), *registry.compositions()], registry.plugins()]))"
    )
    done = run(site, "-c", code, allowed=allowed)
    assert done.returncode == 0, done.stderr
    names, plugins = json.loads(done.stdout)
    return set(names), plugins


def test_an_installed_plugin_is_not_imported_unless_it_is_allowed(site: Path) -> None:
    names, plugins = listing(site, "")
    assert "regions" not in names
    assert plugins["example"] == "it is installed but not allowed: name it in IMAGESORTD_PLUGINS"


def test_an_allowed_plugin_brings_its_backbone(site: Path) -> None:
    names, plugins = listing(site, "example")
    assert "regions" in names
    assert plugins["example"] == ""


def test_a_plugin_may_be_allowed_after_it_was_refused(site: Path) -> None:
    code = """
from models import allowed
from models import registry
assert registry.plugins()["example"].startswith("it is installed but not allowed")
allowed.allow_plugins(["example"])
assert "regions" in registry.entries()
assert registry.plugins()["example"] == ""
"""
    done = run(site, "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_broken_plugin_and_a_duplicate_are_named_and_take_nothing_down(site: Path) -> None:
    names, plugins = listing(site, "broken,twin,leaver,dangling,absent,example")
    assert plugins["broken"] == "it cannot be used: RuntimeError: this plug-in was made for another version"
    assert "two backbones are registered as 'hybrid'" in plugins["twin"]
    assert plugins["leaver"] == "it cannot be used: SystemExit: good bye"
    assert "'half_there' is made of 'nowhere', and there is no such backbone" in plugins["dangling"]
    assert plugins["absent"].startswith("it is allowed but not installed")
    assert plugins["example"] == ""
    assert {"regions", "hybrid", "clip", "mobilenet", "efficientnet_lite0"} <= names
    assert not {"twin_only", "half_there"} & names


def test_an_unknown_backbone_is_explained_by_the_plugin_that_failed(site: Path) -> None:
    done = run(site, "-c", "from models import registry; registry.parts_of('regions')", allowed="broken")
    assert "the plug-in broken: it cannot be used" in done.stderr
    assert "the plug-in example: it is installed but not allowed" in done.stderr


def test_a_plugin_is_exported_and_computes_like_any_backbone(site: Path, tmp_path: Path) -> None:
    code = """
import numpy as np
from models import registry
from models.inference.runtime import open_extractor, locate_backbones
from models.weights.store import WeightsStore
store = WeightsStore()
extractor = open_extractor(locate_backbones("regions+efficientnet_lite0", {}, store), store)
sides = [transform.crop for transform in extractor.transforms]
crops = [np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8) for side in sides]
features = extractor.features(crops)
assert features.shape == (2, 54 + 1280), features.shape
assert extractor.engine == "onnxruntime"
first = (crops[0][0, :32, :32].reshape(-1, 3) / 255 - 0.5) / 0.25
np.testing.assert_allclose(features[0, [0, 9, 18]], first.mean(axis=0), rtol=1e-4, atol=1e-5)
"""
    done = run(site, "-c", code, allowed="example")
    assert done.returncode == 0, done.stderr


def test_a_plugin_may_import_torchvision_like_any_library(site: Path) -> None:
    code = """
import numpy as np
from models import registry
from models.inference.runtime import open_extractor, locate_backbones
from models.weights.store import WeightsStore
assert registry.plugins()["vision"] == "", registry.plugins()["vision"]
import torchvision
assert torchvision.__spec__.loader is torchvision.__loader__
assert callable(torchvision.models.mobilenet_v3_small)
store = WeightsStore()
extractor = open_extractor(locate_backbones("edges", {}, store), store)
crops = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
assert extractor.features([crops]).shape == (2, 3)
"""
    done = run(site, "-c", code, allowed="vision")
    assert done.returncode == 0, done.stderr


def test_a_backbone_that_cannot_be_made_is_one_sentence(site: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (32, 32), (len(name) * 20, number * 99, ord(name[0]))).save(
                tmp_path / "data" / name / f"{number}.png"
            )
    options = ["--data-dir", str(tmp_path / "data"), "--output-dir", str(tmp_path / "runs"), "--mode", "faulty"]
    done = run(site, "-m", "trainer", "fit", *options, allowed="faulty")
    assert done.returncode == 2
    assert "the backbone faulty cannot be made: RuntimeError: an operator does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3, done.stderr
