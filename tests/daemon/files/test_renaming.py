from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.files import renaming
from daemon.files.renaming import CannotMove, FileAt
from tests.filing_desk import far_folder
from tests.processes import PATIENCE

_FOLDER = os.O_RDONLY | os.O_DIRECTORY


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Two open folders, ``a`` and ``b``."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    pair = os.open(tmp_path / "a", _FOLDER), os.open(tmp_path / "b", _FOLDER)
    yield pair
    for folder in pair:
        os.close(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def move(folders: tuple[int, int], old: str = "old", new: str = "new") -> None:
    renaming.move_noreplace(FileAt(folders[0], old), FileAt(folders[1], new), lambda: ".claim")


WITHOUT_RENAME = pytest.mark.parametrize("code", [None, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])


@pytest.fixture
def rename_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    def make(code: int | None) -> None:
        if code is not None:
            monkeypatch.setattr(renaming, "rename_noreplace", failing(code))

    return make


@WITHOUT_RENAME
def test_a_move_keeps_the_file(
    tmp_path: Path, folders: tuple[int, int], rename_fails: Callable[[int | None], None], code: int | None
) -> None:
    rename_fails(code)
    (tmp_path / "a/old").write_bytes(b"ours")
    inode = (tmp_path / "a/old").stat().st_ino
    move(folders)
    assert (tmp_path / "b/new").read_bytes() == b"ours"
    assert (tmp_path / "b/new").stat().st_ino == inode
    assert names(tmp_path / "a") == []


@WITHOUT_RENAME
@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_a_name_that_is_taken_by_anything_is_not_replaced(
    tmp_path: Path, folders: tuple[int, int], rename_fails: Callable[[int | None], None], code: int | None, kind: str
) -> None:
    rename_fails(code)
    (tmp_path / "a/old").write_bytes(b"ours")
    new = tmp_path / "b/new"
    if kind == "file":
        new.write_bytes(b"theirs")
    elif kind == "folder":
        new.mkdir()
    else:
        new.symlink_to(tmp_path / ("a" if kind == "link" else "nowhere"))
    before = new.lstat()
    with pytest.raises(FileExistsError):
        move(folders)
    assert new.lstat() == before
    assert (tmp_path / "a/old").read_bytes() == b"ours"


def test_names_are_bytes(tmp_path: Path, folders: tuple[int, int]) -> None:
    old, new = os.fsdecode(b"-\xff\n.jpg"), os.fsdecode(b"\xfe" * 255)
    (tmp_path / "a" / old).write_bytes(b"ours")
    move(folders, old, new)
    assert names(tmp_path / "b") == [new]


def test_another_file_system_needs_a_copy(tmp_path: Path, folders: tuple[int, int]) -> None:
    (tmp_path / "a/old").touch()
    with far_folder() as far:
        other = os.open(far, _FOLDER)
        with pytest.raises(CannotMove):
            move((folders[0], other))
        os.close(other)
    assert names(tmp_path / "a") == ["old"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.EIO])
def test_a_file_system_with_neither_rename_nor_links_needs_a_copy(
    tmp_path: Path, folders: tuple[int, int], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "a/old").touch()
    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", failing(code))
    with pytest.raises(CannotMove):
        move(folders)
    assert names(tmp_path / "a") == ["old"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EIO])
def test_other_errors_are_errors(folders: tuple[int, int], monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(renaming, "rename_noreplace", failing(code))
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what matters
        move(folders)
    assert caught.value.errno == code


def test_a_name_is_free_again_where_nothing_can_be_put_back(
    tmp_path: Path, folders: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/.claim").write_bytes(b"ours")
    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "rename", failing(errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        renaming.put_back(FileAt(folders[0], ".claim"), FileAt(folders[0], "old.jpg"))
    assert names(tmp_path / "a") == [".claim"]
    assert (tmp_path / "a/.claim").read_bytes() == b"ours"


def test_a_link_whose_answer_was_lost_is_made(
    tmp_path: Path, folders: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = renaming.link

    def forgetful(old: FileAt, new: FileAt) -> None:
        with suppress(FileExistsError):
            link(old, new)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new.name)

    (tmp_path / "a/old").write_bytes(b"ours")
    (tmp_path / "b/other").write_bytes(b"ours")
    monkeypatch.setattr(renaming, "link", forgetful)
    old = FileAt(folders[0], "old")
    with pytest.raises(FileExistsError):
        renaming.link_or_cannot(old, FileAt(folders[1], "local"))
    monkeypatch.setattr(renaming, "kinds_by_device", lambda: {tmp_path.stat().st_dev: "nfs4"})
    renaming.link_or_cannot(old, FileAt(folders[1], "new"))
    for name in ("other", "new"):  # another file, and a link that was there before
        with pytest.raises(FileExistsError):
            renaming.link_or_cannot(old, FileAt(folders[1], name))


def test_the_link_of_another_program_is_not_taken_for_the_own_one(
    tmp_path: Path, folders: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One program has made its link when the other comes; whoever loses takes away only what it made."""
    (tmp_path / "a/old").write_bytes(b"ours")
    entries = FileAt(folders[0], "old"), FileAt(folders[1], "new")
    linked, claimed, ended = (threading.Event() for _ in range(3))
    link, rename = renaming.link, os.rename

    def link_first(old: FileAt, new: FileAt) -> None:
        link(old, new)
        if threading.current_thread() is first:
            linked.set()
            claimed.wait(PATIENCE)

    def claim(old: str, new: str, **more: Any) -> None:
        rename(old, new, **more)
        if threading.current_thread() is not first:
            claimed.set()
            ended.wait(PATIENCE)

    def run_first() -> None:
        with suppress(FileNotFoundError):
            renaming.move_noreplace(*entries, lambda: ".first")
        ended.set()

    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", link_first)
    monkeypatch.setattr(os, "rename", claim)
    first = threading.Thread(target=run_first)
    first.start()
    linked.wait(PATIENCE)
    with suppress(FileExistsError):
        renaming.move_noreplace(*entries, lambda: ".second")
    claimed.set()
    first.join(PATIENCE)
    assert [path.read_bytes() for folder in "ab" for path in (tmp_path / folder).iterdir()] == [b"ours"]


def test_when_the_old_name_stays_the_new_one_goes(
    tmp_path: Path, folders: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/old").write_bytes(b"ours")
    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    monkeypatch.setattr(os, "rename", failing(errno.EROFS))
    with pytest.raises(OSError, match="Read-only"):
        move(folders)
    assert names(tmp_path / "a") == ["old"]
    assert names(tmp_path / "b") == []


def test_a_file_is_dropped_only_while_it_is_the_one_meant(tmp_path: Path, folders: tuple[int, int]) -> None:
    path = tmp_path / "a/old"
    path.write_bytes(b"ours")
    meant = path.stat().st_ino
    entry = FileAt(folders[0], "old")
    assert renaming.drop(entry, ".claim", lambda entry: entry.stat().st_ino == meant)
    assert not renaming.drop(entry, ".claim", lambda entry: entry.stat().st_ino == meant)
    path.write_bytes(b"a new one of the same name")
    assert not renaming.drop(entry, ".claim", lambda _: False)
    assert names(tmp_path / "a") == ["old"]
    assert path.read_bytes() == b"a new one of the same name"


def test_a_file_put_back_where_there_is_neither_rename_nor_link(
    tmp_path: Path, folders: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renaming, "rename_noreplace", failing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", failing(errno.EPERM))
    (tmp_path / "a/.claim").write_bytes(b"first")
    (tmp_path / "a/cat.jpg").write_bytes(b"second")
    renaming.put_back(FileAt(folders[0], ".claim"), FileAt(folders[0], "cat.jpg"))
    assert names(tmp_path / "a") == ["cat.jpg", "cat_2.jpg"]
    assert (tmp_path / "a/cat_2.jpg").read_bytes() == b"first"


@WITHOUT_RENAME
def test_a_file_put_back_finds_its_name_taken_again(
    tmp_path: Path, folders: tuple[int, int], rename_fails: Callable[[int | None], None], code: int | None
) -> None:
    rename_fails(code)
    (tmp_path / "a/.claim").write_bytes(b"first")
    (tmp_path / "a/cat.jpg").write_bytes(b"second")
    renaming.put_back(FileAt(folders[0], ".claim"), FileAt(folders[0], "cat.jpg"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == {
        "cat.jpg": b"second",
        "cat_2.jpg": b"first",
    }
