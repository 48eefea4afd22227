"""A class folder on a drive of its own, which is not always there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files.class_mounts import REMEMBERED, ClassMounts
from daemon.filing.filer import Filer, Status
from tests.filing_desk import Desk, make_desk


def step_into(mounts: ClassMounts, output: Path, name: str) -> None:
    os.close(mounts.step_into(os.open(output, os.O_RDONLY | os.O_DIRECTORY), name))


@pytest.fixture
def another(tmp_path: Path) -> tuple[Path, str]:
    """A folder that is on another file system than the one around it."""
    if Path("/dev").stat().st_dev == Path("/dev/shm").stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    return Path("/dev"), "shm"


def test_a_mount_is_remembered_and_its_mount_point_refused(another: tuple[Path, str], tmp_path: Path) -> None:
    step_into(ClassMounts(tmp_path), *another)
    for output in (tmp_path / "with mount point", tmp_path / "without"):
        output.mkdir()
        if output.name != "without":
            (output / "shm").mkdir()
        mounts = ClassMounts(tmp_path)
        with pytest.raises(OSError, match="'shm' is a mount of its own, and is not mounted now: mount it"):
            step_into(mounts, output, "shm")
        step_into(mounts, output, "other")
        assert (output / "shm").exists() == (output.name != "without")
        assert (output / "other").is_dir()
    step_into(mounts, *another)
    (tmp_path / REMEMBERED).unlink()  # as the sentence says
    step_into(mounts, tmp_path / "with mount point", "shm")


@pytest.mark.parametrize("content", ["", "{}", "[", "17"])
def test_a_memory_that_is_damaged_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / REMEMBERED).write_text(content)
    step_into(ClassMounts(tmp_path), tmp_path, "cat")
    assert (tmp_path / "cat").is_dir()


def test_ordinary_folders_are_not_written_down(tmp_path: Path) -> None:
    step_into(ClassMounts(tmp_path), tmp_path, "cat")
    assert not (tmp_path / REMEMBERED).exists()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose class folder `cat` is a drive."""
    desk = make_desk(tmp_path)
    folder = desk.output / "cat"
    folder.mkdir(parents=True)
    mount(folder)
    yield desk
    subprocess.run(["umount", folder], check=False, capture_output=True)


def mount(folder: Path) -> None:
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", folder], check=False, capture_output=True
        )
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("nothing can be mounted here")


def test_images_wait_for_the_drive_of_their_class(mounted: Desk, tmp_path: Path) -> None:
    desk, folder = mounted, mounted.output / "cat"

    def filer() -> Filer:
        return Filer(desk.output, journal=desk.journal(), class_mounts=ClassMounts(tmp_path))

    def file(name: str, to: str = "cat") -> Status:
        (filed,) = filer().file([desk.decide(desk.put(name, name.encode()), to)])
        if filed.status is Status.RETRY:
            assert "not mounted now" in (filed.error or "")
        return filed.status

    assert file("a.png") is Status.FILED
    subprocess.run(["umount", folder], check=True)
    assert file("b.png") is Status.RETRY
    assert file("c.png", "dog") is Status.FILED
    assert list(folder.iterdir()) == []
    assert (desk.inbox / "b.png").exists()
    mount(folder)
    assert file("d.png") is Status.FILED
