"""Where images may be filed: folders of the output, and only while it is there and can be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.files.marker import MARKER
from daemon.files.source import open_source
from daemon.filing.filer import Filer, FilingRequest, Status
from models.deciding.rule import Fate
from tests.filing_desk import Desk, bound_by_modes


@pytest.mark.parametrize("kind", ["link outside", "dangling link", "file", "fifo"])
def test_a_class_folder_is_a_folder_of_the_output_or_nothing_is_filed(desk: Desk, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    desk.output.mkdir()
    folder = desk.output / "cat"
    if kind == "link outside":
        folder.symlink_to(outside)
    elif kind == "dangling link":
        folder.symlink_to("nowhere")
    elif kind == "file":
        folder.write_bytes(b"not a folder")
    else:
        os.mkfifo(folder)
    path = desk.put()
    first, second = desk.file([desk.decide(path), desk.decide(desk.put("dog.jpg"), "dog")])
    assert first.status is Status.RETRY
    assert first.error is not None
    assert "file or a symbolic link" in first.error
    assert second.status is Status.FILED
    assert path.exists()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("folder", ["/tmp/elsewhere", "../elsewhere", "cat/../../elsewhere", "."])
def test_a_folder_outside_the_output_is_a_mistake_of_the_caller(desk: Desk, folder: str) -> None:
    source = open_source(desk.put(), max_bytes=100)
    with pytest.raises(ValueError, match="not a folder under the output"):
        desk.file([FilingRequest(source=source, folder=folder, fate=Fate.SURE)])


def test_an_output_that_is_not_mounted_any_more_is_waited_for(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filer = Filer(desk.output)
    assert filer.file([desk.decide(desk.put())])[0].status is Status.FILED
    real = os.fstat

    def of_another_device(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        return os.stat_result([*status[:2], status.st_dev + 1, *status[3:]])

    path = desk.put()
    decision = desk.decide(path)
    monkeypatch.setattr("daemon.filing.folders.os.fstat", of_another_device)
    (filed,) = filer.file([decision])
    assert filed.status is Status.RETRY
    assert filed.error is not None
    assert "not mounted" in filed.error
    assert path.exists()


def test_an_output_that_was_removed_is_made_again(desk: Desk) -> None:
    filer = Filer(desk.output)
    for _ in range(2):
        assert filer.file([desk.decide(desk.put())])[0].status is Status.FILED
        (desk.output / "cat" / "cat.jpg").unlink()
        (desk.output / "cat" / MARKER).unlink()
        (desk.output / "cat").rmdir()
        desk.output.rmdir()


def test_an_output_that_cannot_be_written_leaves_the_image_for_later(desk: Desk) -> None:
    desk.output.mkdir(0o555)
    path = desk.put()
    decision = desk.decide(path)
    with bound_by_modes():
        (filed,) = desk.file([decision])
    assert filed.status is Status.RETRY
    assert filed.error == f"{str(path)!r} cannot be filed now: Permission denied: {str(desk.output)!r}."
    assert path.exists()
    desk.output.chmod(0o755)
    assert desk.file([decision])[0].status is Status.FILED
