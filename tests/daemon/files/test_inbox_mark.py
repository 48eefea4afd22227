"""The mark of an inbox on a drive or share: two daemons never watch it at once, and nobody is locked out."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files import inbox_mark
from daemon.files.inbox_mark import INBOX_MARK, InboxMark
from daemon.files.locks import FolderBusy
from daemon.watching.skipped import survey
from tests.filing_desk import bound_by_modes, far_folder
from tests.pictures import KINDS, draw
from tests.processes import environment, run, wait_for

_ANOTHER = """
import sys
from pathlib import Path
from daemon.files import inbox_mark
if sys.argv[3] == "share":
    inbox_mark.remote_kind = lambda path: "nfs4"
mark = inbox_mark.InboxMark(Path(sys.argv[1]), Path(sys.argv[2]))
mark.take()
print("at work", flush=True)
sys.stdin.read()
mark.release()
"""


class Another:
    """A daemon of another user: another process, with a state folder of its own."""

    def __init__(self, inbox: Path, state: Path, *, place: str = "drive") -> None:
        state.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ANOTHER, str(inbox), str(state), place],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert "at work" in self.process.stdout.readline()

    def end(self) -> None:
        self.process.communicate("")


@pytest.fixture
def inbox() -> Iterator[Path]:
    """An inbox on a drive that somebody may want to unmount."""
    with far_folder() as far:
        if far.stat().st_dev == Path("/").stat().st_dev:
            pytest.skip("there is no file system but that of /")
        (far / "inbox").mkdir()
        yield far / "inbox"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture(params=["drive", "share"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "share":
        monkeypatch.setattr(inbox_mark, "remote_kind", lambda _: "nfs4")
    return str(request.param)


def test_a_daemon_with_its_own_state_is_kept_out_and_let_in_when_the_other_ends(
    inbox: Path, state: Path, tmp_path: Path, place: str
) -> None:
    another = Another(inbox, tmp_path / "other", place=place)
    mark = InboxMark(inbox, state)
    for _ in range(2):
        with pytest.raises(FolderBusy) as refused:
            mark.take()
        assert f"another daemon is at work on {inbox} (process {another.process.pid} on " in str(refused.value)
    with pytest.raises(FolderBusy):
        mark.check()
    another.end()
    assert list(inbox.iterdir()) == [], "the other one has taken its mark away"
    mark.check()
    mark.take()
    mark.take()
    assert [file.name for file in inbox.iterdir()] == [INBOX_MARK]
    mark.release()
    assert list(inbox.iterdir()) == []


def test_a_mark_that_a_killed_daemon_left_is_taken_over(inbox: Path, state: Path, tmp_path: Path, place: str) -> None:
    another = Another(inbox, tmp_path / "other", place=place)
    another.process.kill()
    another.end()
    wait_for(lambda: another.process.poll() is not None, "its end")
    assert (inbox / INBOX_MARK).exists()
    mark = InboxMark(inbox, state)
    mark.check()
    mark.take()
    mark.release()
    assert list(inbox.iterdir()) == []


def test_an_inbox_beside_the_state_gets_no_mark(state: Path, tmp_path: Path) -> None:
    """There the folder itself is locked."""
    (tmp_path / "inbox").mkdir()
    InboxMark(tmp_path / "inbox", state).take()
    assert list((tmp_path / "inbox").iterdir()) == []


def test_on_a_drive_nothing_is_kept_open(inbox: Path, state: Path) -> None:
    InboxMark(inbox, state).take()
    opened = {os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()}
    assert not any(path.startswith(str(inbox)) for path in opened)


def test_a_mark_that_was_tidied_away_is_made_again(inbox: Path, state: Path, place: str) -> None:
    mark = InboxMark(inbox, state)
    mark.take()
    (inbox / INBOX_MARK).unlink()
    mark.take()
    assert (inbox / INBOX_MARK).exists()
    mark.release()


def test_an_inbox_that_may_not_be_written_is_watched_without_a_mark(inbox: Path, state: Path) -> None:
    inbox.chmod(0o555)
    try:
        with bound_by_modes():
            InboxMark(inbox, state).take()
    finally:
        inbox.chmod(0o755)
    assert list(inbox.iterdir()) == []


def test_who_may_only_read_the_inbox_is_kept_out_too(inbox: Path, state: Path, tmp_path: Path) -> None:
    another = Another(inbox, tmp_path / "other")
    inbox.chmod(0o555)
    (inbox / INBOX_MARK).chmod(0o444)
    try:
        with bound_by_modes(), pytest.raises(FolderBusy, match=f"process {another.process.pid} on"):
            InboxMark(inbox, state).take()
    finally:
        inbox.chmod(0o755)
        another.end()
    InboxMark(inbox, state).take()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "foreign file", "second name", "nonsense"])
def test_what_lies_there_in_its_place_stops_nobody_and_is_not_touched(
    inbox: Path, state: Path, logged: list[str], kind: str
) -> None:
    mark_path, precious = inbox / INBOX_MARK, inbox.parent / "precious"
    precious.write_bytes(b"secret")
    match kind:
        case "link":
            mark_path.symlink_to(precious)
        case "pipe":
            os.mkfifo(mark_path)
        case "folder":
            mark_path.mkdir()
        case "foreign file":
            mark_path.write_bytes(b"not ours")
        case "second name":
            mark_path.hardlink_to(precious)
        case "nonsense":
            mark_path.write_bytes(b'{"pid": "1", "boot": ["x"]}'.ljust(512))
    mark = InboxMark(inbox, state)
    for _ in range(3):
        mark.check()
        mark.take()
    if kind == "nonsense":
        assert logged == []
    else:
        assert logged == [f"{mark_path} is not a file of this program: delete it"]
        mark.release()
        assert os.path.lexists(mark_path)
    assert precious.read_bytes() == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_mark_of_a_stranger_counts_for_nothing(inbox: Path, state: Path, tmp_path: Path, logged: list[str]) -> None:
    """Whoever may put pictures into the inbox may put a mark there, too."""
    another = Another(inbox, tmp_path / "other")
    os.chown(inbox / INBOX_MARK, 65534, 65534)
    mark = InboxMark(inbox, state)
    mark.take()
    mark.take()
    (said,) = logged
    assert f"ignoring {inbox / INBOX_MARK}: it belongs to nobody" in said
    another.process.kill()
    another.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_mark_of_the_owner_of_the_inbox_counts(inbox: Path, state: Path, tmp_path: Path) -> None:
    os.chown(inbox, 65534, 65534)
    another = Another(inbox, tmp_path / "other")
    assert (inbox / INBOX_MARK).stat().st_uid == 65534, "root gives it to the owner"
    with pytest.raises(FolderBusy):
        InboxMark(inbox, state).take()
    another.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")
def test_a_stranger_who_locks_the_mark_of_a_drive_stops_nobody(inbox: Path, state: Path, logged: list[str]) -> None:
    for folder in (inbox, inbox.parent):
        folder.chmod(0o755)
    first = InboxMark(inbox, state)
    first.take()
    script = "import fcntl, os, sys; os.setuid(65534); f = os.open(sys.argv[1], os.O_RDONLY); "
    script += "fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(inbox / INBOX_MARK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        InboxMark(inbox, state).take()
        stranger.communicate(b"")
    assert logged == [f"ignoring a lock on {inbox / INBOX_MARK} that none of this user's daemons holds"]


def test_on_a_share_nobody_else_can_open_the_mark(inbox: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_mark, "remote_kind", lambda _: "cifs")
    mark = InboxMark(inbox, state)
    mark.take()
    assert (inbox / INBOX_MARK).stat().st_mode & 0o777 == 0o600
    descriptor = os.open(inbox / INBOX_MARK, os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    mark.release()


def test_the_mark_is_neither_a_picture_nor_another_file(inbox: Path, state: Path) -> None:
    InboxMark(inbox, state).take()
    assert survey(inbox, recursive=True, excluded=[]).count == 0


def test_a_second_daemon_is_refused_in_a_sentence(inbox: Path, tmp_path: Path, store: object) -> None:
    draw(KINDS[0], 1).save(inbox / "a.png")
    another = Another(inbox, tmp_path / "other")
    options = "--watch", str(inbox), "--output", "sorted", "--state-dir", "state"
    for command in (
        ["--once", *options],
        [*options],
        ["sort", "--input-dir", str(inbox), "--output-dir", "sorted"],
    ):
        done = run("daemon", *command, cwd=tmp_path)
        assert done.returncode == 2
        sentence = f"another daemon is at work on {inbox} (process {another.process.pid} on "
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert (inbox / "a.png").exists()
    another.end()
    assert run("daemon", "--once", *options, cwd=tmp_path).returncode == 0
    assert list(inbox.iterdir()) == []
