"""Somebody moves pictures between class folders; seconds later the daemon files by what it learned from that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from daemon.learning.given_labels import LEARNED_NAME
from models.checkpoints.checkpoint import read_pointer
from tests.pictures import save
from tests.processes import Daemon, daemon, run, wait_for
from trainer.learning.labels import LEARNED_NAME as WRITTEN_NAME

NEW = "검은 원"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model of two kinds of pictures, published, and the settings of a daemon."""
    for kind in ("stripes", "fog"):
        for seed in range(10):
            save(kind, seed, tmp_path / "data" / kind / f"{seed}.png")
    (tmp_path / "inbox").mkdir()
    settings = 'output = "sorted"\nstate_dir = "state"\nthreshold = 0\nlearn_quiet_seconds = 1\n'
    (tmp_path / "config.toml").write_text(settings)
    done = run("trainer", "fit", "--data-dir", "data", "--mode", "efficientnet_lite0", "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def file_discs(place: Path, seeds: range) -> list[Path]:
    """Where discs are filed."""
    for seed in seeds:
        save("discs", seed, place / "spare" / f"disc{seed}.png").rename(place / "inbox" / f"disc{seed}.png")
    names = [f"disc{seed}.png" for seed in seeds]
    found = [place / "sorted"]

    def filed() -> bool:
        found[:] = [path for name in names for path in (place / "sorted").glob(f"*/{name}")]
        return len(found) == len(names)

    wait_for(filed, "the discs are filed")
    return found


def status(place: Path) -> dict[str, Any]:
    done = run("daemon", "status", "--json", cwd=place)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def take_over(running: Daemon) -> None:
    running.wait_until_said("learned from 12 labels: run ")
    running.wait_until_said("took over checkpoint")


@pytest.mark.timeout(600)
def test_what_is_moved_by_hand_is_learned_and_filed_by(place: Path) -> None:
    assert LEARNED_NAME == WRITTEN_NAME  # of both programs, which share no source for it
    parent = read_pointer(place / "checkpoints")
    assert parent is not None
    with daemon(place) as running:
        (place / "sorted" / NEW).mkdir()
        for path in file_discs(place, range(12)):
            shutil.move(path, place / "sorted" / NEW / path.name)
        take_over(running)
        lesson = read_pointer(place / "checkpoints")
        assert lesson is not None
        assert lesson.run != parent.run
        assert {path.parent.name for path in file_discs(place, range(50, 54))} == {NEW}
        wait_for(lambda: status(place)["learning"]["running"] is None, running.log())  # it ends after it has published
        learning = status(place)["learning"]
        assert (learning["mode"], learning["waiting"], learning["lessons"]) == ("on", 0, {"published": 1})
        assert learning["last"]["run"] == lesson.run
        said = run("daemon", "status", cwd=place).stdout
        assert "on: no label waits for a lesson" in said
        assert f"learned from 12 labels: run {lesson.run} is published" in said
        done = run("daemon", "history", "--checkpoint", lesson.sha256[:12], "--json", cwd=place)
        assert [row["class"] for row in json.loads(done.stdout)] == [NEW] * 4
        done = run("daemon", "learn", cwd=place)
        assert (done.returncode, "has learned from all these labels" in done.stdout) == (0, True), done
        assert running.terminate() == 0
    assert "internal error" not in running.log()
    done = run("daemon", "labels", "forget", "--last", "12", cwd=place)
    assert done.returncode == 0, done.stderr
    done = run("trainer", "rollback", cwd=place)
    assert done.returncode == 0, done.stderr
    done = run("daemon", "learn", "--json", cwd=place)
    assert json.loads(done.stdout)["result"] == "nothing new", done
    now = read_pointer(place / "checkpoints")
    assert now is not None
    assert now.run == parent.run
