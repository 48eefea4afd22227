"""Where the socket lies, who may connect, and what is there already."""

from __future__ import annotations

import grp
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.control import listening
from daemon.control.listening import Listener, NoControl, is_admitted
from daemon.state import LONGEST_SOCKET_PATH
from tests.processes import environment

_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refuse(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    return connection


def test_only_its_user_may_use_it_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "new" / "control.sock"
    before = os.umask(0)
    try:
        listener = Listener(path)
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    assert sorted(path.parent.iterdir()) == [path]
    listener.close()
    assert list(path.parent.iterdir()) == []


def test_it_is_never_open_to_others_not_even_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    listen = socket.socket.listen

    def spied(bound: socket.socket, backlog: int) -> None:
        path = Path(bound.getsockname())
        modes.append((mode(path), mode(path.parent)))
        listen(bound, backlog)

    monkeypatch.setattr(socket.socket, "listen", spied)
    Listener(tmp_path / "control.sock").close()
    assert modes == [(0o600, 0o700)]


def test_one_that_was_left_by_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    Listener(path).socket.close()
    (tmp_path / ".control").mkdir()
    (tmp_path / ".control" / "s").touch()
    listener = Listener(path)
    connect(path).close()
    listener.close()


def test_one_at_which_somebody_answers_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = Listener(path)
    with pytest.raises(NoControl, match="another program listens there"):
        Listener(path)
    connect(path).close()
    first.close()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(NoControl, match="another file lies there"):
        Listener(path)
    assert path.read_text() == "mine"


def test_one_that_another_has_put_in_its_place_stays_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    listener = Listener(path)
    path.unlink()
    path.write_text("mine")
    listener.close()
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_said_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 110) / "control.sock"
    with pytest.raises(NoControl, match="longer than 107 bytes.*--state-dir"):
        Listener(path)
    assert not path.parent.exists()


def test_the_longest_path_works(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * (LONGEST_SOCKET_PATH - len(str(tmp_path)) - len("//control.sock")))
    listener = Listener(folder / "control.sock")
    assert len(str(listener.path)) == LONGEST_SOCKET_PATH
    connect(listener.path).close()
    listener.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NoControl, match="cannot be made"):
        Listener(tmp_path / "file" / "control.sock")


def test_a_group_that_is_not_there_leaves_it_to_the_user(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "control.sock", "no-such-group")
    assert (mode(listener.path), listener.group) == (0o600, None)
    listener.close()


def test_its_own_group_is_let_in(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "control.sock", grp.getgrgid(os.getegid()).gr_name)
    assert (mode(listener.path), listener.path.stat().st_gid) == (0o660, os.getegid())
    listener.close()


def test_a_group_whose_file_it_cannot_make_is_let_in_by_an_access_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the unit, whose processes cannot give files away."""
    monkeypatch.setattr(os, "chown", refuse)
    try:
        os.setxattr(tmp_path, "system.posix_acl_access", listening.access_list(12345))
        os.removexattr(tmp_path, "system.posix_acl_access")
    except OSError:
        pytest.skip("no access lists on this file system")
    listener = Listener(tmp_path / "control.sock", "12345")
    assert listener.group == 12345
    assert os.getxattr(listener.path, "system.posix_acl_access") == listening.access_list(12345)
    assert mode(listener.path) == 0o660
    listener.close()


_KNOCK = """
import os, socket, sys
os.setgroups(eval(sys.argv[3]))
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
socket.socket(socket.AF_UNIX).connect(sys.argv[1])
"""


def knock(path: Path, user: int, *groups: int) -> bool:
    """Whether a user in these groups can connect."""
    done = subprocess.run(
        [sys.executable, "-c", _KNOCK, str(path), str(user), repr(list(groups))],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0


def admits(listener: Listener) -> bool:
    """Whether it lets in who has connected."""
    connection, _ = listener.socket.accept()
    with connection:
        return is_admitted(connection, listener.group)


@_AS_ROOT
@pytest.mark.parametrize("by_list", [False, True])
def test_a_member_of_the_group_is_let_in_and_nobody_else(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch, by_list: bool
) -> None:
    if by_list:
        monkeypatch.setattr(os, "chown", refuse)
    listener = Listener(public_folder / "control.sock", "54321")
    if listener.group is None:
        pytest.skip("no access lists on this file system")
    assert knock(listener.path, 1234, 54321)
    assert admits(listener)
    assert not knock(listener.path, 1234, 54322)
    assert not knock(listener.path, 1234)
    assert knock(listener.path, 0)
    assert admits(listener)
    listener.path.chmod(0o666)  # somebody opens it to all
    assert knock(listener.path, 1234)
    assert not admits(listener)
    listener.close()
