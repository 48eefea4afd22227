from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from trainer.data.folds import NEVER, Folds, assign, fold_count


def pictures(label: str, count: int, first: int = 0) -> list[str]:
    return [hashlib.sha256(f"{label}{number}".encode()).hexdigest() for number in range(first, first + count)]


def assigned(classes: Mapping[str, Sequence[str]], count: int = 5, seed: int = 0) -> dict[tuple[str, str], int]:
    pairs = [(picture, label) for label, of in classes.items() for picture in of]
    folds = assign([picture for picture, _ in pairs], [label for _, label in pairs], count, seed)
    return dict(zip(pairs, folds.tolist(), strict=True))


def of_class(folds: dict[tuple[str, str], int], label: str) -> list[int]:
    return [fold for (_, other), fold in folds.items() if other == label]


@pytest.mark.parametrize(
    ("fraction", "count"), [(0.2, 5), (0.1, 10), (0.01, 10), (0.25, 4), (0.3, 3), (0.5, 2), (0.9, 2)]
)
def test_the_share_held_out_says_how_many_folds_there_are(fraction: float, count: int) -> None:
    assert fold_count(fraction) == count


def test_adding_images_and_classes_moves_no_old_one_across() -> None:
    old = {label: pictures(label, 200) for label in "ab"}
    new = {label: pictures(label, 400) for label in "cab"}
    before, after = assigned(old), assigned(new)
    assert {pair: after[pair] for pair in before} == before


def test_each_class_is_spread_over_all_folds_and_the_seed_decides_how() -> None:
    classes = {label: pictures(label, 1000) for label in "abc"}
    folds = assigned(classes)
    for label in classes:
        assert all(150 < size < 250 for size in np.bincount(of_class(folds, label), minlength=5))
    assert folds != assigned(classes, seed=1)


def test_images_of_one_picture_are_in_one_fold() -> None:
    shared = pictures("x", 50)
    folds = assign([*shared, *shared], ["a"] * 50 + ["b"] * 50, 5, 0)
    assert folds[:50].tolist() == folds[50:].tolist()


def fitted_and_judged(folds: Folds, labels: Sequence[str]) -> bool:
    """Whether no fold takes all images of a class away."""
    return all(
        len({fold for fold, other in zip(folds.tolist(), labels, strict=True) if other == label}) > 1
        or NEVER in [fold for fold, other in zip(folds.tolist(), labels, strict=True) if other == label]
        for label in set(labels)
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_class_of_few_is_judged_by_fold_0_and_fitted_on_meanwhile(seed: int, size: int) -> None:
    folds = assigned({label: pictures(label, size) for label in "abcd"}, seed=seed)
    for label in "abcd":
        assert 0 in of_class(folds, label)
        assert len(set(of_class(folds, label))) > 1


@pytest.mark.parametrize("seed", range(20))
def test_a_class_of_one_picture_is_always_fitted_on(seed: int) -> None:
    folds = assigned({"a": pictures("a", 1), "b": pictures("b", 9)}, 2, seed)
    assert of_class(folds, "a") == [NEVER]
    assert NEVER not in of_class(folds, "b")


@pytest.mark.parametrize("seed", range(30))
def test_no_fold_takes_all_of_a_class_away_whatever_classes_share(seed: int) -> None:
    draw = np.random.default_rng(seed)
    few = pictures("x", int(draw.integers(1, 6)))
    images = [few[at] for at in draw.integers(0, len(few), 12)]
    labels = ["abcd"[at] for at in draw.integers(0, 4, 12)]
    assert fitted_and_judged(assign(images, labels, int(draw.integers(2, 5)), seed), labels)
