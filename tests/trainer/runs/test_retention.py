"""Which runs stay: the newest, the current, the one before, and whatever a daemon uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.reloading.checkpoint_source import Leases
from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import FILE_NAME, POINTER
from models.weights.store import WeightsStore
from tests.processes import environment
from trainer.fit import FitOutcome
from trainer.runs.folder import METRICS
from trainer.runs.publish import publish, rollback
from trainer.runs.retention import publishing_lock, retain


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six runs a to f, the first one the oldest, with nothing in them that anybody reads."""
    for age, name in enumerate("fedcba"):
        make(tmp_path / name, age)
    return tmp_path


def make(run: Path, age: int) -> None:
    run.mkdir()
    (run / METRICS).write_text("{}")
    (run / FILE_NAME).write_bytes(b"weights")
    os.utime(run / FILE_NAME, (10**9 - age, 10**9 - age))


def names(folder: Path) -> str:
    return "".join(sorted(path.name for path in folder.iterdir()))


def test_the_newest_and_the_needed_stay(folder: Path) -> None:
    assert retain(folder, 2, {"b"}) == ["d", "c", "a"]
    assert names(folder) == "bef"
    assert retain(folder, 2, {"b"}) == []


def test_none_is_removed_where_all_are_to_stay(folder: Path) -> None:
    assert retain(folder, 0, set()) == []
    assert names(folder) == "abcdef"


def test_what_no_fit_has_made_stays(folder: Path) -> None:
    (folder / "a" / METRICS).unlink()
    (folder / "b" / FILE_NAME).unlink()
    (folder / "link").symlink_to("c")
    assert retain(folder, 1, set()) == ["e", "d", "c"]
    assert names(folder) == "abflink"


def test_a_run_in_use_stays_until_it_is_given_back(folder: Path) -> None:
    leases = Leases()
    for name in "ab":
        leases.take(folder / name / FILE_NAME)
    assert retain(folder, 1, set()) == ["e", "d", "c"]
    leases.keep([folder / "b" / FILE_NAME])
    assert retain(folder, 1, set()) == ["a"]
    leases.keep([])
    assert retain(folder, 1, set()) == ["b"]


def test_a_daemon_that_was_killed_needs_nothing(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from daemon.reloading.checkpoint_source import Leases; "
        "leases = Leases(); "
        "leases.take(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder / "a" / FILE_NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert retain(folder, 5, set()) == []
        holder.kill()
    assert retain(folder, 5, set()) == ["a"]


def test_what_a_kill_left_is_removed_next_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        assert retain(folder, 5, set()) == ["a"]
    (folder / f".{POINTER}.half").touch()
    (folder / ".run.other").mkdir()  # a fit at work
    assert len(list(folder.glob(".removed.*"))) == 1
    retain(folder, 0, set())
    assert sorted(path.name for path in folder.glob(".*")) == [".run.other"]


def test_two_publishers_wait_for_each_other(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trainer.runs.retention import publishing_lock\n"
        "with publishing_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        waiting = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        holder.stdin.close()
        assert holder.wait(300) == 0
        said, _ = waiting.communicate(b"", 30)
        assert said == b"held\n"
    with publishing_lock(folder):
        pass


def test_publishing_lets_go_of_old_runs_but_not_of_the_one_before(
    fitted: FitOutcome, store: WeightsStore, tmp_path: Path, logged: list[str]
) -> None:
    for age, name in enumerate("dcba"):
        shutil.copytree(fitted.run, tmp_path / name)
        os.utime(tmp_path / name / FILE_NAME, (10**9 - age, 10**9 - age))
    publish(tmp_path / "a", store)
    publish(tmp_path / "b", store, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["a", "b", "d"]
    assert "old runs were removed, the newest 1 stay: c" in logged
    assert rollback(tmp_path, store) == ("a", "b")
    assert checkpoints.load(tmp_path).digest == checkpoints.read(fitted.run / FILE_NAME).digest
