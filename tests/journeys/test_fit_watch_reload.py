"""The whole path once: fit, watch, file, fit again with other classes, see the reload, stop."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from models.checkpoints.checkpoint import read_pointer
from tests.pictures import class_folders, files_below, save
from tests.processes import daemon, run, start_afresh, wait_for

FIRST = {"줄무늬": "stripes", "동그라미": "discs"}
SECOND = {"stripes": "stripes", "checks": "checks", "fog": "fog"}


def fit(cwd: Path, data: Path) -> str:
    start = run if (cwd / "checkpoints").exists() else start_afresh  # once as a user does, with figures
    done = start(
        "trainer", "fit", "--data_dir", str(data), "--mode", "efficientnet_lite0", "--publish", "always", cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    pointer = read_pointer(cwd / "checkpoints")
    assert pointer is not None
    return pointer.sha256[:12]


def write_slowly(source: Path, target: Path) -> None:
    """Write a file in pieces, as a camera or a network does."""
    data = source.read_bytes()
    with target.open("wb") as file:
        for start in range(0, len(data), len(data) // 5):
            file.write(data[start : start + len(data) // 5])
            file.flush()
            time.sleep(0.1)


@pytest.mark.timeout(1800)
def test_fit_watch_fit_again_reload_and_stop(tmp_path: Path) -> None:
    first = fit(tmp_path, class_folders(tmp_path / "first", FIRST, 12))
    fresh = tmp_path / "fresh"
    copied = save("stripes", 100, fresh / "복사.jpg")
    moved = save("discs", 101, fresh / "moved.png")
    slow = save("stripes", 102, fresh / "slow.jpg")
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"

    with daemon(tmp_path, "--watch", "inbox", "--threshold", "0") as running:
        assert first in running.log()
        shutil.copy(copied, inbox / copied.name)
        moved.rename(inbox / moved.name)
        write_slowly(slow, inbox / slow.name)
        wait_for(lambda: not any(inbox.iterdir()), running.log())
        assert files_below(output) == {"동그라미": ["moved.png"], "줄무늬": ["slow.jpg", "복사.jpg"]}

        second = fit(tmp_path, class_folders(tmp_path / "second", SECOND, 12))
        running.wait_until_said(f"took over checkpoint {second}")
        running.wait_until_said("gone, their folders stay: 동그라미, 줄무늬")

        save("checks", 103, fresh / "checks.jpg").rename(inbox / "checks.jpg")
        save("fog", 104, fresh / "fog.jpg").rename(inbox / "fog.jpg")
        save("stripes", 105, fresh / "stripes.jpg").rename(inbox / "stripes.jpg")
        wait_for(lambda: not any(inbox.iterdir()), running.log())
        assert running.terminate() == 0

    assert files_below(output) == {
        "checks": ["checks.jpg"],
        "fog": ["fog.jpg"],
        "stripes": ["stripes.jpg"],
        "동그라미": ["moved.png"],
        "줄무늬": ["slow.jpg", "복사.jpg"],
    }
    assert (output / "줄무늬" / "복사.jpg").read_bytes() == copied.read_bytes()
    leftovers = [path for path in tmp_path.rglob(".*") if path.name.startswith((".part", ".claim", ".drop"))]
    assert leftovers == []
