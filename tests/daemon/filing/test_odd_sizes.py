"""Files whose size lies, that are mostly holes, or too large to be copied: nothing is cut off, filled up or endless."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.files import copying
from daemon.files.renaming import FileAt
from daemon.files.source import Identity, SourceUnreadable, open_source
from daemon.filing import sidecars
from daemon.filing.filer import Action, Filer, Status
from daemon.filing.late_sidecars import LateSidecars
from tests.filing_desk import Desk, images, make_desk

#: Files that the kernel makes up: their sizes are 0 and 4096.
MADE_UP = ("/proc/version", "/sys/kernel/uevent_seqnum")
TB = 1 << 40


def there(path: str) -> Path:
    try:
        assert len(Path(path).read_bytes()) != Path(path).stat().st_size
    except (OSError, AssertionError):
        pytest.skip(f"{path} is no file with a wrong size here")
    return Path(path)


@contextmanager
def entry(path: Path) -> Iterator[FileAt]:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield FileAt(folder, path.name)
    finally:
        os.close(folder)


@pytest.mark.parametrize("path", MADE_UP)
def test_what_has_a_wrong_size_is_neither_read_nor_copied_nor_known_by_its_content(tmp_path: Path, path: str) -> None:
    with pytest.raises(SourceUnreadable, match="its size is given as"):
        open_source(there(path), max_bytes=1 << 20)
    with entry(Path(path)) as made_up, entry(tmp_path / "copy") as copy:
        with pytest.raises(OSError, match="its size is given as"):
            copying.copy_into(copying.create(copy), made_up, Identity.from_stat(made_up.stat()), None)
        with pytest.raises(OSError, match="its size is given as"):
            copying.sha256_of(made_up)


@pytest.mark.parametrize("size", [-1, -5, 0, 7, 9, 1 << 20])
@pytest.mark.parametrize("endless", [False, True])
def test_no_size_makes_it_loop_or_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, endless: bool
) -> None:
    """A file system of a user's program may say what it likes, and rclone says -1 where it does not know."""
    path, read, fstat = tmp_path / "cat.jpg", os.read, os.fstat
    path.write_bytes(b"8 bytes.")

    def lying(descriptor: int) -> os.stat_result | SimpleNamespace:
        status = fstat(descriptor)
        if status.st_ino != path.stat().st_ino:
            return status
        names = [name for name in dir(status) if name.startswith("st_")]
        return SimpleNamespace(**{name: getattr(status, name) for name in names} | {"st_size": size})

    monkeypatch.setattr(os, "fstat", lying)
    if endless:
        monkeypatch.setattr(os, "read", lambda descriptor, count: read(descriptor, min(count, 0)) or bytes(count))
    with pytest.raises(SourceUnreadable):
        open_source(path, max_bytes=1 << 24)
    with entry(path) as source, entry(tmp_path / "copy") as copy, pytest.raises(OSError, match="size"):
        copying.copy_into(copying.create(copy), source, Identity.from_stat(source.stat()), None)
    assert (tmp_path / "copy").stat().st_size <= max(size, 0) + 1


@pytest.fixture
def made_up(far: Desk) -> Iterator[Desk]:
    """A desk with an image, and with files of a wrong size for an image and for sidecars."""
    far.put("cat.jpg")
    with ExitStack() as mounts:
        for name, path in (("cat.xmp", MADE_UP[0]), ("cat.mov", MADE_UP[1]), ("dog.jpg", MADE_UP[1])):
            place = far.put(name, b"")
            try:
                subprocess.run(["mount", "--bind", there(path), place], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"nothing can be mounted here: {error}")
            mounts.callback(subprocess.run, ["umount", str(place)], check=True)
        yield far


@pytest.mark.parametrize("action", ["move", "copy"])
def test_what_has_a_wrong_size_stays_in_the_inbox(
    made_up: Desk, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    monkeypatch.setattr(sidecars, "SETTLE_SECONDS", -1.0)
    monkeypatch.setattr(sidecars, "ONE_SHOT", 1 << 62)
    assert made_up.file_one(made_up.inbox / "cat.jpg", action=action).status is Status.FILED
    with pytest.raises(SourceUnreadable):
        made_up.decide(made_up.inbox / "dog.jpg")
    assert {"cat.mov", "cat.xmp", "dog.jpg"} <= {path.name for path in images(made_up.inbox)}
    assert made_up.filed() == {"cat/cat.jpg": b"an image"}
    assert made_up.journal().interrupted() == []


def holes(path: Path, size: int, *pieces: int) -> Path:
    """A file of holes, with some bytes of data at these places."""
    with path.open("wb") as file:
        file.truncate(size)
        for place in pieces:
            file.seek(place)
            file.write(b"some bytes")
    if path.stat().st_blocks * 512 > size // 2:
        pytest.skip("the file system has no holes")
    return path


@pytest.mark.parametrize("pieces", [(), (0,), (5_000_000, 39_999_990), (0, 20_000_001)])
def test_holes_are_copied_as_holes(far: Desk, pieces: tuple[int, ...]) -> None:
    path = holes(far.inbox / "large.jpg", 40_000_000, *pieces)
    digest = hashlib.sha256(path.read_bytes()).digest()
    filed = far.file_one(path, max_bytes=1 << 30)
    assert filed.destination is not None
    assert hashlib.sha256(filed.destination.read_bytes()).digest() == digest
    assert filed.destination.stat().st_blocks * 512 < 10_000_000
    assert not path.exists()


def test_a_file_with_holes_is_copied_where_only_its_bytes_have_room(tmp_path: Path) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(disk)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    try:
        desk = make_desk(tmp_path, disk)
        fitting = holes(desk.inbox / "fitting.jpg", 80_000_000, 0, 79_000_000)
        with (desk.inbox / "full.jpg").open("wb") as file:
            file.write(b"x" * 40_000_000)
        decisions = [desk.decide(path, max_bytes=1 << 30) for path in (fitting, desk.inbox / "full.jpg")]
        first, second = desk.file(decisions)
        assert (first.status, second.status) == (Status.FILED, Status.RETRY)
        assert second.error is not None
        assert "No space left" in second.error
        assert [path.name for path in images(desk.output)] == ["fitting.jpg"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("name", ["cat.xmp", "cat.mov"])
def test_a_sidecar_that_is_too_large_to_be_copied_stays_and_that_is_said_once(
    far: Desk, logged: list[str], name: str
) -> None:
    image, sidecar = far.put(), far.inbox / name
    with sidecar.open("wb") as file:
        file.truncate(TB)
    for path in (image, sidecar):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    journal = far.journal()
    filer = Filer(far.output, journal=journal)
    filed = filer.file([far.decide(image)])
    late = LateSidecars([far.inbox], far.output, journal, recursive=True)
    assert not late.work(60.0)
    journal.close()
    assert filed[0].status is Status.FILED
    assert [path.name for path in images(far.output)] == ["cat.jpg"]
    assert sidecar.stat().st_size == TB
    about = [line for line in logged if name in line]
    assert len(about) == 1
    assert f"it has {TB} bytes, and 64 GB are copied at most" in about[0]


def test_a_sidecar_that_need_not_be_copied_may_be_of_any_size(desk: Desk) -> None:
    image, film = desk.put(), desk.inbox / "cat.mov"
    with film.open("wb") as file:
        file.truncate(TB)
    for path in (image, film):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    if desk.inbox.stat().st_dev != desk.output.parent.stat().st_dev:
        pytest.skip("it has to be copied here")
    assert desk.file_one(image).status is Status.FILED
    assert (desk.output / "cat/cat.mov").stat().st_size == TB


def test_an_image_that_is_too_large_to_be_copied_says_so(far: Desk) -> None:
    path = far.put()
    with path.open("wb") as file:
        file.truncate(TB)
    filed = far.file_one(path, "quarantine/too-large", reason="too-large", max_bytes=1 << 20)
    assert filed.status is Status.RETRY
    assert filed.error == f"{str(path)!r} cannot be filed now: it has {TB} bytes, and 64 GB are copied at most."
    assert images(far.output) == []


def test_a_file_system_that_has_no_holes_gets_zeros(far: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = holes(far.inbox / "large.jpg", 4_000_000, 3_000_000)
    content = path.read_bytes()

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "no holes")

    decision = far.decide(path)
    with monkeypatch.context() as patch:
        truncate = os.ftruncate
        patch.setattr(os, "ftruncate", lambda descriptor, size: refused() if size else truncate(descriptor, 0))
        (filed,) = far.file([decision])
    assert filed.destination is not None
    assert filed.destination.read_bytes() == content
    assert filed.destination.stat().st_blocks * 512 >= 4_000_000
