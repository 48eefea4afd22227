"""What people and other programs do to folders, pictures and runs while lessons are given: filing goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints import checkpoint
from tests.journeys.pictures_filed import file_pictures
from tests.pictures import save
from tests.processes import Daemon, children, daemon, run, wait_for

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


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 64 MB; skips where none can be mounted."""
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder]).returncode:
        pytest.skip("needs root, to mount a disk of its own")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Write a file that takes all the room there is."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_full_disk_is_said_once_and_the_next_lesson_goes(place: Path) -> None:
    with small_disk(place / "disk") as disk:
        runs = shutil.copytree(place / "checkpoints", disk / "checkpoints")
        (place / "config.toml").write_text(f'checkpoint = "{runs}"\n{SETTINGS}')
        filler = fill(disk)
        with daemon(place) as running:
            dragged = drag(place, file_pictures(place, "discs", range(8)), "discs")
            wait_for(lambda: learning(place)["lessons"].get("impossible") == 1, running.log())
            drag(place, dragged[:1], "others")
            wait_for(lambda: learning(place)["lessons"].get("impossible") == 2, running.log())
            assert running.log().count("nothing is learned from") == 1, running.log()
            (filed,) = file_pictures(place, "stripes", range(50, 51))
            assert filed.parent.name == "stripes"
            assert len([path for path in runs.iterdir() if path.is_dir()]) == 1, "nothing of a lesson is left"
            filler.unlink()
            drag(place, dragged[1:2], "others")
            wait_for_lessons(place, running, lambda now: now["lessons"].get("published") == 1)
            (filed,) = file_pictures(place, "discs", range(50, 51))
            assert filed.parent.name == "discs"
            assert running.terminate() == 0
        assert "internal error" not in running.log()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lesson_that_hangs_is_ended_and_the_next_one_goes(place: Path) -> None:
    settings = place / "config.toml"
    settings.write_text(f"{SETTINGS}learn_seconds = 5\n")
    with daemon(place) as running:
        dragged = drag(place, file_pictures(place, "discs", range(8)), "discs")
        lesson = [0]

        def has_begun() -> bool:
            lesson[:] = [pid for pid in children(running.process.pid) if b"\0learn\0" in command_of(pid)]
            return bool(lesson)

        wait_for(has_begun, running.log())
        os.kill(lesson[0], signal.SIGSTOP)
        (filed,) = file_pictures(place, "stripes", range(50, 51))
        assert filed.parent.name == "stripes"
        running.wait_until_said("it took longer than 5 s (learn_seconds)")
        settings.write_text(SETTINGS)
        assert run("daemon", "reload", cwd=place).returncode == 0
        drag(place, dragged[:1], "others")
        wait_for_lessons(place, running, lambda now: now["lessons"].get("published") == 1)
        assert running.terminate() == 0
    assert "internal error" not in running.log()


def command_of(pid: int) -> bytes:
    """The words of a process, which may have ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_labels_that_flip_and_contradict_each_other_count_as_the_last_one_says(place: Path) -> None:
    """Copies of one picture in two folders are one label."""
    with daemon(place) as running:
        discs = drag(place, file_pictures(place, "discs", range(8)), "discs")
        checks = drag(place, file_pictures(place, "checks", range(8)), "checks")
        wait_for_lessons(
            place, running, lambda _: {"checks", "discs"} < set(checkpoint.load(place / "checkpoints").metadata.classes)
        )
        drag(place, discs, "rings")
        for path in checks[:2]:
            shutil.copy(path, place / "sorted" / "rings")
        drag(place, checks[2:3], "fog")
        wanted = {"checks", "fog", "rings", "stripes"}
        wait_for(lambda: set(checkpoint.load(place / "checkpoints").metadata.classes) == wanted, running.log())
        wait_for_lessons(place, running, lambda _: True)
        (filed,) = file_pictures(place, "discs", range(50, 51))
        assert filed.parent.name == "rings"
        done = run("daemon", "labels", "--json", cwd=place)
        said = {Path(label["path"]).name: label["class"] for label in json.loads(done.stdout)}
        assert said["checks2.png"] == "fog"
        assert said["discs0.png"] == "rings"
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
