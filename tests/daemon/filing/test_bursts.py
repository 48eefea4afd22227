"""Which images wait for which, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from daemon.files.roots import Roots
from daemon.files.source import Identity
from daemon.files.taken import Shot
from daemon.filing.bursts import MOST_QUIET, MOST_WAIT, MOST_WAITING, Bursts, Member, in_order_of_shots, shot_of
from models.classifier import Seen
from tests.pictures import draw, exif

_NOON = datetime(2026, 5, 1, 12)


class Clock:
    now = 0.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("daemon.filing.bursts.monotonic", lambda: clock.now)
    return clock


def member(
    name: str, seconds: float = 0, camera: str = "trap", turn: float = 0, sha256: str | None = None
) -> Member[str]:
    """An image whose direction is turned by so many degrees."""
    direction = np.array([np.cos(np.radians(turn)), np.sin(np.radians(turn))], np.float32)
    seen = Seen(np.array([0.5, 0.5], np.float32), 0.0, direction)
    return Member(name, Shot(camera, _NOON + timedelta(seconds=seconds)), seen, sha256)


def groups(bursts: Bursts[str]) -> list[list[str]]:
    taken = bursts.take_ready(10**6, clocked=False, is_idle=True, is_last=True)
    return [[member.image for member in burst.members] for burst in taken]


@pytest.mark.parametrize(
    ("other", "together"),
    [
        (member("b", 10), True),
        (member("b", -10), True),
        (member("b", 10.5), False),
        (member("b", 0, camera="another"), False),
        (member("b", 0, turn=30), True),
        (member("b", 0, turn=40), False),
    ],
)
def test_images_of_one_camera_and_moment_that_look_alike_are_a_burst(other: Member[str], together: bool) -> None:
    bursts = Bursts[str](10)
    bursts.add(member("a"))
    bursts.add(other)
    assert groups(bursts) == ([["a", "b"]] if together else [["a"], ["b"]])
    assert not bursts


def test_a_burst_is_no_longer_than_that_however_many_images_it_has() -> None:
    """A camera that takes a picture every second all day has many bursts."""
    bursts = Bursts[str](2)
    for second in range(7):
        bursts.add(member(str(second), second))
    assert groups(bursts) == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


def test_an_image_joins_those_that_it_is_like_one_of() -> None:
    bursts = Bursts[str](10)
    for name, turn in (("a", 0), ("b", 30), ("c", 60), ("stranger", 160)):
        bursts.add(member(name, turn=turn))
    assert groups(bursts) == [["a", "b", "c"], ["stranger"]]


def test_equal_bytes_count_once() -> None:
    bursts = Bursts[str](10)
    for name, sha256 in (("a", "1"), ("b", "1"), ("c", "2"), ("d", None), ("e", None)):
        bursts.add(member(name, sha256=sha256))
    (burst,) = bursts.take_ready(10, clocked=False, is_idle=True, is_last=True)
    assert (len(burst.members), len(burst.distinct())) == (5, 4)


def test_a_burst_waits_for_its_next_image_and_not_for_ever(clock: Clock) -> None:
    bursts = Bursts[str](600)

    def are_ready(*, is_idle: bool) -> bool:
        return bool(bursts.take_ready(10, clocked=True, is_idle=is_idle, is_last=False))

    bursts.add(member("a"))
    clock.now = MOST_QUIET - 0.1
    assert not are_ready(is_idle=True)
    bursts.add(member("b"))
    clock.now += MOST_QUIET - 0.1
    assert not are_ready(is_idle=True)
    clock.now += 0.1
    assert not are_ready(is_idle=False), "others are on their way, perhaps of this burst"
    assert are_ready(is_idle=True)

    bursts.add(member("c"))
    while not are_ready(is_idle=False):
        clock.now += 1
        bursts.add(member("more"))
    assert clock.now < 3 * MOST_WAIT


def test_short_bursts_are_not_waited_for_as_long(clock: Clock) -> None:
    bursts = Bursts[str](0.5)
    bursts.add(member("a"))
    clock.now = 0.5
    assert bursts.take_ready(10, clocked=True, is_idle=True, is_last=False)


def test_where_no_clock_counts_only_want_of_room_ends_the_wait(clock: Clock) -> None:
    bursts = Bursts[str](10)
    for second in range(MOST_WAITING):
        bursts.add(member(str(second), 60 * second))
    clock.now = 10**6
    assert not bursts.take_ready(16, clocked=False, is_idle=True, is_last=False)
    bursts.add(member("one more", -60))
    (burst,) = bursts.take_ready(16, clocked=False, is_idle=True, is_last=False)
    assert [member.image for member in burst.members] == ["0"]
    assert len(bursts) == MOST_WAITING


def picture(path: Path, *data: str) -> Path:
    draw("fog", 1).save(path, exif=exif(*data))
    return path


def test_the_camera_is_known_by_maker_model_and_number(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", "2026:05:01 12:00:00", "Maker ", "Model", "7")
    assert shot_of(path, Roots()) == Shot("Maker Model 7", _NOON)
    assert shot_of(picture(tmp_path / "b.jpg", "2026:05:01 12:00:00"), Roots()) == Shot("", _NOON)
    assert shot_of(picture(tmp_path / "c.jpg", "", "Maker"), Roots()) is None
    assert shot_of(tmp_path / "missing.jpg", Roots()) is None


def test_what_lies_there_instead_by_now_says_nothing(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", "2026:05:01 12:00:00")
    identity = Identity.from_stat(path.stat())
    assert shot_of(path, Roots(), identity) is not None
    picture(tmp_path / "b.jpg", "2026:05:01 12:00:00", "Maker").replace(path)
    assert shot_of(path, Roots(), identity) is None


def test_a_whole_folder_is_put_in_the_order_of_its_bursts(tmp_path: Path) -> None:
    times = {"c.jpg": ("12:00:01", "A"), "a.jpg": ("12:00:02", "A"), "b.jpg": ("12:00:01", "B"), "d.jpg": ("", "A")}
    paths = [
        picture(tmp_path / name, time and f"2026:05:01 {time}", maker) for name, (time, maker) in sorted(times.items())
    ]
    assert [path.name for path in in_order_of_shots(paths, Roots())] == ["d.jpg", "c.jpg", "a.jpg", "b.jpg"]
