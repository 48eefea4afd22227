"""What a person moved to another class folder has a label; what the program moved has none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from daemon.filing.duplicates import Duplicates
from daemon.filing.undo import undo
from daemon.journal.records import State
from models.deciding.rule import Fate
from tests.daemon.correcting.conftest import Scene


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


def test_what_lies_among_the_duplicates_says_nothing_and_what_leaves_them_does(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg", content=b"the same")
    decision = scene.desk.decide(scene.desk.put("b.jpg", b"the same"), "dog")
    (result,) = scene.desk.file([decision], duplicates=Duplicates("folder"))
    duplicate = result.destination
    assert duplicate is not None
    assert duplicate.parent.name == "duplicates"
    scene.own.add(duplicate)
    scene.look()
    image = scene.move(image, "duplicates")
    scene.look()
    assert not scene.all_labels
    scene.move(duplicate, "wolf")
    scene.look()
    assert scene.labels == {"b.jpg": ("wolf", "moved")}


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
