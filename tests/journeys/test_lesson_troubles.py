"""What people and other programs do to folders, pictures and runs while lessons are given: filing goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints import checkpoint
from tests.journeys.pictures_filed import file_pictures
from tests.pictures import save
from tests.processes import Daemon, daemon, run, wait_for

SETTINGS = 'output = "sorted"\nstate_dir = "state"\nthreshold = 0\nlearn_quiet_seconds = 1\nlearn_every_seconds = 1\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model of two kinds of pictures, published, and the settings of a daemon."""
    for kind in ("stripes", "fog"):
        for seed in range(10):
            save(kind, seed, tmp_path / "data" / kind / f"{seed}.png")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "config.toml").write_text(SETTINGS)
    done = run("trainer", "fit", "--data-dir", "data", "--mode", "efficientnet_lite0", "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def drag(place: Path, paths: list[Path], folder: str) -> list[Path]:
    target = place / "sorted" / folder
    target.mkdir(parents=True, exist_ok=True)
    return [path.rename(target / path.name) for path in paths]


def learning(place: Path) -> dict[str, Any]:
    done = run("daemon", "status", "--json", cwd=place)
    found: dict[str, Any] = json.loads(done.stdout)["learning"]
    return found


def wait_for_lessons(place: Path, running: Daemon, what: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until nothing waits and no lesson runs, and the rest holds as well."""

    def is_done() -> bool:
        now = learning(place)
        return now["running"] is None and not now["waiting"] and what(now)

    wait_for(is_done, running.log())


@pytest.mark.timeout(900)
def test_folders_and_pictures_that_vanish_or_move_leave_a_daemon_that_files_and_learns(place: Path) -> None:
    with daemon(place) as running:
        file_pictures(place, "stripes", range(30, 34))
        file_pictures(place, "fog", range(30, 34))
        dragged = drag(place, file_pictures(place, "discs", range(12)), "discs")
        for path in dragged[:3]:
            path.unlink()  # no lesson may ever see these
        (place / "sorted" / "discs").rename(place / "sorted" / "circles")
        for path in (place / "sorted" / "fog").iterdir():
            path.unlink()
        shutil.rmtree(place / "sorted" / "stripes")
        wait_for_lessons(place, running, lambda now: bool(now["lessons"].get("published")))
        classes = set(checkpoint.load(place / "checkpoints").metadata.classes)
        assert {"fog", "stripes"} < classes, "what was filed there is forgotten by nobody"
        assert classes & {"discs", "circles"}
        (filed,) = file_pictures(place, "stripes", range(50, 51))
        assert filed.parent.name == "stripes"
        (filed,) = file_pictures(place, "discs", range(50, 51))
        assert filed.parent.name in ("discs", "circles")
        assert running.terminate() == 0
    assert "internal error" not in running.log()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_the_run_in_use_the_service_files_on_and_says_why_once(place: Path) -> None:
    pointer = checkpoint.read_pointer(place / "checkpoints")
    assert pointer is not None
    with daemon(place) as running:
        shutil.rmtree(place / "checkpoints" / pointer.run)
        dragged = drag(place, file_pictures(place, "discs", range(8)), "discs")
        wait_for(lambda: learning(place)["lessons"].get("impossible") == 1, running.log())
        drag(place, dragged[:1], "others")
        wait_for(lambda: learning(place)["lessons"].get("impossible") == 2, running.log())
        assert running.log().count("nothing is learned from") == 1
        (filed,) = file_pictures(place, "stripes", range(50, 51))
        assert filed.parent.name == "stripes"
        assert running.terminate() == 0
    assert "internal error" not in running.log()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_daemons_with_one_folder_of_checkpoints_learn_from_both(place: Path) -> None:
    other = place / "other"
    (other / "inbox").mkdir(parents=True)
    (other / "config.toml").write_text(f'checkpoint = "{place / "checkpoints"}"\n{SETTINGS}')
    with daemon(place) as one, daemon(other) as two:
        drag(place, file_pictures(place, "discs", range(12)), "discs")
        one.wait_until_said("learned from 12 labels")
        drag(other, file_pictures(other, "checks", range(12)), "checks")
        two.wait_until_said("learned from 12 labels")
        wanted = {"discs", "fog", "checks", "stripes"}
        wait_for(lambda: set(checkpoint.load(place / "checkpoints").metadata.classes) == wanted, two.log() + one.log())
        wait_for(lambda: two.log().count("took over checkpoint") >= 1, two.log())
        for running, at in ((one, place), (two, other)):
            wait_for_lessons(at, running, lambda _: True)
            for kind in ("discs", "checks"):
                (filed,) = file_pictures(at, kind, range(60, 61))
                assert filed.parent.name == kind, running.log()
            assert running.terminate() == 0
            assert "internal error" not in running.log()
