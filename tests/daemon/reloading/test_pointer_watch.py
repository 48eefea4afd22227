"""The bell: rings when something happens where checkpoints are published, whatever becomes of the folders there."""

from __future__ import annotations

import ctypes
import errno
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from watchdog.observers import inotify_c

from daemon.files.inotify import Inotify
from daemon.reloading import pointer_watch
from daemon.reloading.pointer_watch import PointerWatch
from models.checkpoints import checkpoint
from models.checkpoints.checkpoint import FILE_NAME, POINTER
from tests.processes import opened

SECONDS = 120.0  # a ring that does not come fails the test after so long


class Ears:
    """A bell and what is heard of it; ``look`` is what a poll does."""

    def __init__(self, location: Path, *, events: bool = True) -> None:
        self.rings = threading.Event()
        self.location = location
        self.pointer_watch = PointerWatch(self.rings.set, events=events)
        self.look()

    def look(self) -> None:
        self.pointer_watch.watch(self.location)

    def heard(self) -> bool:
        """Whether it rings, or has rung since the last time."""
        rang = self.rings.wait(SECONDS)
        self.rings.clear()
        return rang

    def deaf_to(self, location: Path) -> bool:
        """Whether nothing has rung so far, as a publication after it, which does ring, shows."""
        rang = self.rings.is_set()
        publish(location)
        return self.heard() and not rang


class Held(NamedTuple):
    """What this process has of the kernel's. What tests before left may end at any time: only what is new counts."""

    descriptors: set[str]
    threads: set[threading.Thread]

    def has_more_than(self, before: Held) -> bool:
        return not (self.descriptors <= before.descriptors and self.threads <= before.threads)


def held() -> Held:
    return Held(opened(), set(threading.enumerate()))


def watches(place: Path) -> int:
    """How many watches this process has of a place and of the folder that it is in."""
    inodes = {f"ino:{folder.stat().st_ino:x}" for folder in (place, place.parent)}
    count = 0
    for each in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself, or one that was closed meanwhile
            lines = [line.split() for line in each.read_text().splitlines() if line.startswith("inotify wd:")]
            count += sum(not inodes.isdisjoint(line) for line in lines)
    return count


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "checkpoints"
    place.mkdir()
    return place


@pytest.fixture
def ears(place: Path) -> Iterator[Ears]:
    ears = Ears(place)
    yield ears
    ears.pointer_watch.close()


def publish(place: Path) -> None:
    checkpoint.publish(place / "run-1", "0" * 64, "now")


def test_it_rings_at_each_publication(ears: Ears, place: Path) -> None:
    for _ in range(3):
        publish(place)
        assert ears.heard()


def test_it_rings_for_a_checkpoint_that_is_one_file(tmp_path: Path) -> None:
    ears = Ears(tmp_path / "one.safetensors")
    for act in (
        lambda: (tmp_path / "one.safetensors").write_bytes(b"x"),
        lambda: (tmp_path / "two").write_bytes(b"y"),
        lambda: (tmp_path / "two").replace(tmp_path / "one.safetensors"),
    ):
        act()
        ears.look()
    assert ears.heard()
    ears.pointer_watch.close()


def test_it_rings_for_the_checkpoint_of_a_run_folder(ears: Ears, place: Path) -> None:
    (place / FILE_NAME).write_bytes(b"x")
    assert ears.heard()


def test_runs_in_the_making_and_neighbours_do_not_ring(ears: Ears, place: Path) -> None:
    (place / "run-1").mkdir()
    (place / "run-1" / FILE_NAME).write_bytes(b"x")
    (place / f".{POINTER}.tmp").write_bytes(b"x")
    (place.parent / "inbox").mkdir()
    (place.parent / POINTER).write_bytes(b"x")
    (place.parent / POINTER).unlink()
    assert ears.deaf_to(place)


def test_a_folder_that_comes_later_is_watched_from_then_on(tmp_path: Path) -> None:
    place = tmp_path / "later" / "checkpoints"
    ears = Ears(place)
    place.mkdir(parents=True)
    ears.look()
    publish(place)
    assert ears.heard()
    ears.pointer_watch.close()


def test_a_folder_that_vanishes_and_returns_is_watched_again(ears: Ears, place: Path) -> None:
    watched = watches(place)
    for _ in range(5):  # among them some that get the same inode again
        shutil.rmtree(place)
        place.mkdir()
        while watches(place) < watched:
            assert ears.heard()
            ears.look()
        publish(place)
        assert ears.heard()


def test_a_folder_moved_away_does_not_ring_any_more(ears: Ears, place: Path) -> None:
    away = place.rename(place.parent / "away")
    assert ears.heard()
    ears.look()
    place.mkdir()
    assert ears.heard()
    ears.look()
    publish(away)
    assert ears.deaf_to(place)


def test_a_link_to_another_folder_is_followed(tmp_path: Path) -> None:
    blue, green, link = tmp_path / "disk" / "blue", tmp_path / "disk" / "green", tmp_path / "checkpoints"
    for folder in (blue, green):
        folder.mkdir(parents=True)
    link.symlink_to(blue)
    ears = Ears(link)
    publish(blue)
    assert ears.heard()
    (tmp_path / "new").symlink_to(green)
    (tmp_path / "new").replace(link)
    assert ears.heard()
    ears.look()
    publish(blue)
    assert ears.deaf_to(green)
    ears.pointer_watch.close()


def test_another_place_may_be_listened_to(ears: Ears, place: Path) -> None:
    other = place.parent / "other"
    other.mkdir()
    ears.location = other
    ears.look()
    publish(place)
    assert ears.deaf_to(other)


def test_to_look_again_and_again_costs_no_descriptor_thread_or_watch(place: Path) -> None:
    before = held()
    ears = Ears(place)
    there = held()
    assert len(there.threads - before.threads) == 1
    assert watches(place) == 2
    for _ in range(50):
        ears.look()
        publish(place)
        assert ears.heard()
        shutil.rmtree(place)
        ears.look()
        place.mkdir()
        while watches(place) < 2:
            assert ears.heard()
            ears.look()
    assert not held().has_more_than(there)
    assert watches(place) == 2
    ears.pointer_watch.close()
    assert not held().has_more_than(before)
    assert watches(place) == 0


def test_without_events_and_at_the_end_it_rings_only_when_told_to(place: Path) -> None:
    before = held()
    ears = Ears(place, events=False)
    assert not held().has_more_than(before)
    assert watches(place) == 0
    ears.pointer_watch.wake_loop()
    assert ears.heard()
    ears.pointer_watch.close()
    ears.pointer_watch.wake_loop()
    publish(place)
    assert not ears.rings.is_set()


@pytest.mark.parametrize(("name", "number"), [("inotify_init", errno.EMFILE), ("inotify_add_watch", errno.ENOSPC)])
def test_where_the_kernel_gives_no_events_it_is_said_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str], name: str, number: int
) -> None:
    asked = []

    def refuse(*_: object) -> int:
        asked.append(name)
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(inotify_c, name, refuse)
    ears = Ears(place)
    for _ in range(5):
        ears.look()
    assert len(asked) == (1 if name == "inotify_init" else 2)
    assert [line for line in logged if "polling for checkpoints every second, without events" in line] == logged
    assert len(logged) == 1
    ears.pointer_watch.wake_loop()
    assert ears.heard()
    ears.pointer_watch.close()


def test_a_folder_that_may_not_be_read_is_left_to_the_poll(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EACCES)
        return -1

    with monkeypatch.context() as patch:
        patch.setattr(inotify_c, "inotify_add_watch", refuse)
        ears = Ears(place)
    ears.look()
    shutil.rmtree(place)
    ears.look()
    ears.pointer_watch.close()


def test_a_reader_that_has_died_leaves_it_to_the_poll(
    place: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    reader = Inotify()
    monkeypatch.setattr(pointer_watch, "Inotify", lambda: reader)
    ears = Ears(place)
    reader.close()
    for _ in range(3):
        ears.look()
    assert ["without events" in line for line in logged] == [True]
