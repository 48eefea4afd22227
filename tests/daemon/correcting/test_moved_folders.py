"""A class folder that a person renamed stands for its class; one that was moved into another corrects its images."""

from __future__ import annotations

import pytest

from tests.daemon.correcting.conftest import Scene


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
