"""A lock file is for whoever may write into the folder around it."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.files.ownership import make_shared_file
from tests.processes import environment

#: What a member of a group does: it becomes one (as root), and locks.
MEMBER = """
import fcntl, os, sys
from pathlib import Path
from models.files.ownership import make_shared_file
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(4712)
fcntl.flock(make_shared_file(Path(sys.argv[1])), fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
GROUP = 4711


@pytest.fixture(autouse=True, params=[0o022, 0o077, 0o007])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_group_of_the_folder_may_write_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    os.close(make_shared_file(tmp_path / "lock"))
    assert _mode(tmp_path / "lock") & 0o660 == 0o660
    assert not _mode(tmp_path / "lock") & 0o002
    assert (tmp_path / "lock").stat().st_gid == tmp_path.stat().st_gid


def test_nobody_else_may_in_a_folder_of_one_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    os.close(make_shared_file(tmp_path / "lock"))
    assert not _mode(tmp_path / "lock") & 0o022


def test_one_that_was_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    (tmp_path / "lock").touch()
    (tmp_path / "lock").chmod(0o600)
    os.close(make_shared_file(tmp_path / "lock"))
    assert _mode(tmp_path / "lock") == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        make_shared_file(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder of a group whose members can reach it."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as the members of a group")
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chown(name, 4713, GROUP)
        Path(name).chmod(0o2770)
        yield Path(name)


def _lock_as_member(path: Path, group: int) -> int:
    command = [sys.executable, "-c", MEMBER, str(path), str(group)]
    return subprocess.run(command, check=False, capture_output=True, env=environment()).returncode


def test_a_member_of_the_group_can_lock_it_and_a_stranger_cannot(theirs: Path) -> None:
    os.close(make_shared_file(theirs / "lock"))
    assert _lock_as_member(theirs / "lock", GROUP) == 0
    assert _lock_as_member(theirs / "lock", GROUP + 1) != 0


def test_a_member_can_lock_one_that_only_its_owner_may_write(theirs: Path) -> None:
    old = theirs / "lock"
    old.touch()
    old.chmod(0o644)
    assert _lock_as_member(old, GROUP) == 0
    with old.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert _lock_as_member(old, GROUP) != 0
