"""Names that the output's file system cannot hold: the image is filed under one that fits, and goes back to its own."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from daemon.files import copying, renaming
from daemon.files.names import simpler_name
from daemon.files.renaming import FileAt
from daemon.filing.filer import Action, Status
from daemon.filing.undo import undo
from daemon.journal.journal import read_history
from daemon.journal.records import State
from tests.filing_desk import Desk, failing, images

FORBIDDEN = frozenset(':?*"<>|\\') | {chr(code) for code in range(32)}


@pytest.mark.parametrize(
    ("name", "simpler"),
    [
        ("cam 2024-05-01T10:11:12.jpg", "cam 2024-05-01T10_11_12.jpg"),
        ('a?*"<>|\\b.jpg', "a_______b.jpg"),
        ("new\nline.jpg", "new_line.jpg"),
        ("caf\udce9.jpg", "caf_.jpg"),
        ("CON.jpg", "CON_.jpg"),
        ("lpt1.tar.jpg", "lpt1_.tar.jpg"),
        ("console.jpg", "console.jpg"),
        ("ends. ", "ends__"),
        ("사:진.jpg", "사_진.jpg"),
        ("사_진.jpg", "%EC%82%AC_%EC%A7%84.jpg"),
        ("plain.jpg", "plain.jpg"),
    ],
)
def test_the_name_to_try_next(name: str, simpler: str) -> None:
    assert simpler_name(name) == simpler


@pytest.fixture(params=["it renames", "it links", "it can only write"])
def drive(request: pytest.FixtureRequest, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose output cannot hold some names, nor letters beyond ASCII in a folder ``ascii``."""
    code = {"it renames": errno.EINVAL, "it links": errno.EILSEQ, "it can only write": errno.ENOENT}[request.param]
    real = {"rename_noreplace": renaming.rename_noreplace, "link": renaming.link}

    def refuse(folder: int, name: str) -> None:
        path = str(Path(f"/proc/self/fd/{folder}").readlink())
        beyond = path.endswith("/ascii") and not name.isascii()
        if path.startswith(str(desk.output)) and (beyond or FORBIDDEN & set(name)):
            raise OSError(code, os.strerror(code), name)

    def put(call: str, works: bool) -> Any:
        def stand_in(old: FileAt, new: FileAt) -> None:
            refuse(new.folder, new.name)
            if not works and path_of(new).startswith(str(desk.output)):
                raise OSError(errno.EPERM if call == "link" else errno.ENOSYS, "not here")
            real[call](old, new)

        return stand_in

    create = copying.create

    def creating(entry: FileAt, mode: int = 0o600) -> int:
        refuse(entry.folder, entry.name)
        return create(entry, mode)

    monkeypatch.setattr(renaming, "rename_noreplace", put("rename_noreplace", request.param == "it renames"))
    monkeypatch.setattr(renaming, "link", put("link", request.param != "it can only write"))
    monkeypatch.setattr(copying, "create", creating)
    return desk


def path_of(entry: FileAt) -> str:
    return str(Path(f"/proc/self/fd/{entry.folder}").readlink())


def undo_all(desk: Desk) -> None:
    journal = desk.journal()
    assert all(each.status is Status.UNDONE for each in undo(journal, list(read_history(desk.journal_path))))
    journal.close()


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_it_is_filed_under_a_name_that_fits_and_goes_back_to_its_own(drive: Desk, action: Action) -> None:
    names = ["what?.jpg", "10:11.jpg", "new\nline.jpg", "ok.jpg"]
    paths = [drive.put(name, name.encode()) for name in names]
    assert [each.status for each in drive.file([drive.decide(path) for path in paths], action=action)] == ["filed"] * 4
    fits = {f"cat/{simpler_name(name)}": name.encode() for name in names}
    assert drive.filed() == fits
    for row in read_history(drive.journal_path):
        assert row.destination is not None
        assert (row.state, row.filed_ino) == (State.DONE, row.destination.stat().st_ino)
    undo_all(drive)
    assert [path.name for path in images(drive.inbox)] == sorted(names)
    assert drive.filed() == {}


def test_two_that_become_one_name_are_numbered(drive: Desk) -> None:
    paths = [drive.put(name, name.encode()) for name in ("a?.jpg", "a:.jpg", "a_.jpg")]
    assert {each.status for each in drive.file([drive.decide(path) for path in paths])} == {Status.FILED}
    assert sorted(drive.filed()) == ["cat/a_.jpg", "cat/a__2.jpg", "cat/a__3.jpg"]
    assert sorted(drive.filed().values()) == [b"a:.jpg", b"a?.jpg", b"a_.jpg"]
    undo_all(drive)
    assert sorted(path.name for path in images(drive.inbox)) == ["a:.jpg", "a?.jpg", "a_.jpg"]


def test_a_drive_without_hangul_takes_it_as_in_an_address(drive: Desk) -> None:
    for name in ("사진.jpg", "사:진.jpg"):
        drive.file_one(drive.put(name, name.encode()), "ascii")
    assert sorted(drive.filed()) == ["ascii/%EC%82%AC%EC%A7%84.jpg", "ascii/%EC%82%AC_%EC%A7%84.jpg"]
    undo_all(drive)
    assert sorted(path.name for path in images(drive.inbox)) == sorted(["사진.jpg", "사:진.jpg"])


def test_sidecars_take_the_name_that_fits(drive: Desk) -> None:
    path = drive.put("what?.jpg", b"image")
    for name in ("what?.xmp", "what?.jpg.json"):
        os.utime(drive.put(name, name.encode()), (1e9, 1e9))
    drive.file_one(path)
    assert sorted(drive.filed()) == ["cat/what_.jpg", "cat/what_.jpg.json", "cat/what_.xmp"]
    undo_all(drive)
    assert sorted(path.name for path in images(drive.inbox)) == ["what?.jpg", "what?.jpg.json", "what?.xmp"]


def test_a_name_is_kept_where_the_trouble_is_another(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be filed under any name stays as it is, and later gets the name it has."""
    path = desk.put("what?.jpg")
    with monkeypatch.context() as broken:
        broken.setattr(renaming, "rename_noreplace", failing(errno.ENOENT))
        filed = desk.file_one(path)
        assert (filed.status, path.exists()) == (Status.RETRY, True)
        assert filed.error == f"'{path}' cannot be filed now: No such file or directory."
    assert desk.file_one(path).destination == desk.output / "cat/what?.jpg"


def test_of_a_class_that_is_no_name_there_one_sentence_tells(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    make = os.mkdir

    def mkdir(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if not Path(path).name.isascii():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        make(path, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir)
    first, second = (desk.put(name, name.encode()) for name in ("a.jpg", "b.jpg"))
    other, filed = desk.file([desk.decide(first, "고양이"), desk.decide(second)])
    assert (other.status, filed.status) == (Status.RETRY, Status.FILED)
    assert other.error is not None
    assert "cannot hold a folder named '고양이': mount it with iocharset=utf8" in other.error
