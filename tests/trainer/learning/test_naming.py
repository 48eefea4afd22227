"""Classes of labels, named as those in use are."""

from __future__ import annotations

import unicodedata

import pytest

from trainer.learning.naming import name_classes

CLASSES = ["animals/cat", "animals/dog", "car"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("animals/dog", "animals/dog"),
        ("Animals/Dog", "animals/dog"),
        ("animals/dog/best", "animals/dog"),
        ("car/red", "car"),
        ("ANIMALS/fox", "animals/fox"),
        ("ship", "ship"),
        ("plants/rose", "plants/rose"),
        (unicodedata.normalize("NFD", "동물/곰"), "동물/곰"),
    ],
)
def test_a_class_is_named_as_in_use(label: str, name: str) -> None:
    named = name_classes([label], CLASSES, [])
    assert (named.by_label, named.coarse, named.sentences) == ({label: name}, set(), [])


def test_a_folder_of_classes_tells_none() -> None:
    assert name_classes(["animals", "Animals", "car"], CLASSES, []).coarse == {"animals", "Animals"}
    assert name_classes(["plants", "plants/rose"], CLASSES, []).coarse == {"plants"}


def test_two_new_spellings_are_one_class() -> None:
    named = name_classes(["Plants/Rose", "plants/rose", "plants/TULIP"], CLASSES, [])
    assert named.by_label == {
        "Plants/Rose": "Plants/Rose",
        "plants/rose": "Plants/Rose",
        "plants/TULIP": "Plants/TULIP",
    }


def test_what_can_be_no_class_is_told() -> None:
    named = name_classes(["a/con", "../up", "others/x", "car"], CLASSES, ["others", "quarantine"])
    assert list(named.by_label) == ["car"]
    assert [sentence.partition(",")[0] for sentence in named.sentences] == [
        "images are left out",
        "images are left out",
        "images of others/x are left out",
    ]
