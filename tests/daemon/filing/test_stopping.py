"""Told to stop in the midst of a large file, the program stops soon, and leaves nothing half."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.files import copying
from daemon.files.renaming import FileAt
from daemon.files.source import Identity
from daemon.filing.filer import Action, Filer, FilingResult, Status
from daemon.journal.records import State
from tests.filing_desk import Desk, images, make_desk, tree

FILM = bytes(range(256)) * (20 << 12)  # 20 MiB


def told_after(chunks: int) -> Callable[[], bool]:
    """A question that is answered by yes from so many parts of files on."""
    asked = iter(range(1_000_000))
    return lambda: next(asked) >= chunks


def file_until(desk: Desk, paths: list[Path], action: Action, chunks: int) -> list[FilingResult]:
    decisions = [desk.decide(path, max_bytes=1 << 30) for path in paths]
    with copying.reporting_to(lambda: None, told_after(chunks)):
        return desk.file(decisions, action=action)


@pytest.mark.parametrize("action", ["move", "copy"])
@pytest.mark.parametrize("chunks", [0, 1, 5, 20, 21, 22, 23])
def test_a_copy_that_is_stopped_leaves_the_image_where_it_was(far: Desk, action: Action, chunks: int) -> None:
    """At the beginning, in the midst, at the end of the first, between the two, before the flush, and after it."""
    paths = [far.put("large.jpg", FILM), far.put("small.jpg", b"small")]
    before = tree(far.inbox)
    outcomes = file_until(far, paths, action, chunks)
    stopped = [path for path, outcome in zip(paths, outcomes, strict=True) if outcome.status is Status.STOPPED]
    assert stopped
    assert all(before[str(path)] == tree(far.inbox)[str(path)] for path in stopped)
    assert [path for path in images(far.output) if path.name.startswith(".")] == []
    assert len(images(far.output)) == len(paths) - len(stopped)
    assert far.journal().interrupted() == []
    again = far.file([far.decide(path, max_bytes=1 << 30) for path in stopped], action=action)
    assert {outcome.status for outcome in again} == {Status.FILED}
    assert Counter(far.filed().values()) == Counter([FILM, b"small"])


def test_what_need_not_be_copied_is_filed_all_the_same(tmp_path: Path, desk: Desk) -> None:
    path = desk.put()
    if desk.inbox.stat().st_dev != desk.output.parent.stat().st_dev:
        pytest.skip("it has to be copied here")
    (filed,) = file_until(desk, [path], "move", 0)
    assert filed.status is Status.FILED


def test_a_sidecar_that_is_stopped_stays_without_a_word(far: Desk, logged: list[str]) -> None:
    image, film = far.put(), far.put("cat.mov", FILM)
    for path in (image, film):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (filed,) = file_until(far, [image], "move", 6)
    assert filed.status is Status.FILED
    assert film.read_bytes() == FILM
    assert [path.name for path in images(far.output)] == ["cat.jpg"]
    assert logged == []
    assert far.journal().interrupted() == []


def test_where_inodes_mean_nothing_a_second_look_at_the_original_is_stopped_too(
    far: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once more before it goes, and then its copy lies there already: the next start finishes that."""
    path = far.put(content=FILM)
    decision = far.decide(path, max_bytes=1 << 30)
    object.__setattr__(decision.source, "identity", decision.source.identity._replace(ino=1))
    with copying.reporting_to(lambda: None, told_after(60)):
        (filed,) = far.file([decision])
    assert filed.status is Status.STOPPED
    assert FILM in far.contents()
    assert [path for path in images(far.inbox) if path.name.startswith(".")] == []
    assert len(far.journal().interrupted()) == 1


def test_a_slow_disk_is_flushed_in_smaller_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing interrupts a flush."""
    now, sizes, flushed = [0.0], [], [0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def flush(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        sizes.append(size - flushed[0])
        now[0] += sizes[-1] / (2 << 20)  # 2 MiB a second
        flushed[0] = size

    monkeypatch.setattr(os, "fdatasync", flush)
    (tmp_path / "film.mov").write_bytes(FILM)
    folder = os.open(tmp_path, os.O_RDONLY)
    film = FileAt(folder, "film.mov")
    copying.copy_into(copying.create(FileAt(folder, "copy.mov")), film, Identity.from_stat(film.stat()), None)
    os.close(folder)
    assert sizes == [8 << 20, *[1 << 20] * 12]


def test_a_recovery_that_is_stopped_goes_on_at_the_next_start(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    path = desk.put()
    row = desk.intent(path)
    journal = desk.journal()
    journal.write([row])
    filer = Filer(desk.output, journal=journal)
    with copying.reporting_to(lambda: None, lambda: True):
        filer.recover()
    assert len(journal.interrupted()) == 1
    assert filer.recover() == {State.VOID: 1}
    journal.close()
    assert path.exists()
