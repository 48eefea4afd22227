"""What is said of an image that a folder does not let in or out: which folder that is."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.filing.filer import Status
from daemon.filing.status import sentence
from tests.filing_desk import Desk, bound_by_modes


@pytest.fixture
def closed(desk: Desk) -> Iterator[Path]:
    folder = desk.output / "cat"
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


def test_an_unwritable_class_folder_is_named(desk: Desk, closed: Path) -> None:
    with bound_by_modes():
        (filed,) = desk.file([desk.decide(desk.put("a.jpg"), "cat")])
    assert (filed.status, str(filed.error).count(repr(str(closed)))) == (Status.RETRY, 1)


@pytest.mark.parametrize("barred", ["output/cat", "output", "inbox"])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_the_folder_that_bars_the_way_is_named(
    barred: str, code: int, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (filed,) = desk.file([desk.decide(desk.put("a.jpg"), "cat")])
    row = filed.row
    assert row.folder is not None
    folder = {"output/cat": row.folder, "output": row.folder.parent, "inbox": row.source.parent}[barred]
    if barred == "output":
        row.folder = row.folder.parent / "not made yet"
    monkeypatch.setattr("daemon.filing.status.os.access", lambda path, _, **__: Path(path) != folder)
    said = sentence(row, OSError(code, os.strerror(code), "a.jpg"))
    assert said == f"{str(row.source)!r} cannot be filed now: {os.strerror(code)}: {str(folder)!r}."


def test_a_file_in_the_place_of_a_class_folder_is_named(desk: Desk) -> None:
    desk.output.mkdir(exist_ok=True)
    (desk.output / "cat").write_text("no folder")
    (filed,) = desk.file([desk.decide(desk.put("a.jpg"), "cat")])
    assert repr(str(desk.output / "cat")) in str(filed.error)


def test_other_troubles_name_no_folder_so_that_they_are_said_once_for_all(desk: Desk) -> None:
    (filed,) = desk.file([desk.decide(desk.put("a.jpg"), "cat")])
    said = sentence(filed.row, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.jpg"))
    assert said == f"{str(filed.row.source)!r} cannot be filed now: {os.strerror(errno.ENOSPC)}."
