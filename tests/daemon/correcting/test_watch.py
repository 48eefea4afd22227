"""The watch beside a work loop: its thread, what it costs, and what it does when the disk or the journal fails."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.config import Settings
from daemon.correcting.allowance import SHARE, Allowance
from daemon.correcting.own_filings import OwnFilings
from daemon.correcting.watch import CorrectionWatches, watch_corrections
from daemon.filing.filer import Filer
from daemon.journal.journal import Journal, JournalBusy
from daemon.journal.labels import How
from daemon.journal.reader import JournalReader
from tests.daemon.correcting.conftest import Scene
from tests.filing_desk import Desk, make_desk
from tests.processes import wait_for


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = make_desk(tmp_path)
    desk.output.mkdir()
    return desk


@pytest.fixture
def journal(desk: Desk) -> Iterator[Journal]:
    journal = desk.journal()
    journal.note("test", "the file is there")
    yield journal
    journal.close()


def watching(desk: Desk, journal: Journal) -> CorrectionWatches:
    settings = Settings(watch=[desk.inbox], output=desk.output, state_dir=desk.journal_path.parent)
    return watch_corrections(settings, journal, desk.journal_path, (), lambda: None)


def test_a_move_is_noted_beside_a_work_loop(desk: Desk, journal: Journal) -> None:
    with watching(desk, journal) as watch:
        filed = desk.file_one(desk.put("a.jpg"), "dog").destination
        assert filed is not None
        watch.filed(filed)
        (desk.output / "wolf").mkdir()
        filed.rename(desk.output / "wolf/a.jpg")
        noted = Counter[How]()
        wait_for(lambda: noted.update(watch.turn()) or noted, "it is noted")
        assert noted == {How.MOVED: 1}
        assert not watch.turn()
    assert [label.label for label in journal.labels()] == ["wolf"]


def test_a_single_pass_notes_what_was_moved_before_it(desk: Desk, journal: Journal) -> None:
    filed = desk.file_one(desk.put("a.jpg"), "dog").destination
    assert filed is not None
    (desk.output / "wolf").mkdir()
    filed.rename(desk.output / "wolf/a.jpg")
    with watching(desk, journal) as watch:
        assert watch.finish(60) == {How.MOVED: 1}


def test_what_cannot_be_written_now_is_written_later(
    desk: Desk, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    filed = desk.file_one(desk.put("a.jpg"), "dog").destination
    assert filed is not None
    (desk.output / "wolf").mkdir()
    filed.rename(desk.output / "wolf/a.jpg")
    with watching(desk, journal) as watch, monkeypatch.context() as patched:

        def interrupted(_: Journal) -> object:
            raise JournalBusy("it is busy")

        patched.setattr(Journal, "interrupted", interrupted)
        assert watch.finish(1) == {}
        patched.undo()
        assert watch.finish(60) == {How.MOVED: 1}


def test_errors_of_the_disk_and_the_journal_pass(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    moved = scene.move(image, "wolf")
    with monkeypatch.context() as patched:

        def fails(*_: object) -> object:
            raise sqlite3.OperationalError("disk I/O error")

        patched.setattr(JournalReader, "last_filed", fails)
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError):
                scene.look()
            scene.now += 60
    scene.look(120)
    assert scene.labels == {"a.jpg": ("wolf", "moved")}
    assert moved.exists()


def test_folders_that_have_not_changed_are_not_read_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.start()
    for name in ("dog", "wolf"):
        scene.file(f"{name}.jpg", name)
    for _ in range(3):
        scene.look()
    real, read = os.scandir, []

    def scandir(path: object) -> object:
        read.append(path)
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    scene.look(200)
    scene.restart()
    assert [path for path in read if path != scene.output] == []


def test_a_long_reading_is_followed_by_the_next_within_a_minute(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.start()
    image = scene.file("a.jpg")
    (scene.output / "fox").mkdir()
    scene.look()
    real = os.scandir

    def scandir(path: object) -> object:
        scene.now += 300  # so long does it take on a busy machine
        return real(path)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        scene.look(1000)
    scene.move(image, "fox")
    scene.look(60)
    assert scene.labels == {"a.jpg": ("fox", "moved")}


def test_what_sort_files_is_nobodys_word(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    scene.look()
    scene.stop()
    image = scene.desk.put("b.jpg", b"sorted")
    Filer(scene.output, action="copy", skip_equal=True).file([scene.desk.decide(image, "dog")])
    scene.start()
    scene.look(60)
    assert not scene.all_labels
    assert (scene.output / "dog/b.jpg").exists()


def test_nor_is_what_it_files_beside_the_daemon(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    scene.look(60)
    for number in range(3):
        image = scene.desk.put(f"{number}.jpg", b"sorted %d" % number)
        for folder in ("dog", "wolf"):
            Filer(scene.output, action="copy", skip_equal=True).file([scene.desk.decide(image, folder)])
            now = scene.wall()  # as the clock of the scene has it
            os.utime(scene.output / folder / ".imagesortd", (now, now))
        scene.look(5)
    assert not scene.all_labels
    scene.look(120)
    scene.place("b.jpg", "dog")
    scene.look(20)
    assert scene.labels == {"b.jpg": ("dog", "placed")}


def test_many_at_once_are_summed_up(scene: Scene, logged: list[str]) -> None:
    scene.start()
    images = [scene.file(f"{number}.jpg") for number in range(50)]
    scene.look()
    for image in images:
        scene.move(image, "wolf")
    scene.look(120)
    scene.writer.summarise()
    assert len(scene.labels) == 50
    single = [line for line in logged if line.endswith(": noted as a correction")]
    assert len(single) == 10
    assert "40 more images were moved to other class folders: noted as corrections" in logged


def test_own_filings_are_forgotten_after_a_while() -> None:
    own = OwnFilings()
    for name in ("a", "b", "c"):
        own.add(Path(name))
    assert own.take("a")
    assert not own.take("a")
    own.turn_over()
    own.add(Path("d"))
    assert own.take("b")
    own.turn_over()
    assert not own.take("c")
    assert own.take("d")


def test_the_allowance_holds_on_average() -> None:
    clock = [0.0, 0.0]  # the time, and what was used of the processor
    allowance = Allowance(lambda: clock[0], lambda: clock[1])
    while clock[0] < 100_000:
        clock[0] += 0.01 + allowance.pause()
        clock[1] += 0.01
    assert clock[1] / clock[0] < 1.2 * SHARE


def test_a_burst_leaves_room_for_others() -> None:
    clock = [0.0, 0.0]
    allowance = Allowance(lambda: clock[0], lambda: clock[1])
    while clock[1] < 5:
        clock[0] += 0.01 + allowance.pause()
        clock[1] += 0.01
    assert 10 < clock[0] < 30
