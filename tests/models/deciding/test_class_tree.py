"""Classes as folders in folders: which hold several, how probable they are, and what a path in the output means."""

from __future__ import annotations

import numpy as np
import pytest

from models.deciding.class_tree import ClassTree

NESTED = ["animals/cat", "animals/dog", "animals/birds/owl", "animals/birds/gull", "vehicles/car", "plants"]


def test_groups_are_the_folders_in_which_classes_part() -> None:
    tree = ClassTree(NESTED)
    assert tree.groups == ("animals", "animals/birds")  # vehicles has one class
    assert tree.depths == (2, 1)
    assert tree.inner_folders == {"animals", "animals/birds", "vehicles"}


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "dog"],
        ["animals/cat", "animals/dog"],  # every class: always certain
        ["a/b/cat", "c/d/dog"],
    ],
)
def test_flat_classes_have_no_groups(classes: list[str]) -> None:
    tree = ClassTree(classes)
    assert tree.groups == ()
    assert tree.depths == ()
    assert tree.score(np.full((3, 2), 0.5, np.float32)) == []


def test_of_folders_with_the_same_classes_the_deepest_is_a_group() -> None:
    assert ClassTree(["a/b/cat", "a/b/dog", "car"]).groups == ("a/b",)


def test_the_probability_of_a_group_is_the_sum_of_those_of_its_classes() -> None:
    probabilities = np.array([[0.1, 0.2, 0.3, 0.25, 0.05, 0.1], [0.5, 0.2, 0.0, 0.0, 0.2, 0.1]], np.float32)
    birds, animals = ClassTree(NESTED).score(probabilities)
    assert (birds.depth, animals.depth) == (2, 1)
    assert birds.probability == pytest.approx([0.55, 0.0])
    assert animals.probability == pytest.approx([0.85, 0.7])
    assert (animals.of(0).folder, animals.of(0).depth) == ("animals", 1)
    assert birds.of(0).folder == "animals/birds"
    assert birds.of(0).probability == pytest.approx(0.55)


def test_the_most_probable_group_is_not_always_that_of_the_most_probable_class() -> None:
    tree = ClassTree(["a/x", "a/y", "b/z", "b/w"])
    assert tree.score(np.array([[0.3, 0.3, 0.4, 0.0]]))[0].of(0).folder == "a"


def test_a_sum_that_rounding_takes_above_one_is_one() -> None:
    tree = ClassTree([*(f"a/{number:03}" for number in range(300)), "b"])
    probabilities = np.full((1, 301), np.float32(1 / 300) * np.float32(1.00001), np.float32)
    probabilities[0, -1] = 0
    assert tree.score(probabilities)[0].of(0).probability == 1


@pytest.mark.parametrize(
    ("folder", "label", "is_coarse"),
    [
        ("animals/dog", "animals/dog", False),
        ("animals/dog/2024/05", "animals/dog", False),
        ("animals/fox", "animals/fox", False),
        ("animals/fox/2024", "animals/fox", False),
        ("animals", "animals", True),
        ("animals/birds", "animals/birds", True),
        ("animals/birds/owl/old", "animals/birds/owl", False),
        ("vehicles", "vehicles", True),
        ("plants/roses", "plants", False),
        ("holiday/2024", "holiday", False),
    ],
)
def test_what_class_lies_in_a_folder(folder: str, label: str, is_coarse: bool) -> None:
    tree = ClassTree(NESTED)
    assert tree.class_at(folder.split("/")) == label
    assert tree.is_coarse(label) is is_coarse


def test_a_flat_model_goes_by_the_folder_at_the_top() -> None:
    assert ClassTree(["cat", "dog"]).class_at(["fox", "2024"]) == "fox"
