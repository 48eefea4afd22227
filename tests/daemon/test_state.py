"""Where the state is, and that no two daemons work on one folder."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.state import journal_path, lock
from models.errors import UserError


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder, with a link to it beside it."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    (tmp_path / "link").symlink_to("inbox")
    return folder


@pytest.mark.parametrize("state", ["state", "other"])
@pytest.mark.parametrize("name", ["inbox", "link", "link/../inbox"])
def test_a_folder_is_locked_by_whatever_name_and_state(tmp_path: Path, inbox: Path, name: str, state: str) -> None:
    with lock(tmp_path / "state", [inbox]), pytest.raises(UserError, match=f"another daemon is at work on {inbox}:"):
        lock(tmp_path / state, [tmp_path / "elsewhere", tmp_path / name])
    lock(tmp_path / state, [tmp_path / name]).close()


def test_nothing_stays_locked_where_one_folder_is_refused(tmp_path: Path, inbox: Path) -> None:
    free = tmp_path / "free"
    free.mkdir()
    with lock(tmp_path / "state", [inbox]), pytest.raises(UserError):
        lock(tmp_path / "other", [free, inbox])
    lock(tmp_path / "other", [free]).close()


def test_a_folder_given_twice_does_not_lock_itself_out(tmp_path: Path, inbox: Path) -> None:
    with lock(tmp_path / "state", [inbox, tmp_path / "link", inbox]):
        pass


def test_a_folder_that_was_made_again_is_still_locked(tmp_path: Path, inbox: Path) -> None:
    with lock(tmp_path / "state", [inbox]):
        inbox.rename(tmp_path / "old")
        inbox.mkdir()
        with pytest.raises(UserError, match="at work on"):
            lock(tmp_path / "state", [inbox])


@pytest.fixture
def plugged() -> Iterator[Path]:
    """A folder on a file system that may be unmounted."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == Path("/").stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder).resolve()


def test_a_folder_that_may_be_unmounted_is_locked_but_not_held_open(tmp_path: Path, plugged: Path) -> None:
    with lock(tmp_path / "state", [plugged, tmp_path]):
        opened = {os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()}
        assert str(tmp_path.resolve()) in opened
        assert str(plugged) not in opened
        with pytest.raises(UserError, match="at work on"):
            lock(tmp_path / "state", [plugged])


def test_a_folder_that_may_be_unmounted_is_known_by_another_name(tmp_path: Path, plugged: Path) -> None:
    (plugged / "inbox").mkdir()
    with lock(tmp_path / "state", [plugged / "inbox"]):
        (plugged / "inbox").rename(plugged / "renamed")
        with pytest.raises(UserError, match="at work on"):
            lock(tmp_path / "state", [plugged / "renamed"])


def test_a_file_system_that_locks_no_folders_still_has_the_state_folder(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def picky(descriptor: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EBADF, "as NFS does")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", picky)
    with lock(tmp_path / "state", [inbox]), pytest.raises(UserError, match="at work on"):
        lock(tmp_path / "state", [inbox])


def test_a_state_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path, inbox: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the state folder .* cannot be written .*: give a writable one"):
        lock(tmp_path / "file", [inbox])


def test_the_journal_goes_with_the_folder_not_with_its_name(tmp_path: Path, inbox: Path) -> None:
    state = tmp_path / "state"
    assert journal_path(state, tmp_path / "link") == journal_path(state, inbox)
    assert journal_path(state, tmp_path / "elsewhere" / "inbox") != journal_path(state, inbox)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")
def test_the_lock_of_a_stranger_counts_for_nothing(tmp_path: Path, inbox: Path, logged: list[str]) -> None:
    """Everybody who may read a folder may lock it."""
    inbox.chmod(0o755)
    script = "import fcntl, os, sys; os.setuid(65534); f = os.open('.', os.O_RDONLY); fcntl.flock(f, fcntl.LOCK_EX); "
    script += "print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=inbox, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        lock(tmp_path / "state", [inbox]).close()
        stranger.communicate(b"")
    assert logged == [f"ignoring a lock on {inbox} that none of this user's daemons holds"]


def test_the_locks_in_the_state_folder_are_nobody_elses(tmp_path: Path, inbox: Path) -> None:
    (tmp_path / "state" / "locks").mkdir(parents=True)
    (tmp_path / "state" / "locks").chmod(0o755)
    with lock(tmp_path / "state", [inbox]):
        assert (tmp_path / "state" / "locks").stat().st_mode & 0o777 == 0o700
