"""The modes whose weights must be fetched, on small real models: fitted, and then served by the daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pictures import class_folders, files_below
from tests.processes import run

CLASSES = {"discs": "discs", "안개": "fog"}


@pytest.mark.parametrize("mode", ["mobilenet", "clip", "hybrid"])
def test_a_mode_is_fitted_and_served(mode: str, tiny_mobilenet: Path, tiny_clip: Path, tmp_path: Path) -> None:
    class_folders(tmp_path / "data", CLASSES, 24)
    class_folders(tmp_path / "photos", CLASSES, 4, start=50)
    weights = {
        "mobilenet": ["--weights", f"mobilenet={tiny_mobilenet}"],
        "clip": ["--clip-model", str(tiny_clip)],
    }
    given = weights.get(mode) or [*weights["mobilenet"], *weights["clip"]]
    done = run("trainer", "fit", "--data-dir", "data", "--mode", mode, *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    done = run("daemon", "sort", "--input-dir", "photos", "--output-dir", "sorted", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    images = json.loads(done.stdout)["images"]
    right = sum(Path(image["file"]).parent.name == image["class"] for image in images)
    assert len(images) == 8
    assert right >= 7, images
    assert set(files_below(tmp_path / "sorted")) <= set(CLASSES)


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
