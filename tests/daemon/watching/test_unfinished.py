"""Files that are stable and unfinished."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.files import writers
from daemon.files.writers import Writer
from daemon.watching import unfinished
from daemon.watching.unfinished import UnfinishedStatus, has_gaps
from tests.daemon.watching.desk import NEVER, Clock, Desk, put

PATIENCE = 300.0
_EVENTS = 0.2  # seconds in which the kernel has told of what happened


def desk_of(desks: Callable[..., Desk], root: Path, clock: Clock, **more: object) -> Desk:
    desk = desks(root, settle_seconds=2.0, writer_patience_seconds=PATIENCE, clock=clock, **more)
    desk.nothing(0)
    return desk


def passes(desk: Desk, clock: Clock, seconds: float) -> list[Path]:
    """What is handed out while time goes by."""
    if desk.watcher.status().inboxes[0].why_polled is None:
        time.sleep(_EVENTS)  # the clock of the events is the real one
    end, paths = clock.now + seconds, list[Path]()
    while clock.now < end:
        clock.now += 0.5
        paths += desk.watcher.ready(0, 8)
    return paths


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can know who writes."""
    monkeypatch.setattr(writers, "of_path", lambda _: Writer.UNKNOWN)


@pytest.fixture
def known(root: Path) -> None:
    with (root / "probe").open("wb"):
        if writers.of_path(str(root / "probe")) is not Writer.PRESENT:
            pytest.skip("writers cannot be known on this file system")


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("poll", [False, True])
def test_an_open_file_waits_as_long_as_it_takes(
    root: Path, desks: Callable[..., Desk], clock: Clock, log: list[str], poll: bool
) -> None:
    desk = desk_of(desks, root, clock, poll=poll)
    with (root / "slow.jpg").open("wb", buffering=0) as file:
        file.write(b"x" * 100)
        assert passes(desk, clock, 3 * PATIENCE) == []
        status = desk.watcher.status().unfinished
        assert (status.count, status.example) == (1, root / "slow.jpg")
        assert status.seconds > 2 * PATIENCE
        file.write(b"x" * 100)
        assert passes(desk, clock, 60.0) == []
    assert passes(desk, clock, 32.0) == [root / "slow.jpg"]
    assert desk.watcher.status().unfinished == UnfinishedStatus()
    assert len([line for line in log if "is unfinished" in line]) == 1


@pytest.mark.usefixtures("known")
def test_closing_ends_the_wait_at_once(root: Path, desks: Callable[..., Desk]) -> None:
    desk = desks(root, settle_seconds=0.01, rescan_seconds=NEVER)
    took = []
    for number in range(5):  # a busy machine may be late now and then
        slow = root / f"slow{number}.jpg"
        with slow.open("wb", buffering=0) as file:
            file.write(b"x")
            desk.wait(lambda: desk.watcher.status().unfinished.count == 1)
            desk.nothing(1.2)  # by now the next look is seconds away
        start = time.monotonic()
        assert desk.collect(1) == [slow]
        took.append(time.monotonic() - start)
        if took[-1] < 1.0:
            return
        slow.unlink()
        desk.watcher.done(slow)
    pytest.fail(f"it waits for its next look: {took}")


@pytest.mark.usefixtures("known")
def test_a_file_that_is_taken_away_waits_no_more(root: Path, desks: Callable[..., Desk], clock: Clock) -> None:
    desk = desk_of(desks, root, clock, poll=True)
    with (root / "slow.jpg").open("wb", buffering=0) as file:
        file.write(b"x")
        passes(desk, clock, 5.0)
        assert desk.watcher.unfinished() == [root / "slow.jpg"]
        (root / "slow.jpg").unlink()
        passes(desk, clock, 40.0)
        assert desk.watcher.unfinished() == []


@pytest.mark.usefixtures("unknown")
def test_where_nobody_can_know_an_event_tells_that_it_was_created_and_not_closed(
    root: Path, desks: Callable[..., Desk], clock: Clock
) -> None:
    desk = desk_of(desks, root, clock)
    with (root / "slow.jpg").open("wb", buffering=0) as file:
        file.write(b"x")
        assert passes(desk, clock, 2 * PATIENCE) == []
    assert passes(desk, clock, 32.0) == [root / "slow.jpg"]


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize("how", ["grows", "has a hole", "ends in zeros"])
def test_where_nobody_can_know_patience_is_long(root: Path, desks: Callable[..., Desk], clock: Clock, how: str) -> None:
    desk = desk_of(desks, root, clock, poll=True)
    path = put(root / "slow.jpg", b"x" * 10_000)
    passes(desk, clock, 1.0)
    if how == "grows":
        with path.open("ab") as file:
            file.write(b"x")
    elif how == "has a hole":
        os.truncate(path, 1 << 22)
    else:
        path.write_bytes(b"x" * 10_000 + bytes(10_000))
    assert passes(desk, clock, PATIENCE / 2) == []
    assert passes(desk, clock, PATIENCE) == [path]


@pytest.mark.usefixtures("unknown")
def test_where_nobody_can_know_a_file_that_rests_is_taken_soon(
    root: Path, desks: Callable[..., Desk], clock: Clock
) -> None:
    desk = desk_of(desks, root, clock, poll=True)
    path = put(root / "quick.jpg", b"x" * 10_000)
    assert passes(desk, clock, 5.0) == [path]


#: What the clocks of others may say, in seconds since 1970; None: the right time.
CLOCKS = [None, 1e9, 4e9]


def stamp(path: Path, time_of_others: float | None) -> None:
    if time_of_others is not None:
        os.utime(path, (time_of_others, time_of_others))


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize("wrong", CLOCKS)
def test_where_nobody_can_know_a_file_that_ends_too_early_has_the_patience_of_a_writer(
    root: Path, desks: Callable[..., Desk], clock: Clock, log: list[str], wrong: float | None
) -> None:
    """It may rest from the first time that it is seen: it did not grow, and has no gaps. Its own time says nothing."""
    desk = desk_of(desks, root, clock, poll=True)
    path = put(root / "half.jpg", b"x" * 10_000)
    stamp(path, wrong)
    start, looks = clock.now, 0
    while clock.now < start + 2 * PATIENCE:
        for image in passes(desk, clock, 1.0):
            looks += 1
            if not desk.watcher.ends_early(image):
                desk.watcher.done(image)
                start -= 2 * PATIENCE
                break
        else:
            if clock.now == start + PATIENCE / 2:
                assert desk.watcher.status().unfinished.example == path
    assert clock.now >= start + 3 * PATIENCE
    assert looks == 2, "it is decoded when it comes, and at the end"
    assert [line for line in log if "is unfinished: it ends too early" in line] != []
    assert len([line for line in log if "is unfinished" in line]) == 1
    assert desk.watcher.status().unfinished == UnfinishedStatus()


@pytest.mark.usefixtures("unknown")
def test_a_half_file_goes_on_when_its_writer_does(root: Path, desks: Callable[..., Desk], clock: Clock) -> None:
    desk = desk_of(desks, root, clock, poll=True)
    path = put(root / "half.jpg", b"x" * 10_000)
    assert passes(desk, clock, 5.0) == [path]
    assert desk.watcher.ends_early(path)
    assert passes(desk, clock, PATIENCE - 60) == []
    with path.open("ab") as file:
        file.write(b"the rest")
    assert passes(desk, clock, PATIENCE - 10) == []
    assert passes(desk, clock, 60) == [path]


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize("poll", [False, True])
@pytest.mark.parametrize("writer", [Writer.ABSENT, Writer.UNKNOWN])
@pytest.mark.parametrize("how", ["a hole at the end", "a hole inside", "zeros"])
@pytest.mark.parametrize("wrong", CLOCKS)
def test_a_file_that_was_closed_with_gaps_waits_for_an_upload_to_be_resumed(
    root: Path,
    desks: Callable[..., Desk],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    poll: bool,
    writer: Writer,
    how: str,
    wrong: float | None,
) -> None:
    monkeypatch.setattr(writers, "of_path", lambda _: writer)
    desk = desk_of(desks, root, clock, poll=poll)
    path = root / "broken-off.bmp"
    with path.open("wb") as file:
        file.write(b"x" * 100_000)
        if how == "zeros":
            file.write(bytes(100_000))
        else:
            os.truncate(path, 1 << 20)
            file.seek(0, os.SEEK_END)
            file.write(b"the end" if how == "a hole inside" else b"")
        file.flush()
        stamp(path, wrong)
    assert passes(desk, clock, PATIENCE - 10) == []
    assert desk.watcher.unfinished() == [path]
    assert passes(desk, clock, 60.0) == [path]


def test_a_single_pass_goes_by_the_time_of_a_file(
    root: Path, desks: Callable[..., Desk], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, old = put(root / "fresh.bmp", b"x" + bytes(100_000)), put(root / "old.bmp", b"x" + bytes(100_000))
    monkeypatch.setattr(unfinished, "age", lambda path, _: 5.0 if path == str(fresh) else 86400.0)
    desk = desk_of(desks, root, clock, poll=True, once=True)
    assert passes(desk, clock, 5.0) == [old]
    assert desk.watcher.unfinished() == [fresh]


@pytest.mark.parametrize(("writer", "most"), [(Writer.ABSENT, 30.0), (Writer.UNKNOWN, PATIENCE), (Writer.PRESENT, 1e9)])
def test_what_ends_too_early_is_left_to_the_next_pass_for_so_long(
    root: Path, desks: Callable[..., Desk], clock: Clock, monkeypatch: pytest.MonkeyPatch, writer: Writer, most: float
) -> None:
    monkeypatch.setattr(writers, "of_path", lambda _: writer)
    desk = desk_of(desks, root, clock, poll=True, once=True)
    for seconds in (5.0, 60.0, 400.0):
        monkeypatch.setattr(unfinished, "age", lambda *_, seconds=seconds: seconds)
        assert desk.watcher.may_be_unfinished(root / "half.jpg") == (seconds < most), seconds


def test_the_age_of_a_file_is_the_least_that_its_times_allow_where_somebody_may_write_it(root: Path) -> None:
    path = put(root / "a.jpg")
    for wrong in CLOCKS:
        stamp(path, wrong)
        assert unfinished.age(str(path)) < 60
        assert (unfinished.age(str(path), Writer.ABSENT) < 60) == (wrong is None)
    path.unlink()
    assert unfinished.age(str(path)) > 1e9


@pytest.mark.parametrize(("writer", "closed"), [(Writer.ABSENT, False), (Writer.UNKNOWN, True)])
def test_a_file_that_ends_too_early_and_has_no_writer_is_broken_soon(
    root: Path,
    desks: Callable[..., Desk],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    writer: Writer,
    closed: bool,
) -> None:
    monkeypatch.setattr(writers, "of_path", lambda _: writer)
    desk = desk_of(desks, root, clock, poll=not closed)
    path = put(root / "half.jpg", b"x" * 10_000)
    start = clock.now
    while not any(not desk.watcher.ends_early(image) for image in passes(desk, clock, 1.0)):
        assert clock.now < start + PATIENCE / 2, path


@pytest.mark.usefixtures("unknown")
def test_a_hard_link_is_created_and_not_open(root: Path, desks: Callable[..., Desk], clock: Clock) -> None:
    desk = desk_of(desks, root, clock)
    outside = put(root.parent / "picture.jpg", b"x")
    os.link(outside, root / "linked.jpg")
    assert passes(desk, clock, 5.0) == [root / "linked.jpg"]


def test_a_download_beside_its_control_file_waits(root: Path, desks: Callable[..., Desk], clock: Clock) -> None:
    control = put(root / "aria.png.aria2")
    desk = desk_of(desks, root, clock, poll=True)
    path = put(root / "aria.png", b"x" * 100)
    assert passes(desk, clock, 3 * PATIENCE) == []
    control.unlink()
    assert passes(desk, clock, 32.0) == [path]


@pytest.mark.parametrize("part", ["photo.Ab1.jpg.part", "photo.jpg.part", "photo.jpg.crdownload"])
def test_a_browsers_place_holder_waits_for_its_download(
    root: Path, desks: Callable[..., Desk], clock: Clock, part: str
) -> None:
    put(root / part, b"half")
    path = put(root / "photo.jpg", b"")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    desk = desk_of(desks, root, clock, poll=True)
    assert passes(desk, clock, 3 * PATIENCE) == []
    (root / part).rename(path)
    assert passes(desk, clock, 32.0) == [path]


def test_an_empty_file_waits_long(root: Path, desks: Callable[..., Desk], clock: Clock) -> None:
    desk = desk_of(desks, root, clock, poll=True)
    path = put(root / "empty.jpg", b"")
    assert passes(desk, clock, PATIENCE / 2) == []
    assert passes(desk, clock, PATIENCE) == [path]


@pytest.mark.parametrize("how", ["everywhere", "by inbox", "of itself", "of itself, another inbox named"])
def test_a_scanner_that_opens_its_file_again_for_each_page(
    root: Path, desks: Callable[..., Desk], clock: Clock, how: str
) -> None:
    quiet = {"everywhere": 10.0, "by inbox": {str(root): 10.0}, "of itself": None}.get(how, {"/elsewhere": 3.0})
    desk = desk_of(desks, root, clock, quiet_after_close=quiet)
    path = root / "scan.tif"
    for _ in range(4):
        with path.open("ab") as file:
            file.write(b"page")
        assert passes(desk, clock, 8.0) == []
    with path.open("ab"):
        pass  # a closing without a change counts, too
    assert passes(desk, clock, 8.0) == []
    assert passes(desk, clock, 4.0) == [path]


@pytest.mark.parametrize("poll", [False, True])
@pytest.mark.parametrize("wrong", CLOCKS)
def test_only_files_of_several_pages_are_left_alone_of_themselves(
    root: Path, desks: Callable[..., Desk], clock: Clock, wrong: float | None, poll: bool
) -> None:
    """Whatever the clock of the scanner says."""
    desk = desk_of(desks, root, clock, quiet_after_close=None, poll=poll)
    picture, scan = root / "a.jpg", root / "scan.tif"
    for path in (picture, scan):
        with path.open("wb") as file:
            file.write(b"whole")
            file.flush()
            stamp(path, wrong)
    assert passes(desk, clock, 8.0) == [picture]
    with scan.open("ab") as file:
        file.write(b"page 2")
        file.flush()
        stamp(scan, wrong)
    assert passes(desk, clock, 8.0) == []
    assert passes(desk, clock, 4.0) == [scan]


def test_many_files_of_several_pages_keep_nobody_else_waiting(
    root: Path, desks: Callable[..., Desk], clock: Clock
) -> None:
    for number in range(40):
        put(root / f"{number}.tif")
    desk = desk_of(desks, root, clock, quiet_after_close=None, poll=True, backlog=4)
    assert len(passes(desk, clock, 45.0)) == 40


def test_gaps(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    path.write_bytes(b"x" * 100_000)
    assert not has_gaps(str(path))
    path.write_bytes(b"x" * 50_000 + bytes(50_000))
    assert has_gaps(str(path))
    path.write_bytes(b"x" * 50_000)
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"the end")
    assert has_gaps(str(path))
