"""What lies in an output when the daemon first comes, and what other programs file into it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from daemon.correcting.known_files import KnownFiles, KnownFolder
from daemon.files.inotify import EventQueue
from daemon.journal.records import State
from tests.daemon.correcting.conftest import Scene


def test_images_in_folders_that_people_made_are_placed(scene: Scene) -> None:
    for number in range(20):
        scene.place(f"{number}.jpg", "dog" if number % 2 else "dog/old")
    scene.start()
    scene.look(60)
    assert len(scene.labels) == 20
    assert set(scene.labels.values()) == {("dog", "placed")}


def test_also_if_the_daemon_files_into_them_at_once(scene: Scene) -> None:
    scene.place("a.jpg", "dog")
    assert scene.observer is None
    scene.start()
    scene.stop(killed=True)
    (scene.output / "dog/.imagesortd").write_text("class\n")
    scene.start()
    scene.look(60)
    assert scene.labels == {"a.jpg": ("dog", "placed")}


def test_images_in_folders_that_programs_file_into_may_be_theirs(scene: Scene) -> None:
    """The journal may have been lost, or its old rows pruned."""
    scene.place("a.jpg", "dog")
    (scene.output / "dog/.imagesortd").write_text("class\n")
    scene.start()
    scene.look(60)
    assert not scene.all_labels
    scene.place("b.jpg", "dog")
    scene.look(60)
    assert scene.labels == {"b.jpg": ("dog", "placed")}


@pytest.mark.parametrize("lost", ["deleted", "damaged"])
def test_nor_are_they_placed_once_the_journal_was_lost(scene: Scene, lost: str) -> None:
    """Of what was filed after the folders were read last, nobody knows any more that it was."""
    scene.start()
    scene.file("a.jpg")
    scene.restart()
    scene.file("b.jpg")
    scene.stop(killed=True)
    scene.journal.close()
    if lost == "damaged":
        scene.desk.journal_path.write_bytes(b"damaged" * 4096)
    else:
        scene.desk.journal_path.unlink()
    scene.journal = scene.desk.journal()
    scene.start()
    scene.look(60)
    assert not scene.all_labels
    scene.place("c.jpg", "dog")
    scene.look(60)
    assert scene.labels == {"c.jpg": ("dog", "placed")}


def test_so_may_those_that_came_while_another_program_filed_there(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    scene.look()
    scene.stop()
    marker = scene.output / "dog/.imagesortd"
    os.utime(marker, (1, 1))  # as `sort` does
    scene.place("b.jpg", "dog")
    scene.start()
    assert not scene.all_labels


def test_an_image_whose_row_was_pruned_stays_known(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.restart()
    (row,) = scene.journal.filed_with_inode([image.stat().st_ino])
    row.state = State.VOID
    scene.journal.write([row])
    scene.restart()
    assert not scene.all_labels
    scene.move(image, "wolf")
    scene.look()
    assert scene.labels == {"a.jpg": ("wolf", "placed")}


@pytest.mark.parametrize("place", ["dog/other", "other"])
def test_another_output_inside_is_left_alone(scene: Scene, place: str) -> None:
    scene.start()
    scene.file("a.jpg")
    scene.look()
    other = scene.output / place
    (other / "dog").mkdir(parents=True)
    (other / ".imagesortd-output").write_text("{}")
    (other / "b.jpg").write_bytes(b"b")
    (other / "dog/c.jpg").write_bytes(b"c")
    scene.restart()
    scene.look(60)
    assert not scene.all_labels


def test_while_the_output_is_away_nothing_is_forgotten(scene: Scene, tmp_path: Path) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    away = tmp_path / "away"
    scene.output.rename(away)
    scene.look(60)
    (away / "wolf").mkdir()
    (away / "dog" / image.name).rename(away / "wolf" / image.name)
    away.rename(scene.output)
    scene.look(60)
    assert scene.labels == {"a.jpg": ("wolf", "moved")}


def test_where_not_all_folders_can_be_watched_they_are_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    real = EventQueue.watch

    def watch(self: EventQueue, folder: str | bytes, mask: int) -> int:
        if str(folder).endswith("wolf"):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return real(self, folder, mask)

    monkeypatch.setattr(EventQueue, "watch", watch)
    scene.start()
    image = scene.file("a.jpg")
    scene.file("b.jpg", "wolf")
    scene.look(60)
    scene.move(image, "wolf")
    scene.look(60)
    assert scene.labels == {"a.jpg": ("wolf", "moved")}
    said = [line for line in logged if "raise it with `sysctl fs.inotify.max_user_watches" in line]
    assert len(said) == (0 if scene.poll else 1)


@pytest.mark.parametrize("folder", ["wolf", "wolf/2026"])
def test_a_folder_that_was_made_anew_while_events_were_lost_is_watched(scene: Scene, folder: str) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip("the kernel keeps many events here")
    scene.start()
    image = scene.file("a.jpg")
    scene.file("b.jpg", "wolf").rename(scene.output / "b.jpg")
    (scene.output / folder).mkdir(exist_ok=True)
    scene.look(60)
    note, notes = scene.output / "dog/note", scene.output / "dog/notes"
    note.touch()
    for _ in range(most // 4 + 1):  # each is two events
        note.rename(notes)
        notes.rename(note)
    shutil.rmtree(scene.output / folder)
    (scene.output / folder).mkdir()
    scene.look(60)
    scene.move(image, folder)
    scene.look(60)
    assert scene.labels == {"a.jpg": ("wolf", "moved")}


def test_what_was_seen_is_kept(tmp_path: Path) -> None:
    known = KnownFiles(tmp_path / "seen")
    folder = known.folders["caf\udce9"] = KnownFolder((5, 6), state=(1, 2), folders=["a"], marker=7)
    for number in range(1000):
        folder.add(f"{number}.jpg", number)
    folder.drop("7.jpg")
    assert len(folder.merge()) == 999
    folder.drop("8.jpg")
    undecided = ("caf\udce9", int(folder.merge()[3]))
    known.folders["empty"] = KnownFolder((5, 7), unknown_origin=True)
    known.save([undecided])
    read = KnownFiles(tmp_path / "seen")
    assert read.folders.keys() == known.folders.keys()
    again = read.folders["caf\udce9"]
    assert (len(again.merge()), again.state, again.folders, again.marker) == (997, None, ["a"], 7)
    assert read.folders["empty"].unknown_origin
    (tmp_path / "seen").write_bytes((tmp_path / "seen").read_bytes()[:-1])
    assert not KnownFiles(tmp_path / "seen").folders


@pytest.mark.parametrize("change", [{"ino": None}, {"folders": 7}, {"state": [1]}, {"marker": "x"}, {"count": None}])
def test_what_was_kept_and_is_damaged_is_seen_anew(tmp_path: Path, change: dict[str, object]) -> None:
    known = KnownFiles(tmp_path / "seen")
    known.folders["cat"] = KnownFolder((5, 6), state=(1, 2), folders=["a"], marker=7)
    known.save([])
    head = json.loads((tmp_path / "seen").read_bytes())
    head["folders"][0] |= change
    (tmp_path / "seen").write_bytes(json.dumps(head).encode() + b"\n")
    assert not KnownFiles(tmp_path / "seen").folders
