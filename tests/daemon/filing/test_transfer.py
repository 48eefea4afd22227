"""Filing across file systems, and on file systems that lack a call."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from daemon.files import copying, renaming
from daemon.files.renaming import FileAt
from daemon.filing import transfer
from daemon.filing.filer import Action, Filer, Status
from daemon.filing.recovery import recover
from daemon.journal.journal import read_history
from daemon.journal.records import State
from tests.filing_desk import Desk, Seam, bound_by_modes, failing, far_folder, images, make_desk, tree
from tests.processes import opened


@pytest.fixture(params=["another file system", "no rename", "neither rename nor link", "bind mount"])
def needs_care(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Desk, str]]:
    """Every case in which a plain rename cannot do it."""
    kind = str(request.param)
    if kind == "another file system":
        with far_folder() as folder:
            yield make_desk(tmp_path, folder), kind
        return
    if kind == "bind mount":
        # Every call between two mounts of one file system says EXDEV, though the device numbers are equal.
        folders = str((tmp_path / "inbox").resolve())
        monkeypatch.setattr(renaming, "rename_noreplace", _refusing_between(folders, renaming.rename_noreplace))
        monkeypatch.setattr(renaming, "link", _refusing_between(folders, renaming.link))
    else:
        monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
        if kind == "neither rename nor link":
            monkeypatch.setattr(renaming, "link", failing(errno.EPERM))
    yield make_desk(tmp_path), kind


def _refusing_between(inbox: str, real: Seam) -> Seam:
    def call(old: FileAt, new: FileAt) -> None:
        places = {str(Path(f"/proc/self/fd/{entry.folder}").readlink()).startswith(inbox) for entry in (old, new)}
        if len(places) == 2:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(old, new)

    return call


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_images_arrive_whole_whatever_the_file_system_lacks(needs_care: tuple[Desk, str], action: Action) -> None:
    desk, _ = needs_care
    contents = [b"", b"a", os.urandom(3_000_000), b"b"]
    paths = [desk.put(f"{number}.jpg", content) for number, content in enumerate(contents)]
    outcomes = desk.file([desk.decide(path) for path in paths], action=action)
    assert [outcome.status for outcome in outcomes] == [Status.FILED] * 4
    assert desk.filed() == {f"cat/{number}.jpg": content for number, content in enumerate(contents)}
    assert [path.name for path in images(desk.inbox)] == ([] if action == "move" else [path.name for path in paths])
    assert {row.state for row in read_history(desk.journal_path)} == {State.DONE}


def test_names_that_are_taken_are_not_replaced_either(needs_care: tuple[Desk, str]) -> None:
    desk, _ = needs_care
    for content in (b"first", b"second", b"third"):
        desk.file_one(desk.put("cat.jpg", content))
    assert desk.filed() == {"cat/cat.jpg": b"first", "cat/cat_2.jpg": b"second", "cat/cat_3.jpg": b"third"}


def test_whoever_is_quicker_keeps_the_name(needs_care: tuple[Desk, str], monkeypatch: pytest.MonkeyPatch) -> None:
    desk, _ = needs_care
    theirs: list[str] = []

    def quicker(real: Seam) -> Seam:
        def call(old: FileAt, new: FileAt) -> None:
            if not new.name.startswith(".") and not new.exists() and len(theirs) < 3:
                os.close(os.open(new.name, os.O_CREAT | os.O_EXCL, dir_fd=new.folder))
                theirs.append(new.name)
            real(old, new)

        return call

    monkeypatch.setattr(renaming, "rename_noreplace", quicker(renaming.rename_noreplace))
    filed = desk.file_one(desk.put(content=b"ours"))
    assert filed.destination is not None
    assert filed.destination.read_bytes() == b"ours"
    assert theirs[0] == "cat.jpg"
    assert desk.contents() == Counter([b""] * len(theirs) + [b"ours"])


@pytest.mark.parametrize("action", ["move", "copy"])
def test_a_file_written_to_while_it_is_copied_stays(far: Desk, monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    path = far.put(content=b"decided on")
    decision = far.decide(path)
    copy = copying.copy_bytes

    def while_written(source: int, target: int | None, before: os.stat_result) -> str | None:
        status = path.stat()
        path.write_bytes(b"written to")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return copy(source, target, before)

    monkeypatch.setattr(copying, "copy_bytes", while_written)
    (filed,) = far.file([decision], action=action)
    assert filed.status is Status.CHANGED
    assert path.read_bytes() == b"written to"
    assert images(far.output) == []


def test_a_new_image_of_the_same_name_is_not_dropped_for_the_old_one(
    far: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = far.put(content=b"old")
    drop = renaming.drop

    def replaced(entry: FileAt, *more: Any) -> bool:
        path.with_name(".new").write_bytes(b"new")
        path.with_name(".new").rename(path)
        return drop(entry, *more)

    monkeypatch.setattr(renaming, "drop", replaced)
    assert far.file_one(path).status is Status.FILED
    assert far.contents() == Counter([b"old", b"new"])
    assert path.read_bytes() == b"new"


def test_an_inbox_from_which_nothing_can_be_taken_gets_no_copies_made(far: Desk) -> None:
    path = far.put()
    decision = far.decide(path)
    far.inbox.chmod(0o555)
    with bound_by_modes():
        outcomes = [far.file([decision])[0] for _ in range(3)]
    far.inbox.chmod(0o755)
    assert {outcome.status for outcome in outcomes} == {Status.RETRY}
    assert images(far.output) == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("seam", ["os.write", "os.fsync", "os.utime", "renaming.rename_noreplace", "copying.create"])
def test_an_error_on_the_way_leaves_the_image_for_later_and_nothing_else(
    far: Desk, monkeypatch: pytest.MonkeyPatch, seam: str, code: int
) -> None:
    target = {"os": os, "renaming": renaming, "copying": copying}[seam.split(".")[0]]
    paths = [far.put("first.jpg", b"first"), far.put("second.jpg", b"second")]
    decisions = [far.decide(path) for path in paths]
    far.file_one(far.put("zeroth.jpg", b"zeroth"))
    name = seam.split(".")[1]
    real = getattr(target, name)
    before = tree(far.inbox)
    with monkeypatch.context() as patch:
        patch.setattr(target, name, failing(code))
        outcomes = far.file(decisions)
    assert {outcome.status for outcome in outcomes} == {Status.RETRY}
    assert tree(far.inbox) == before
    assert far.filed() == {"cat/zeroth.jpg": b"zeroth"}
    assert far.journal().interrupted() == []
    with monkeypatch.context() as patch:
        patch.setattr(target, name, failing(code, after=1, real=real))
        far.file(decisions)
    assert far.contents() == Counter([b"zeroth", b"first", b"second"]), "in exactly one place each"
    retried = far.file([far.decide(path) for path in paths if path.exists()])
    assert {outcome.status for outcome in retried} <= {Status.FILED}
    assert images(far.inbox) == []


def test_copies_are_written_before_the_first_is_flushed_but_not_too_many(
    far: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    create, fsync = copying.create, os.fsync

    def creating(entry: FileAt, *more: Any) -> int:
        calls.append("create" if entry.name.startswith(".part") else "")
        return create(entry, *more)

    def flushing(descriptor: int) -> None:
        calls.append("flush" if ".part" in str(Path(f"/proc/self/fd/{descriptor}").readlink()) else "")
        fsync(descriptor)

    monkeypatch.setattr(transfer, "COPIES_AT_ONCE", 2)
    monkeypatch.setattr(copying, "create", creating)
    monkeypatch.setattr(os, "fsync", flushing)
    before = opened()
    outcomes = far.file([far.decide(far.put(f"{number}.jpg")) for number in range(5)])
    assert {outcome.status for outcome in outcomes} == {Status.FILED}
    assert [call for call in calls if call] == 2 * [*2 * ["create"], *2 * ["flush"]] + ["create", "flush"]
    assert opened() <= before


def test_a_flush_that_fails_costs_that_copy_and_is_not_repeated(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def failing_once(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        if len([name for name in flushed if name.startswith(".part")]) == 2:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    far.file_one(far.put("zeroth.jpg"))
    decisions = [far.decide(far.put(f"{number}.jpg", b"%d" % number)) for number in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_once)
        outcomes = far.file(decisions)
    assert [outcome.status for outcome in outcomes] == [Status.FILED, Status.RETRY, Status.FILED]
    parts = [name for name in flushed if name.startswith(".part")]
    assert len(parts) == len(set(parts)) == 3
    assert [path.name for path in images(far.inbox)] == ["1.jpg"]
    assert sorted(far.filed()) == ["cat/0.jpg", "cat/2.jpg", "cat/zeroth.jpg"]


def test_an_empty_file_of_somebody_is_not_taken_for_an_unfinished_copy(
    near: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    near.file_one(near.put("before.jpg"))
    (near.output / "cat" / "cat.jpg").touch()
    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", failing(errno.EPERM))
    create, decision = copying.create, near.decide(near.put())

    def dying(entry: FileAt, *more: Any) -> int:
        if entry.name.startswith("cat"):
            raise KeyboardInterrupt
        return create(entry, *more)

    with monkeypatch.context() as patch:
        patch.setattr(copying, "create", dying)
        with pytest.raises(KeyboardInterrupt):
            near.file([decision])
    journal = near.journal()
    recover(journal)
    assert journal.interrupted() == []
    assert near.filed() == {"cat/before.jpg": b"an image", "cat/cat.jpg": b""}


def test_what_can_neither_be_finished_nor_taken_back_is_not_copied_again_and_again(
    far: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    filer = Filer(far.output, journal=far.journal())
    decisions = [far.decide(far.put("first.jpg", b"first")), far.decide(far.put("second.jpg", b"second"))]
    with monkeypatch.context() as patch:
        patch.setattr(renaming, "drop", failing(errno.EIO))
        for _ in range(3):
            assert {outcome.status for outcome in filer.file(decisions)} == {Status.RETRY}
            assert far.contents() == Counter([b"first", b"second"] * 2)
    assert {outcome.status for outcome in filer.file(decisions)} == {Status.GONE}
    assert far.filed() == {"cat/first.jpg": b"first", "cat/second.jpg": b"second"}


def test_a_share_may_stamp_our_own_copy_at_any_time(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As rclone does, when it has uploaded what was written."""
    read, stamps = os.read, count(1)

    def read_and_stamp(descriptor: int, size: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith(".part."):
            os.utime(descriptor, (1, next(stamps)))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_and_stamp)
    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", failing(errno.EIO))
    assert far.file_one(far.put()).status is Status.FILED
    assert far.filed() == {"cat/cat.jpg": b"an image"}
    assert images(far.inbox) == []


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_an_original_that_cannot_be_dropped_costs_its_copy(
    far: Desk, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = far.put()
    real, inbox = renaming.drop, far.inbox.stat().st_ino

    def failing_in_the_inbox(entry: FileAt, *more: Any) -> bool:
        if os.fstat(entry.folder).st_ino == inbox:
            raise OSError(code, os.strerror(code))
        return real(entry, *more)

    monkeypatch.setattr(renaming, "drop", failing_in_the_inbox)
    assert far.file_one(path).status is Status.RETRY
    assert path.exists()
    assert far.filed() == {}
    assert far.journal().interrupted() == []


def test_an_original_that_may_come_back_keeps_its_row_open(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync
    inbox = far.inbox.stat().st_ino

    def failing_in_the_inbox(file: int) -> None:
        if os.fstat(file).st_ino == inbox:
            raise OSError(errno.EIO, "Input/output error")
        sync(file)

    monkeypatch.setattr(os, "fsync", failing_in_the_inbox)
    assert far.file_one(far.put()).status is Status.FILED
    assert [row.state for row in far.journal().interrupted()] == [State.COPIED]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        desk = make_desk(tmp_path, disk)
        (disk / "ballast").write_bytes(b"x" * 600_000)
        large, small = desk.put("large.jpg", b"l" * 600_000), desk.put("small.jpg", b"s")
        first, second = desk.file([desk.decide(large), desk.decide(small)])
        assert first.status is Status.RETRY
        assert first.error == f"{str(large)!r} cannot be filed now: No space left on device."
        assert second.status is Status.FILED
        assert desk.filed() == {"cat/small.jpg": b"s"}
        (disk / "ballast").unlink()
        assert desk.file_one(large).status is Status.FILED
        assert desk.contents() == Counter([b"s", b"l" * 600_000])


def test_a_file_over_the_limit_goes_to_quarantine_across_file_systems(far: Desk) -> None:
    path = far.put(content=b"x" * 100)
    bad = far.decide(path, "quarantine/too-large", max_bytes=10, label=None, reason="too-large")
    (filed,) = far.file([bad])
    assert filed.status is Status.FILED
    assert far.contents() == Counter([b"x" * 100])
    (row,) = read_history(far.journal_path)
    assert row.sha256 is not None, "what is copied is hashed at last"


@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("two", [False, True])
def test_where_inode_numbers_mean_nothing_the_content_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Action, two: bool
) -> None:
    """As on a CIFS mount with noserverino: every look gives another number."""
    numbers = count(1 << 40)
    real = os.stat

    def renumbered(*arguments: Any, **more: Any) -> os.stat_result:
        status = real(*arguments, **more)
        if not stat.S_ISREG(status.st_mode):
            return status
        times = {name: getattr(status, name) for name in ("st_mtime_ns", "st_atime_ns")}
        return os.stat_result([status.st_mode, next(numbers), *status[2:]], times)

    with far_folder() as far:
        desk = make_desk(tmp_path, far if two else None)
        path = desk.put(content=b"first")
        monkeypatch.setattr(os, "stat", renumbered)
        assert desk.file_one(path, action=action).status is Status.FILED
        if action != "move":
            assert desk.file_one(path, action=action).status is Status.ALREADY
        path.unlink(missing_ok=True)
        decision = desk.decide(desk.put(content=b"other"))
        os.utime(path, ns=(0, decision.source.identity.mtime_ns + 1))
        (filed,) = desk.file([decision], action=action)
        assert filed.status is Status.CHANGED
        path.write_bytes(b"OTHER")
        os.utime(path, ns=(0, decision.source.identity.mtime_ns))
        (filed,) = desk.file([decision], action=action)
        assert filed.status is Status.CHANGED
        assert list(desk.filed().values()) == [b"first"]
        monkeypatch.undo()
