"""The mark of an output folder: which folder it is, and that two daemons never file into it at once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files.locks import FolderBusy
from daemon.files.output_mark import OUTPUT_MARK, REMEMBERED, OutputAway, OutputMark
from daemon.filing.filer import Filer, Status
from tests.filing_desk import Desk, far_folder, make_desk
from tests.pictures import KINDS, draw
from tests.processes import environment, run, wait_for

_ANOTHER = """
import sys
from pathlib import Path
from daemon.files.output_mark import OutputMark
mark = OutputMark(Path(sys.argv[1]), Path(sys.argv[2]))
with mark.at_work():
    if sys.argv[3] == "now":
        print("at work", flush=True)
        sys.stdin.read()
if sys.argv[3] == "before":
    print("was at work", flush=True)
    sys.stdin.read()
"""


class Another:
    """A daemon of another user: another process, with a state folder of its own."""

    def __init__(self, output: Path, state: Path, *, when: str) -> None:
        command = [sys.executable, "-c", _ANOTHER, str(output), str(state), when]
        self.process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert "at work" in self.process.stdout.readline()

    def end(self) -> None:
        self.process.communicate("")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return make_desk(tmp_path)


@pytest.fixture
def drive() -> Iterator[Path]:
    """A folder on a drive that somebody may want to unmount."""
    with far_folder() as far:
        if far.stat().st_dev == Path("/").stat().st_dev:
            pytest.skip("there is no file system but that of /")
        yield far


def mark_of(desk: Desk) -> OutputMark:
    return OutputMark(desk.output, desk.journal_path.parent)


@pytest.mark.parametrize("when", ["now", "before"])
def test_nobody_files_where_a_daemon_with_its_own_state_is_at_work(
    desk: Desk, tmp_path: Path, drive: Path, when: str
) -> None:
    """``before``: on a drive nothing is kept open between two batches, but that daemon is still there."""
    desk.output = drive / "sorted"
    another = Another(desk.output, tmp_path / "other", when=when)
    (filed,) = Filer(desk.output, journal=desk.journal(), mark=mark_of(desk)).file([desk.decide(desk.put())])
    assert filed.status is Status.RETRY
    assert f"another daemon is at work on {desk.output} (process {another.process.pid} on " in str(filed.error)
    another.end()
    (filed,) = Filer(desk.output, journal=desk.journal(), mark=mark_of(desk)).file(
        [desk.decide(desk.inbox / "cat.jpg")]
    )
    assert filed.status is Status.FILED


def test_on_a_file_system_that_stays_the_lock_is_kept(desk: Desk, tmp_path: Path) -> None:
    mark = mark_of(desk)
    with mark.at_work():
        pass
    other = OutputMark(desk.output, tmp_path / "other")
    if (tmp_path.stat().st_dev, Path("/").stat().st_dev).count(tmp_path.stat().st_dev) == 2:
        with pytest.raises(FolderBusy), other.at_work():
            pass
    mark.release()
    with other.at_work():
        pass


def test_a_mark_that_was_tidied_away_is_made_again(desk: Desk, tmp_path: Path) -> None:
    mark = mark_of(desk)
    with mark.at_work():
        (desk.output / OUTPUT_MARK).unlink()
    with mark.at_work(), pytest.raises(FolderBusy), OutputMark(desk.output, tmp_path / "other").at_work():
        pass
    mark.release()


def test_nobody_else_can_open_the_mark(desk: Desk) -> None:
    with mark_of(desk).at_work():
        assert (desk.output / OUTPUT_MARK).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["link", "pipe", "foreign file", "second name"])
def test_what_lies_there_in_its_place_is_said_and_not_touched(desk: Desk, tmp_path: Path, kind: str) -> None:
    desk.output.mkdir()
    place, precious = desk.output / OUTPUT_MARK, tmp_path / "precious"
    precious.write_bytes(b"secret")
    match kind:
        case "link":
            place.symlink_to(precious)
        case "pipe":
            os.mkfifo(place)
        case "foreign file":
            place.write_bytes(b"not ours")
        case "second name":
            place.hardlink_to(precious)
    with pytest.raises(FolderBusy, match=f"{OUTPUT_MARK} is not a file of this program: delete it"):
        mark_of(desk).at_work().__enter__()
    assert precious.read_bytes() == b"secret"
    place.unlink()
    with mark_of(desk).at_work():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_mark_of_another_user_is_named(desk: Desk) -> None:
    with mark_of(desk).at_work():
        pass
    os.chown(desk.output / OUTPUT_MARK, 65534, 65534)
    with pytest.raises(FolderBusy, match="belongs to the user .*: stop the daemon of that user; where there is none"):
        mark_of(desk).at_work().__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_of_the_output_can_open_what_root_made(desk: Desk) -> None:
    desk.output.mkdir()
    os.chown(desk.output, 65534, 65534)
    with mark_of(desk).at_work():
        pass
    assert (desk.output / OUTPUT_MARK).stat().st_uid == 65534


def test_nothing_is_filed_into_the_empty_mount_point_of_a_drive(desk: Desk, drive: Path, tmp_path: Path) -> None:
    """The drive was there, and at the next start only the folder is that it is mounted on."""
    mount_point = tmp_path / "mnt"
    mount_point.symlink_to(drive)
    desk.output = mount_point / "sorted"
    assert desk.file([desk.decide(desk.put("a.jpg"))], mark=mark_of(desk))[0].status is Status.FILED
    mount_point.unlink()
    mount_point.mkdir()
    mark = mark_of(desk)
    assert mark.why_away() is not None
    (filed,) = desk.file([desk.decide(desk.put("b.jpg"))], mark=mark)
    assert filed.status is Status.RETRY
    memory = desk.journal_path.parent / REMEMBERED
    assert str(filed.error).endswith(
        f"the output folder {desk.output} is not the one that images were filed into before: mount its drive; or, "
        f"if this is the right one, delete {memory}."
    )
    assert list(mount_point.iterdir()) == []
    mount_point.rmdir()
    mount_point.symlink_to(drive)
    assert desk.file([desk.decide(desk.inbox / "b.jpg")], mark=mark)[0].status is Status.FILED
    assert sorted(desk.filed()) == ["cat/a.jpg", "cat/b.jpg"]


def test_another_output_at_the_same_place_is_taken_when_its_owner_says_so(
    desk: Desk, drive: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.symlink_to(drive)
    desk.output = place / "sorted"
    desk.file([desk.decide(desk.put("a.jpg"))], mark=mark_of(desk))
    place.unlink()
    place.mkdir()
    mark = mark_of(desk)
    with pytest.raises(OutputAway), mark.at_work():
        pass
    (desk.journal_path.parent / REMEMBERED).unlink()
    assert desk.file([desk.decide(desk.put("b.jpg"))], mark=mark)[0].status is Status.FILED


def test_an_output_that_was_moved_to_another_drive_is_known(desk: Desk, drive: Path) -> None:
    desk.file([desk.decide(desk.put("a.jpg"))], mark=mark_of(desk))
    shutil.copytree(desk.output, drive / "sorted")
    shutil.rmtree(desk.output)
    desk.output.symlink_to(drive / "sorted")
    assert desk.file([desk.decide(desk.put("b.jpg"))], mark=mark_of(desk))[0].status is Status.FILED


@pytest.mark.parametrize("how", ["emptied", "deleted"])
def test_an_output_that_was_emptied_is_taken_as_it_is(desk: Desk, how: str) -> None:
    desk.file([desk.decide(desk.put("a.jpg"))], mark=mark_of(desk))
    shutil.rmtree(desk.output)
    if how == "emptied":
        desk.output.mkdir()
    assert mark_of(desk).why_away() is None
    assert desk.file([desk.decide(desk.put("b.jpg"))], mark=mark_of(desk))[0].status is Status.FILED


def test_a_stranger_who_locks_what_he_may_read_stops_nobody(desk: Desk) -> None:
    desk.output.mkdir()
    stranger = os.open(desk.output, os.O_RDONLY)
    fcntl.flock(stranger, fcntl.LOCK_EX)
    assert desk.file([desk.decide(desk.put())], mark=mark_of(desk))[0].status is Status.FILED
    os.close(stranger)


def test_the_mark_outlives_a_kill(desk: Desk, tmp_path: Path) -> None:
    another = Another(desk.output, desk.journal_path.parent, when="now")
    number = (desk.journal_path.parent / REMEMBERED).read_bytes()
    another.process.kill()
    another.end()
    wait_for(lambda: another.process.poll() is not None, "its end")
    with mark_of(desk).at_work():
        assert (desk.journal_path.parent / REMEMBERED).read_bytes() == number


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_daemon_that_starts_before_the_drive_is_mounted_waits_for_it(tmp_path: Path, store: object) -> None:
    drive, inbox = tmp_path / "drive", tmp_path / "inbox"
    drive.mkdir()
    inbox.mkdir()
    command = ["--output", str(drive / "sorted"), "--once"]
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(drive)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    try:
        draw(KINDS[0], 1).save(inbox / "a.png")
        assert run("daemon", *command, cwd=tmp_path).returncode == 0
        subprocess.run(["mount", "--move", str(drive), str(mounted)], check=True)
        draw(KINDS[0], 2).save(inbox / "b.png")
        done = run("daemon", *command, cwd=tmp_path)
        assert done.returncode == 3
        assert f"filing is paused: the output folder {drive}/sorted is not the one" in done.stderr
        assert list(drive.iterdir()) == []
        assert (
            "is not the one that images were filed into" in run("daemon", "doctor", *command[:2], cwd=tmp_path).stdout
        )
        subprocess.run(["mount", "--move", str(mounted), str(drive)], check=True)
        assert run("daemon", *command, cwd=tmp_path).returncode == 0
        assert list(inbox.iterdir()) == []
    finally:
        for folder in (drive, mounted):
            subprocess.run(["umount", str(folder)], capture_output=True)
