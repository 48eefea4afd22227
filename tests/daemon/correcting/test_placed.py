"""What a person put into a class folder has its label, once it is complete."""

from __future__ import annotations

import os

import pytest

from daemon.filing.undo import undo
from tests.daemon.correcting.conftest import MAX_BYTES, Scene


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


def test_another_image_under_the_name_of_one_that_was_moved_is_placed(scene: Scene) -> None:
    scene.start()
    image = scene.file("IMG_0001.jpg")
    scene.look()
    scene.move(image, "wolf")
    scene.look()
    scene.place("IMG_0001.jpg", "dog", b"of another camera")
    scene.look()
    assert {(label.label, label.how.value) for label in scene.all_labels} == {("wolf", "moved"), ("dog", "placed")}


def test_an_undone_image_that_is_put_into_a_class_is_placed(scene: Scene) -> None:
    scene.start()
    image = scene.file("a.jpg")
    scene.look()
    list(undo(scene.journal, scene.journal.filed_with_inode([image.stat().st_ino])))
    scene.look()
    scene.move(scene.desk.inbox / "a.jpg", "wolf")
    scene.look()
    assert scene.labels == {"a.jpg": ("wolf", "placed")}
