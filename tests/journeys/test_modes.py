"""The modes whose weights must be fetched, on small real models: fitted, and then served by the daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pictures import class_folders, save, save_tinted
from tests.processes import run

CLASSES = {"discs": "discs", "안개": "fog"}
#: Classes that even random weights know from anything else, and kinds of picture that are of none of them.
TINTS = {"red": (200, 50, 40), "초록": (40, 180, 60), "blue": (40, 60, 200)}
STRANGE = ("stripes", "checks")


#: The parts of the hybrid are served each for itself in the slow tests.
SERVED = [*(pytest.param(mode, marks=pytest.mark.slow) for mode in ("mobilenet", "clip")), "hybrid"]


@pytest.mark.parametrize("mode", SERVED)
def test_a_mode_is_fitted_and_served(mode: str, tiny_mobilenet: Path, tiny_clip: Path, tmp_path: Path) -> None:
    """Pictures like those of the classes are filed, and others are refused, however sure it is of a class."""
    for tint in TINTS:
        for seed in range(28):
            save_tinted(TINTS[tint], seed, tmp_path / ("data" if seed < 24 else "photos") / tint / f"{seed}.jpg")
    strangers = [save(kind, seed, tmp_path / "photos" / kind / f"{seed}.jpg") for kind in STRANGE for seed in range(6)]
    weights = {
        "mobilenet": ["--weights", f"mobilenet={tiny_mobilenet}"],
        "clip": ["--clip-model", str(tiny_clip)],
    }
    given = weights.get(mode) or [*weights["mobilenet"], *weights["clip"]]
    done = run("trainer", "fit", "--data-dir", "data", "--mode", mode, *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    options = ["--input-dir", "photos", "--output-dir", "sorted", "--threshold", "auto", "--json"]
    done = run("daemon", "sort", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    images = {Path(image["file"]): image for image in json.loads(done.stdout)["images"]}
    assert len(images) == 4 * len(TINTS) + len(strangers)
    folders = {path: Path(image["destination"]).parent.name for path, image in images.items()}
    assert sum(path.parent.name == folder for path, folder in folders.items()) >= 4 * len(TINTS) - 1, images

    refused = [path for path in strangers if (images[path]["detail"] or "").startswith("unlike anything it was taught")]
    assert len(refused) >= len(strangers) - 1, images
    assert {folders[path] for path in refused} == {"others"}
    assert sum(images[path]["confidence"] >= 0.5 for path in refused) >= len(strangers) // 2, images


@pytest.mark.slow  # which backbones it takes, and what is said: test_registry
def test_auto_without_a_hub_says_loudly_what_it_does(tmp_path: Path) -> None:
    class_folders(tmp_path / "data", CLASSES, 8)
    done = run("trainer", "fit", "--data-dir", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mode auto tries embedded" in done.stderr  # the test extra brings its second backbone


@pytest.mark.parametrize("mode", ["mobilenet", "clip", "hybrid"])
def test_an_explicit_mode_never_falls_back(mode: str, tmp_path: Path) -> None:
    class_folders(tmp_path / "data", CLASSES, 4)
    done = run("trainer", "fit", "--data-dir", "data", "--mode", mode, cwd=tmp_path)
    assert done.returncode == 2
    assert "are not on this machine" in done.stderr
    assert "models pull" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "checkpoints").exists()


def test_a_plugin_that_is_allowed_and_not_installed_is_named_once_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('plugins = ["absent"]', encoding="utf-8")
    done = run("daemon", "--once", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "absent: it is allowed but not installed: install its package" in done.stderr
    assert done.stderr.count("not installed") == 1, done.stderr  # the registry, which the starter asks, says no more
