"""What a person moved to another class folder, or put into one, has a label; what the program moved has none."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.files.source import Identity
from daemon.filing.undo import undo
from daemon.journal.labels import WantedLabels
from daemon.journal.records import State
from models.decision import Fate
from tests.daemon.correcting.conftest import MAX_BYTES, Scene


def test_what_was_filed_has_no_label(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    scene.file("b.jpg", "others", fate=Fate.UNSURE)
    scene.look()
    scene.restart()
    assert not scene.all_labels


def test_an_image_that_was_moved_is_a_correction(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    moved = scene.move(image, "wolf")
    scene.look()
    (label,) = scene.all_labels
    assert (label.label, label.how, label.path) == ("wolf", "moved", moved)
    assert label.filing_id is not None
    assert label.identity.ino == moved.stat().st_ino


@pytest.mark.parametrize("how", ["stopped", "killed", "killed, and what was seen is lost"])
def test_so_is_one_that_was_moved_while_the_daemon_was_away(scene: Scene, how: str) -> None:
    scene.start()
    image = scene.file("a.jpg")
    stays = scene.file("stays.jpg")
    scene.look()
    scene.stop(killed=how != "stopped")
    if how.endswith("lost"):
        (scene.desk.journal_path.parent / "seen-files").unlink()
    scene.move(image, "wolf")
    scene.start()
    assert scene.labels == {"a.jpg": ("wolf", "moved")}
    assert stays.exists()


@pytest.mark.parametrize("folder", ["wolf", "wolf/2026/july", "늑대"])
def test_an_unsure_image_that_was_moved_to_its_class_has_its_label(scene: Scene, folder: str) -> None:
    scene.start()
    image = scene.file("a.jpg", "others", label="dog", fate=Fate.UNSURE)
    scene.look()
    scene.move(image, folder)
    scene.look(60)
    assert scene.labels == {"a.jpg": (folder.partition("/")[0], "moved")}


def test_an_image_that_was_moved_to_the_others_is_none_of_the_classes(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.file("b.jpg", "others", fate=Fate.UNSURE)
    scene.look()
    scene.move(image, "others")
    scene.look()
    assert scene.labels == {"a.jpg": (None, "moved")}


@pytest.mark.parametrize(
    "place", ["quarantine/broken", "caf\udce9", ".Trash-1000/files", "#recycle", "../elsewhere", "../inbox"]
)
def test_an_image_that_was_moved_elsewhere_has_no_label(scene: Scene, place: str) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.move(image, place)
    scene.look()
    scene.restart()
    assert not scene.all_labels


@pytest.mark.parametrize("stopped", [False, True])
def test_an_image_that_was_moved_back_is_no_correction_any_more(scene: Scene, stopped: bool) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    moved = scene.move(image, "wolf")
    scene.look()
    assert scene.labels
    if stopped:
        scene.stop()
    moved.rename(image)
    scene.start() if stopped else scene.look()
    assert not scene.labels
    scene.move(image, "wolf")
    scene.look()
    assert scene.labels == {"a.jpg": ("wolf", "moved")}


def test_it_is_taken_back_after_a_kill_too(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.restart()
    moved = scene.move(image, "wolf")
    scene.look()
    assert scene.labels
    scene.stop(killed=True)
    moved.rename(image)
    scene.start()
    assert not scene.labels


def test_it_is_taken_back_however_many_labels_came_after_it(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.restart()
    moved = scene.move(image, "wolf")
    scene.look()
    (label,) = scene.all_labels
    later = [
        replace(label, id=None, sha256=f"{number:064}", identity=Identity(0, 0, number, 0), filing_id=None)
        for number in range(1200)
    ]
    scene.journal.write([], labels=later)
    scene.stop(killed=True)
    moved.rename(image)
    scene.start()
    (first,) = scene.journal.labels(WantedLabels(sha256=[label.sha256], every=True))
    assert first.forgotten


def test_the_last_move_counts(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    moved = scene.move(image, "wolf")
    scene.look()
    scene.move(moved, "fox")
    scene.look()
    assert scene.labels == {"a.jpg": ("fox", "moved")}
    assert len(scene.all_labels) == 2


def test_another_name_in_the_same_folder_is_no_correction(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.move(image, "dog", "rex.jpg")
    scene.look()
    assert not scene.all_labels


def test_an_image_that_was_placed_has_the_label_of_its_folder(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    scene.look()
    for folder in ("dog", "others", "cow"):
        scene.place(f"{folder}.jpg", folder)
    scene.place("notes.txt", "dog")
    scene.look(60)
    assert scene.labels == {"dog.jpg": ("dog", "placed"), "cow.jpg": ("cow", "placed")}


def test_a_file_that_is_too_large_for_an_image_is_not_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse one may be of any size."""
    sizes: set[int] = set()
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        sizes.add(os.fstat(descriptor).st_size)
        return real(descriptor, size)

    scene.start()
    scene.file("a.jpg")
    scene.look()
    os.truncate(scene.place("huge.jpg", "dog"), MAX_BYTES + 1)
    os.truncate(scene.place("large.jpg", "dog"), MAX_BYTES)
    monkeypatch.setattr(os, "read", read)
    scene.look(60)
    assert MAX_BYTES in sizes
    assert MAX_BYTES + 1 not in sizes
    assert scene.labels == {"large.jpg": ("dog", "placed")}


def test_no_more_is_read_of_a_file_than_its_size_says(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some files that are no files of a disk, which give more for as long as they are read."""
    endless = 0
    scene.start()
    scene.file("a.jpg")
    scene.look()
    image = scene.place("b.jpg", "dog")
    inode = image.stat().st_ino
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        nonlocal endless
        if os.fstat(descriptor).st_ino != inode:
            return real(descriptor, size)
        endless += 1
        assert endless < 100
        return b"x" * size

    monkeypatch.setattr(os, "read", read)
    scene.look(60)
    assert endless
    assert not scene.labels


def test_a_file_that_is_being_written_waits(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    scene.look()
    with (scene.output / "dog/b.jpg").open("wb") as file:
        for _ in range(3):
            file.write(b"more")
            file.flush()
            scene.look()
        assert not scene.labels
    scene.look(60)
    (label,) = scene.all_labels
    assert label.identity.size == 12


def test_what_the_program_moves_is_no_correction(scene: Scene) -> None:
    """As `resort` does, which files from one class folder into another."""
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.desk.file_one(image, "wolf")
    scene.look()
    assert not scene.all_labels
    for undone in undo(
        scene.journal, scene.journal.filed_with_inode([(scene.output / "wolf/a.jpg").stat().st_ino])[:1]
    ):
        assert undone.destination == image
    scene.look()
    scene.restart()
    assert not scene.all_labels
    scene.move(image, "wolf")
    scene.look()
    assert scene.labels == {"a.jpg": ("wolf", "moved")}


def test_nor_is_what_it_is_about_to_finish(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    intent = scene.desk.intent(image, "wolf")
    scene.journal.write([intent])
    moved = scene.move(image, "wolf")
    scene.look()
    assert not scene.all_labels
    intent.state = State.DONE
    scene.journal.write([intent])
    scene.look(60)
    assert not scene.all_labels
    assert moved.exists()


def test_nor_is_what_it_finishes_between_the_look_and_the_label(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    intent = scene.desk.intent(image, "wolf")
    scene.journal.write([intent])
    scene.move(image, "wolf")
    scene.look(10, noting=False)
    assert scene.found
    intent.state = State.DONE
    scene.journal.write([intent])
    scene.look(60)
    assert not scene.all_labels


def test_an_edited_image_is_known(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    image.write_bytes(b"edited in place")
    scene.look()
    scene.move(image, "wolf")
    scene.look()
    (label,) = scene.all_labels
    assert (label.label, label.how) == ("wolf", "moved")
    assert label.filing_id is not None


def test_an_image_that_an_editor_saved_anew_is_no_correction(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    new = image.with_name(".a.jpg.new")
    new.write_bytes(b"edited")
    new.rename(image)
    scene.look()
    scene.restart()
    assert not scene.all_labels


def test_another_image_under_the_name_of_one_that_was_moved_is_placed(scene: Scene) -> None:
    scene.start()
    image = scene.file("IMG_0001.jpg")
    scene.look()
    scene.move(image, "wolf")
    scene.look()
    scene.place("IMG_0001.jpg", "dog", b"of another camera")
    scene.look()
    assert {(label.label, label.how.value) for label in scene.all_labels} == {("wolf", "moved"), ("dog", "placed")}


@pytest.mark.parametrize("then", ["stays", "goes"])
def test_a_copy_counts_once_its_original_is_gone(scene: Scene, then: str) -> None:
    """A program that moves to another file system copies first."""
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    (scene.output / "wolf").mkdir()
    shutil.copy2(image, scene.output / "wolf")
    scene.look()
    assert not scene.all_labels
    if then == "goes":
        image.unlink()
    scene.look(100)
    assert scene.labels == ({"a.jpg": ("wolf", "moved")} if then == "goes" else {})


def test_a_second_link_is_no_correction(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    (scene.output / "wolf").mkdir()
    os.link(image, scene.output / "wolf/a.jpg")
    scene.look(60)
    assert not scene.all_labels


def test_a_link_is_not_followed(scene: Scene, tmp_path: Path) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    (tmp_path / "far").mkdir()
    (scene.output / "wolf").symlink_to(tmp_path / "far")
    image.rename(tmp_path / "far/a.jpg")
    (scene.output / "dog/b.jpg").symlink_to(tmp_path / "far/a.jpg")
    scene.look(60)
    assert not scene.all_labels


def test_a_class_folder_that_was_renamed_corrects_none_of_its_images(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    image = scene.file("b.jpg")
    scene.look()
    (scene.output / "dog").rename(scene.output / "개")
    scene.look(60)
    assert not scene.all_labels
    scene.move(scene.output / "개" / image.name, "wolf")
    scene.look(60)
    scene.restart()
    assert scene.labels == {"b.jpg": ("wolf", "moved")}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_class_folder_that_was_renamed_stands_for_its_class(scene: Scene, restarted: bool, logged: list[str]) -> None:
    """It makes no second class: neither what lies in it, nor what is moved there."""
    scene.start()
    scene.file("a.jpg")
    image = scene.file("b.jpg", "wolf")
    scene.look()
    if restarted:
        scene.stop()
    (scene.output / "dog").rename(scene.output / "puppy")
    scene.start() if restarted else scene.look(60)
    assert not scene.all_labels
    said = [line for line in logged if "the class folder 'dog' is called 'puppy' now" in line]
    assert len(said) == 1
    scene.move(image, "puppy")
    scene.look(60)
    scene.restart()
    assert scene.labels == {"b.jpg": ("dog", "moved")}
    scene.move(scene.output / "puppy/a.jpg", "wolf")
    scene.look(60)
    assert scene.labels == {"b.jpg": ("dog", "moved"), "a.jpg": ("wolf", "moved")}
    assert len([line for line in logged if "is called 'puppy' now" in line]) == 1


def test_until_it_has_its_name_again_or_the_daemon_files_by_its_new_one(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg")
    first, second = scene.file("b.jpg", "wolf"), scene.file("c.jpg", "wolf")
    scene.look()
    (scene.output / "dog").rename(scene.output / "puppy")
    scene.look(60)
    (scene.output / "puppy").rename(scene.output / "dog")
    scene.look(60)
    scene.move(first, "dog")
    scene.look(60)
    assert scene.labels == {"b.jpg": ("dog", "moved")}
    (scene.output / "dog").rename(scene.output / "puppy")
    scene.look(60)
    scene.file("d.jpg", "puppy")
    scene.look(60)
    scene.move(second, "puppy")
    scene.look(60)
    assert scene.labels["c.jpg"] == ("puppy", "moved")


def test_a_folder_of_a_persons_own_has_the_class_of_its_new_name(scene: Scene) -> None:
    scene.start()
    scene.place("a.jpg", "zebre")
    scene.look(60)
    assert scene.labels == {"a.jpg": ("zebre", "placed")}
    (scene.output / "zebre").rename(scene.output / "zebra")
    scene.look(60)
    assert scene.labels == {"a.jpg": ("zebra", "placed")}


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("soon", [False, True])
def test_a_class_folder_that_was_moved_into_another_corrects_its_images(
    scene: Scene, stopped: bool, soon: bool
) -> None:
    scene.start()
    scene.file("a.jpg", "cat")
    scene.file("b.jpg", "dog")
    scene.look(60)
    scene.place("c.jpg", "cat/old")
    scene.look(60)
    assert scene.labels == {"c.jpg": ("cat", "placed")}
    if stopped:
        scene.stop()
    (scene.output / "cat").rename(scene.output / "dog/cat")
    scene.start() if stopped else None
    scene.look(15 if soon else 100)
    assert scene.labels == {"a.jpg": ("dog", "moved"), "c.jpg": ("dog", "placed")}
    scene.file("d.jpg", "cat")
    scene.look(60)
    scene.place("e.jpg", "dog/cat")
    scene.look(60)
    scene.restart()
    assert scene.labels == {"a.jpg": ("dog", "moved"), "c.jpg": ("dog", "placed"), "e.jpg": ("dog", "placed")}


def test_and_moved_back_it_corrects_them_no_more(scene: Scene) -> None:
    scene.start()
    scene.file("a.jpg", "cat")
    scene.file("b.jpg", "dog")
    scene.look(60)
    scene.place("c.jpg", "cat")
    scene.look(60)
    (scene.output / "cat").rename(scene.output / "dog/cat")
    scene.look(15)
    assert scene.labels == {"a.jpg": ("dog", "moved"), "c.jpg": ("dog", "placed")}
    (scene.output / "dog/cat").rename(scene.output / "cat")
    scene.look(60)
    assert scene.labels == {"c.jpg": ("cat", "placed")}


def test_in_an_inner_folder_that_programs_file_into_only_what_was_filed_counts(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg", "cat")
    scene.file("b.jpg", "dog")
    scene.look()
    scene.place(".imagesortd", "dog/theirs", b"class\n")
    scene.place("c.jpg", "dog/theirs")
    scene.place("d.jpg", "dog/theirs/inside")
    scene.look(60)
    scene.place("e.jpg", "dog/theirs")
    scene.look(60)
    scene.restart()
    assert not scene.all_labels
    scene.move(image, "dog/theirs")
    scene.look(60)
    assert scene.labels == {"a.jpg": ("dog", "moved")}


def test_a_folder_that_was_moved_into_another_class_corrects_its_images(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.file("b.jpg", "wolf")
    scene.look()
    scene.move(image, "dog/2026")
    scene.look(60)
    assert not scene.all_labels
    (scene.output / "dog/2026").rename(scene.output / "wolf/2026")
    scene.look(60)
    assert scene.labels == {"a.jpg": ("wolf", "moved")}
    (scene.output / "wolf/2026").rename(scene.output / "dog/2026")
    scene.look(60)
    assert not scene.labels


def test_an_undone_image_that_is_put_into_a_class_is_placed(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    list(undo(scene.journal, scene.journal.filed_with_inode([image.stat().st_ino])))
    scene.look()
    scene.move(scene.desk.inbox / "a.jpg", "wolf")
    scene.look()
    assert scene.labels == {"a.jpg": ("wolf", "placed")}


def test_a_label_that_was_forgotten_stays_so_while_its_image_stays(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    scene.move(image, "wolf")
    scene.look()
    scene.journal.forget_labels([label.id for label in scene.all_labels if label.id])
    scene.stop(killed=True)
    (scene.desk.journal_path.parent / "seen-files").unlink()
    scene.start()
    assert not scene.labels
