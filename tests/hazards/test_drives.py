"""Drives of their own, for the inbox and for what is sorted: full, freed, unmounted and mounted again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.daemon.conftest import Publish
from tests.faults.disks import Disk, disks
from tests.hazards.station import Station, station
from tests.pictures import KINDS, draw
from tests.processes import wait_for


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Disk]]:
    """One for the inbox, and one for what is sorted."""
    with disks(tmp_path_factory.mktemp("drives"), 2) as made:
        yield made


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, publish: Publish, drives: list[Disk]) -> Iterator[Station]:
    """One daemon for all these tests."""
    first, second = (drive.folder for drive in drives)
    with station(tmp_path_factory.mktemp("station"), publish, inbox=first / "inbox", output=second / "sorted") as made:
        yield made


@contextmanager
def full(drive: Path) -> Iterator[BinaryIO]:
    """No byte is free there meanwhile, unless what is yielded is made shorter."""
    with (drive / "ballast").open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    ballast.write(bytes(size))
        yield ballast
    (drive / "ballast").unlink()


def test_the_drive_of_what_is_sorted_is_full_and_freed(here: Station) -> None:
    here.well()
    picture = here.picture("waits.png", KINDS[3])
    content = picture.read_bytes()
    with full(here.output.parent):
        picture.rename(here.inbox / "waits.png")
        here.running.wait_until_said("No space left on device")
        assert here.holders(content) == [here.inbox / "waits.png"]
    here.touch(here.inbox / "waits.png")
    here.filed(here.inbox / "waits.png", content, KINDS[3])
    assert here.running.log().count("No space left on device") == 1
    here.running.wait_until_said("filing works again")
    assert [path.name for path in here.output.rglob("*") if path.suffix == ".part"] == []


def test_on_a_drive_with_room_for_small_pictures_only_filing_does_not_work_again(here: Station) -> None:
    large = [here.picture(f"large{number}.png").with_suffix(".bmp") for number in range(2)]
    for path in large:
        draw(KINDS[3], 1, side=600).save(path)
    before = len(here.running.log())
    with full(here.output.parent) as ballast:
        ballast.truncate(ballast.tell() - (256 << 10))
        os.fsync(ballast.fileno())
        for path in large:
            path.rename(here.inbox / path.name)
            here.running.wait_until_said(f"{path.name}' cannot be filed now")
            here.well()
        assert "filing works again" not in here.running.log()[before:]
    for path in large:
        with suppress(FileNotFoundError):  # it was tried again meanwhile
            os.utime(here.inbox / path.name)
            (here.inbox / path.name).open("r+b").close()
    wait_for(lambda: "filing works again" in here.running.log()[before:], "the end of the spell")
    assert not any((here.inbox / path.name).exists() for path in large)
    said = here.running.log()[before:]
    assert (said.count("ERROR"), said.count("filing works again")) == (1, 1)


def test_the_drive_of_the_inbox_is_full_and_freed(here: Station) -> None:
    picture = here.picture("cut off.png", KINDS[3])
    content = picture.read_bytes()
    target = here.inbox / "cut off.png"
    with full(here.inbox.parent) as ballast:
        ballast.truncate(ballast.tell() - len(content) // 2)
        os.fsync(ballast.fileno())  # or else the room is given back later
        copy = ["dd", f"if={picture}", f"of={target}", "bs=1k"]
        copied = subprocess.run(copy, capture_output=True, text=True)
        assert "No space left on device" in copied.stderr
        assert 0 < target.stat().st_size < len(content)
        wait_for(lambda: here.status().waiting == 1, "what there is of it is looked at")
    subprocess.run(copy, check=True, capture_output=True)
    here.filed(target, content, KINDS[3])


def test_the_inbox_is_unmounted_and_mounted_again(here: Station, drives: list[Disk]) -> None:
    drive, inbox = drives[0], here.inbox
    here.well()
    holding = os.open(inbox, os.O_RDONLY)
    with pytest.raises(subprocess.CalledProcessError):
        drive.unmount()
    os.close(holding)
    wait_for(lambda: unmounted(drive), "nothing of the daemon's keeps it from being unmounted")
    here.running.wait_until_said(f"inbox {str(inbox)!r} is missing")
    assert not inbox.exists()
    drive.mount()
    here.well()
    assert here.running.log().count(f"inbox {str(inbox)!r} is back") == 1


@pytest.mark.slow
def test_another_drive_in_its_place(here: Station, drives: list[Disk]) -> None:
    """Unplugged while the daemon has no time to look, and the new one is empty."""
    drive, inbox = drives[0], here.inbox
    wait_for(lambda: unmounted(drive), "nothing of the daemon's keeps it from being unmounted")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(drive.folder)], check=True)
    inbox.mkdir()
    here.well()
    wait_for(lambda: unmounted(drive), "that one is unmounted")
    drive.mount()
    here.well()


def test_what_is_sorted_is_unmounted_and_mounted_again(here: Station, drives: list[Disk]) -> None:
    drive = drives[1]
    here.well()
    wait_for(lambda: unmounted(drive), "nothing of the daemon's keeps it from being unmounted")
    picture = here.picture("homeless.png", KINDS[2])
    content = picture.read_bytes()
    picture.rename(here.inbox / "homeless.png")
    here.running.wait_until_said("homeless.png")
    assert here.holders(content) == [here.inbox / "homeless.png"]
    drive.mount()
    here.touch(here.inbox / "homeless.png")
    here.filed(here.inbox / "homeless.png", content, KINDS[2])


def unmounted(drive: Disk) -> bool:
    """Try to unmount it, as a person would."""
    try:
        drive.unmount()
    except subprocess.CalledProcessError:
        return False
    return True
