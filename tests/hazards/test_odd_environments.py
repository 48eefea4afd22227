"""Environments that a shell, a container or a service manager may give the programs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save
from tests.processes import ROOT, environment

DAEMON = f"{shlex.quote(sys.executable)} -m daemon"
ONCE = f"{DAEMON} --once --threshold 0"


def shell(line: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], cwd=cwd, env=environment() | more, capture_output=True, text=True)


def filed(cwd: Path) -> list[str]:
    return sorted(path.name for path in (cwd / "sorted").rglob("*.png"))


@pytest.fixture
def scene(tmp_path: Path, publish: Publish) -> Path:
    """A folder with an inbox of one image, and a checkpoint."""
    publish(tmp_path / "checkpoints")
    (tmp_path / "inbox").mkdir()
    save(KINDS[0], 1, tmp_path / "inbox" / "image.png")
    return tmp_path


@pytest.mark.parametrize("package", ["daemon", "trainer", "models"])
def test_what_pythonpath_names_stays(package: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import atexit, sys\natexit.register(lambda: print(*sys.path, sep='\\n'))\n")
    path = f"{site}{os.pathsep}{ROOT}"
    done = shell(f"{shlex.quote(sys.executable)} -m {package} --help", tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert {str(site), str(ROOT)} < set(done.stdout.splitlines())
    assert str(tmp_path) not in done.stdout.splitlines()


def test_a_working_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; {DAEMON} history", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "daemon: the current folder was deleted: go to another one with cd, and try again"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_images_are_filed_where_standard_streams_are_closed(closed: str, scene: Path) -> None:
    done = shell(f"{ONCE} {closed}", scene)
    assert (done.returncode, filed(scene)) == (0, ["image.png"])
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("zone", ["<+99>-99", "XXX25", "AAA+24:00"])
def test_a_time_zone_that_cannot_be_is_refused_in_one_sentence(zone: str, tmp_path: Path) -> None:
    done = shell(f"{DAEMON} history", tmp_path, TZ=zone)
    assert done.returncode == 2
    assert done.stderr == (
        f"daemon: the time zone {zone} is a day or more away from UTC: set TZ to another, for example TZ=Asia/Seoul\n"
    )


def test_metrics_of_a_run_that_ends_by_itself_stay(scene: Path) -> None:
    done = shell(f"{ONCE} --metrics-file once.prom", scene)
    assert done.returncode == 0, done.stderr
    assert "imagesortd_filed_total" in (scene / "once.prom").read_text()


def test_few_open_files_are_more_where_the_system_lets_them(scene: Path) -> None:
    done = shell(f"ulimit -S -n 24; {ONCE}", scene)
    assert (done.returncode, filed(scene)) == (0, ["image.png"]), done.stderr


def test_too_few_open_files_are_refused(scene: Path) -> None:
    done = shell(f"ulimit -n 24; {ONCE}", scene)
    assert done.returncode == 2
    assert "only 24 files open at a time: allow 64 at least" in done.stderr
    assert filed(scene) == []


def test_images_are_filed_without_proc(scene: Path) -> None:
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("hiding /proc takes root and unshare")
    if shell("unshare -m mount -t tmpfs none /proc", scene).returncode:
        pytest.skip("this system lets nobody hide /proc")
    done = shell(f"unshare -m sh -c {shlex.quote(f'mount -t tmpfs none /proc && {ONCE}')}", scene)
    assert (done.returncode, filed(scene)) == (0, ["image.png"]), done.stderr
