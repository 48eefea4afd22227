"""What people do in the folders of nested classes: each folder in an inner folder of the model is a class."""

from __future__ import annotations

import os

import pytest

from tests.daemon.correcting.conftest import Scene

CLASSES = ("animals/dog", "animals/cat", "plants/tree", "car")


@pytest.fixture
def nested(scene: Scene) -> Scene:
    scene.classes = CLASSES
    return scene


def test_a_move_between_two_of_them_is_a_correction(nested: Scene) -> None:
    nested.start()
    first, second = nested.file("a.jpg", "animals/dog"), nested.file("b.jpg", "animals/cat")
    third, fourth = nested.file("c.jpg", "plants/tree"), nested.file("d.jpg", "car")
    nested.look()
    assert not nested.all_labels
    nested.move(first, "animals/cat")
    nested.move(second, "car")
    nested.move(third, "animals/dog")
    nested.move(fourth, "others")
    nested.look(60)
    assert nested.labels == {
        "a.jpg": ("animals/cat", "moved"),
        "b.jpg": ("car", "moved"),
        "c.jpg": ("animals/dog", "moved"),
        "d.jpg": (None, "moved"),
    }
    nested.restart()
    assert len(nested.labels) == 4


def test_a_folder_that_differs_from_a_class_in_capitals_alone_is_that_class(nested: Scene) -> None:
    """As a person has made it on a drive where the daemon then files into the same folder by another name."""
    nested.start()
    first, second = nested.file("a.jpg", "animals/dog"), nested.file("b.jpg", "car")
    nested.look()
    nested.move(first, "CAR")
    nested.move(second, "Animals/Dog")
    nested.place("own.jpg", "Animals/Dog")
    nested.look(60)
    assert nested.labels == {
        "a.jpg": ("car", "moved"),
        "b.jpg": ("animals/dog", "moved"),
        "own.jpg": ("animals/dog", "placed"),
    }


def test_so_is_a_move_out_of_the_inner_folder_or_into_it(nested: Scene) -> None:
    nested.start()
    rolled_up, sure = nested.file("a.jpg", "animals"), nested.file("b.jpg", "animals/dog")
    nested.file("c.jpg", "animals")
    nested.look()
    assert not nested.all_labels
    rolled_up = nested.move(rolled_up, "animals/dog")
    nested.move(sure, "animals")
    nested.look(60)
    assert nested.labels == {"a.jpg": ("animals/dog", "moved"), "b.jpg": ("animals", "moved")}
    nested.move(rolled_up, "animals")
    nested.look(60)
    assert nested.labels == {"b.jpg": ("animals", "moved")}


def test_a_folder_that_a_person_makes_beside_them_is_a_new_class(nested: Scene) -> None:
    nested.start()
    first, second = nested.file("a.jpg", "animals/dog"), nested.file("b.jpg", "animals")
    nested.look()
    nested.move(first, "animals/여우")
    nested.move(second, "animals/여우")
    nested.place("c.jpg", "animals/여우")
    nested.place("d.jpg", "birds/eagle")
    nested.look(60)
    assert nested.labels == {
        "a.jpg": ("animals/여우", "moved"),
        "b.jpg": ("animals/여우", "moved"),
        "c.jpg": ("animals/여우", "placed"),
        "d.jpg": ("birds", "placed"),
    }


def test_below_a_class_everything_is_of_it(nested: Scene) -> None:
    nested.start()
    image, other = nested.file("a.jpg", "animals/dog"), nested.file("b.jpg", "animals/cat")
    nested.look()
    nested.move(image, "animals/dog/summer/2024")
    nested.move(other, "animals/dog/summer")
    nested.place("c.jpg", "car/old")
    nested.look(60)
    assert nested.labels == {"b.jpg": ("animals/dog", "moved"), "c.jpg": ("car", "placed")}


@pytest.mark.parametrize("name", [".hidden", "@eaDir", "CON", "a?b"])
def test_what_can_be_no_class_says_nothing(nested: Scene, name: str) -> None:
    nested.start()
    image = nested.file("a.jpg", "animals/dog")
    nested.look()
    nested.move(image, f"animals/{name}")
    nested.place("b.jpg", f"animals/{name}")
    nested.look(60)
    assert not nested.all_labels


@pytest.mark.parametrize("restarted", [False, True])
def test_a_class_folder_that_was_renamed_stands_for_its_class(
    nested: Scene, restarted: bool, logged: list[str]
) -> None:
    nested.start()
    nested.file("a.jpg", "animals/dog")
    image = nested.file("b.jpg", "animals/cat")
    nested.look()
    if restarted:
        nested.stop()
    (nested.output / "animals/dog").rename(nested.output / "animals/hound")
    nested.start() if restarted else nested.look(60)
    assert not nested.all_labels
    said = [line for line in logged if "the class folder 'animals/dog' is called 'animals/hound' now" in line]
    assert len(said) == 1
    nested.move(image, "animals/hound")
    nested.look(60)
    nested.restart()
    assert nested.labels == {"b.jpg": ("animals/dog", "moved")}
    nested.move(nested.output / "animals/hound/a.jpg", "animals/cat")
    nested.look(60)
    assert nested.labels["a.jpg"] == ("animals/cat", "moved")
    nested.file("c.jpg", "animals/hound")
    nested.place("d.jpg", "animals/hound")
    nested.look(60)
    assert nested.labels["d.jpg"] == ("animals/hound", "placed")


@pytest.mark.parametrize("restarted", [False, True])
def test_so_do_all_in_an_inner_folder_that_was_renamed(nested: Scene, restarted: bool, logged: list[str]) -> None:
    nested.start()
    nested.file("a.jpg", "animals/dog")
    image, rolled_up = nested.file("b.jpg", "animals/cat"), nested.file("c.jpg", "animals")
    nested.look()
    if restarted:
        nested.stop()
    (nested.output / "animals").rename(nested.output / "creatures")
    if restarted:
        (nested.output / "creatures/cat").rename(nested.output / "creatures/kitten")
    nested.start() if restarted else nested.look(60)
    assert not nested.all_labels
    assert len([line for line in logged if "'animals' is called 'creatures' now" in line]) == 1
    kitten = nested.output / "creatures" / ("kitten" if restarted else "cat")
    nested.move(kitten / image.name, "creatures/dog")
    nested.move(nested.output / "creatures" / rolled_up.name, f"creatures/{kitten.name}")
    nested.move(nested.output / "creatures/dog/a.jpg", "creatures/fox")
    nested.look(60)
    assert nested.labels == {
        "b.jpg": ("animals/dog", "moved"),
        "c.jpg": ("animals/cat", "moved"),
        "a.jpg": ("animals/fox", "moved"),
    }


def test_and_one_that_was_moved_elsewhere_as_a_whole(nested: Scene, logged: list[str]) -> None:
    nested.start()
    nested.file("a.jpg", "animals/dog")
    image = nested.file("b.jpg", "plants/tree")
    nested.look()
    (nested.output / "animals/dog").rename(nested.output / "plants/dog")
    nested.look(60)
    assert not nested.all_labels
    assert any("'animals/dog' is called 'plants/dog' now" in line for line in logged)
    nested.move(image, "plants/dog")
    nested.look(60)
    nested.restart()
    assert nested.labels == {"b.jpg": ("animals/dog", "moved")}
    (nested.output / "plants/dog").rename(nested.output / "animals/dog")
    nested.look(60)
    nested.move(nested.output / "animals/dog/a.jpg", "plants/tree")
    nested.look(60)
    assert nested.labels["a.jpg"] == ("plants/tree", "moved")


@pytest.mark.parametrize("stopped", [False, True])
def test_a_class_folder_that_was_moved_into_another_corrects_its_images(nested: Scene, stopped: bool) -> None:
    nested.start()
    nested.file("a.jpg", "animals/cat")
    nested.file("b.jpg", "animals/dog")
    nested.look(60)
    if stopped:
        nested.stop()
    (nested.output / "animals/cat").rename(nested.output / "animals/dog/cat")
    nested.start() if stopped else nested.look(60)
    assert nested.labels == {"a.jpg": ("animals/dog", "moved")}


def test_a_folder_that_got_the_name_of_a_class_of_a_new_model_is_of_that_class(
    nested: Scene, logged: list[str]
) -> None:
    """As who has sorted the classes of the data set into groups does with the class folders, too."""
    nested.classes = ("dog", "cat")
    nested.start()
    nested.file("a.jpg", "dog")
    image = nested.file("b.jpg", "cat")
    nested.look()
    assert nested.observer is not None
    nested.observer.use(["animals/dog", "animals/cat"])
    (nested.output / "animals").mkdir()
    for name in ("dog", "cat"):
        (nested.output / name).rename(nested.output / "animals" / name)
    nested.look(60)
    assert not nested.all_labels
    assert not [line for line in logged if "is called" in line]
    nested.move(nested.output / "animals/cat" / image.name, "animals/dog")
    nested.look(60)
    assert nested.labels == {"b.jpg": ("animals/dog", "moved")}


def test_another_model_says_anew_what_the_folders_are(nested: Scene) -> None:
    nested.classes = ("animals", "car")
    nested.start()
    image = nested.file("a.jpg", "animals")
    nested.look()
    image = nested.move(image, "animals/summer")
    nested.look(60)
    assert not nested.all_labels
    assert nested.observer is not None
    nested.observer.use(CLASSES)
    second = nested.file("b.jpg", "animals/dog")
    nested.look(60)
    assert not nested.all_labels
    nested.move(second, "animals/cat")
    nested.look(60)
    assert nested.labels == {"b.jpg": ("animals/cat", "moved")}
    nested.observer.use(["animals", "car"])
    nested.move(nested.output / "animals/cat/b.jpg", "car")
    nested.look(60)
    assert nested.labels == {"b.jpg": ("car", "moved")}


@pytest.mark.parametrize("known", [True, False])
def test_what_programs_have_filed_into_them_is_no_example(nested: Scene, known: bool) -> None:
    """`sort` touches the markers, of the inner folder and of the class."""
    if known:
        nested.start()
        nested.file("a.jpg", "animals/dog")
        nested.look(60)
        nested.stop()
    sorted_in = nested.output / "animals/cat"
    for folder in (sorted_in.parent, sorted_in):
        folder.mkdir(exist_ok=True, parents=True)
        (folder / ".imagesortd").write_text("class\n")
        os.utime(folder / ".imagesortd")
    (sorted_in / "b.jpg").write_bytes(b"b")
    (sorted_in.parent / "c.jpg").write_bytes(b"c")
    nested.start()
    nested.look(60)
    assert not nested.all_labels
    nested.place("d.jpg", "animals/cat")
    nested.look(120)
    assert nested.labels == {"d.jpg": ("animals/cat", "placed")}
