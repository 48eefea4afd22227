"""A writer that still has its file open loses none of its bytes, whatever made the file look stable."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.files import renaming, writers
from daemon.files.renaming import FileAt
from daemon.filing.filer import Action, Status
from daemon.filing.identity import is_as_read
from daemon.filing.recovery import recover
from daemon.journal.records import State
from tests.filing_desk import Desk, Seam, failing, far_folder, images, make_desk

FIRST, REST = b"the first half, ", b"the other half"


@pytest.fixture(params=["one file system", "another file system", "no rename", "neither rename nor link"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Every way in which an image leaves the inbox."""
    if request.param == "another file system":
        with far_folder() as folder:
            yield make_desk(tmp_path, folder)
        return
    if request.param != "one file system":
        monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    if request.param == "neither rename nor link":
        monkeypatch.setattr(renaming, "link", failing(errno.EPERM))
    yield make_desk(tmp_path)


def need_leases(folder: Path) -> None:
    path = folder / "probe"
    with path.open("wb"):
        known = writers.of_path(str(path))
    path.unlink()
    if known is not writers.Writer.PRESENT:
        pytest.skip("writers cannot be known on this file system")


def files_itself_once_closed(desk: Desk) -> None:
    """What a writer left lies in the inbox, whole, and is filed."""
    path = desk.inbox / "cat.jpg"
    assert images(desk.inbox) == [path]
    assert path.read_bytes() == FIRST + REST
    assert images(desk.output) == []
    assert desk.file_one(path).status is Status.FILED
    assert list(desk.filed().values()) == [FIRST + REST]
    assert images(desk.inbox) == []


@pytest.mark.parametrize("reason", [None, "truncated"])
def test_an_image_whose_writer_pauses_stays(desk: Desk, reason: str | None) -> None:
    need_leases(desk.inbox)
    folder = "quarantine/truncated" if reason else "cat"
    with (desk.inbox / "cat.jpg").open("wb", buffering=0) as writer:
        writer.write(FIRST)
        filed = desk.file_one(desk.inbox / "cat.jpg", folder, reason=reason)
        assert filed.status is Status.CHANGED
        writer.write(REST)
    files_itself_once_closed(desk)


@pytest.mark.parametrize("action", ["link"])
def test_an_image_whose_writer_pauses_is_not_linked(tmp_path: Path, action: Action) -> None:
    desk = make_desk(tmp_path)
    need_leases(desk.inbox)
    with (desk.inbox / "cat.jpg").open("wb", buffering=0) as writer:
        writer.write(FIRST)
        assert desk.file_one(desk.inbox / "cat.jpg", action=action).status is Status.CHANGED
        assert images(desk.output) == []
        writer.write(REST)
    assert desk.file_one(desk.inbox / "cat.jpg", action=action).status is Status.FILED


def test_a_writer_that_opens_the_file_while_it_is_filed_keeps_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens by name at the last moment, and writes at once or later."""
    need_leases(desk.inbox)
    path = desk.put(content=FIRST)
    opened: list[int] = []
    real = is_as_read

    def reopening(entry: FileAt, row: Any) -> bool:
        meant = real(entry, row)
        if not opened:
            opened.append(os.open(path, os.O_WRONLY | os.O_APPEND))
        return meant

    monkeypatch.setattr("daemon.filing.transfer.is_as_read", reopening)
    assert desk.file_one(path).status is Status.CHANGED
    os.write(opened[0], REST)
    os.close(opened[0])
    files_itself_once_closed(desk)


def test_a_writer_that_goes_on_between_copy_and_unlink_keeps_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with far_folder() as far:
        desk = make_desk(tmp_path, far)
        need_leases(desk.inbox)
        writer = (desk.inbox / "cat.jpg").open("wb", buffering=0)
        writer.write(FIRST)
        real, opened = renaming.drop, list[int]()

        def drop(*arguments: Any) -> bool:
            if not writer.closed:
                writer.write(REST)
                writer.close()
                opened.append(os.open(desk.inbox / "cat.jpg", os.O_WRONLY))
            return real(*arguments)

        monkeypatch.setattr(renaming, "drop", drop)
        assert desk.file_one(desk.inbox / "cat.jpg").status is Status.CHANGED
        monkeypatch.undo()
        os.close(opened[0])
        files_itself_once_closed(desk)


def test_a_writer_that_waits_for_our_lease_is_not_robbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens the file under the private name, at the very last moment."""
    with far_folder() as far:
        desk = make_desk(tmp_path, far)
        need_leases(desk.inbox)
        path = desk.put(content=FIRST + REST)
        real = writers.is_leased

        def late(descriptor: int) -> bool:
            name = Path(f"/proc/self/fd/{descriptor}").readlink()
            with pytest.raises(BlockingIOError):
                os.open(name, os.O_WRONLY | os.O_NONBLOCK)
            return real(descriptor)

        monkeypatch.setattr(writers, "is_leased", late)
        assert desk.file_one(path).status is Status.CHANGED
        monkeypatch.undo()
        files_itself_once_closed(desk)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EINVAL, errno.EAGAIN])
def test_where_no_lease_is_granted_open_files_are_looked_through(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Somebody else's file, a file system without leases, one whose server refuses them."""
    monkeypatch.setattr(writers, "network_kind", lambda _: "nfs4")
    real = fcntl.fcntl

    def refusing(descriptor: int, command: int, *more: Any) -> Any:
        if command == fcntl.F_SETLEASE:
            raise OSError(code, os.strerror(code))
        return real(descriptor, command, *more)

    monkeypatch.setattr(fcntl, "fcntl", refusing)
    with (desk.inbox / "cat.jpg").open("wb", buffering=0) as writer:
        writer.write(FIRST)
        assert desk.file_one(desk.inbox / "cat.jpg").status is Status.CHANGED
        writer.write(REST)
    files_itself_once_closed(desk)


def test_a_lease_says_nothing_of_writers_on_other_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(FIRST)
    need_leases(tmp_path)
    assert writers.of_path(str(path)) is writers.Writer.ABSENT
    monkeypatch.setattr(writers, "network_kind", lambda _: "nfs4")
    assert writers.of_path(str(path)) is writers.Writer.UNKNOWN


def test_a_look_leaves_no_lease_behind(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(FIRST)
    for _ in range(3):
        writers.of_path(str(path))
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # else it would be turned away


@pytest.mark.parametrize("step", ["unlink", "rename"])
@pytest.mark.parametrize("writes", ["before the restart", "after the restart"])
def test_a_recovery_takes_nothing_from_a_writer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str, writes: str
) -> None:
    """Killed right before and right after it called the file closed; the writer opened it in that moment."""
    need_leases(desk.inbox)
    path = desk.put(content=FIRST)
    opened: list[int] = []

    class Killed(BaseException):
        pass

    def killing(real: Seam) -> Seam:
        def call(*arguments: Any, **more: Any) -> Any:
            if not opened and (path.exists() or any(desk.inbox.iterdir())):
                names = [name for name in desk.inbox.iterdir() if name.name.startswith((".claim", "cat"))]
                opened.append(os.open(names[0], os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
            raise Killed

        return call

    with monkeypatch.context() as patch:
        patch.setattr(writers, "is_leased", lambda _: True)
        patch.setattr(os, step, killing(getattr(os, step)))
        patch.setattr(writers, "take_lease", lambda *_, **__: writers.Writer.ABSENT)
        try:
            desk.file_one(path)
        except Killed:
            pass
        else:
            opened.append(os.open(next(iter(images(desk.output))), os.O_WRONLY | os.O_APPEND))
            desk_row_is_open_again(desk)
    if writes == "before the restart":
        os.write(opened[0], REST)
    journal = desk.journal()
    recover(journal)
    assert [row for row in journal.interrupted() if row.state is not State.VOID] == []
    journal.close()
    if writes == "after the restart":
        os.write(opened[0], REST)
    os.close(opened[0])
    files_itself_once_closed(desk)


def desk_row_is_open_again(desk: Desk) -> None:
    """As if the program had been killed right after the rename."""
    with sqlite3.connect(desk.journal_path) as db:
        db.execute("UPDATE filings SET state = 'intent'")
    db.close()
