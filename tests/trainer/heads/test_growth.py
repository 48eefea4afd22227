from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.clusters import folded, task
from trainer.data.folds import NEVER
from trainer.heads.growth import Growth, accuracies, accuracy_with_doubled_images, class_outlooks, measure_growth
from trainer.heads.task import FittingTask


def growing(*, few: float, every: float, images: int = 400) -> Growth:
    """Mistakes in the first of two classes, as shares with a quarter and with all of the images; none in the other."""
    mistakes = np.zeros((2, 2 * images), np.float32)
    for row, share in enumerate((few, every)):
        mistakes[row, : round(share * images)] = 1
    return Growth(mistakes)


LABELS = np.repeat([0, 1], 400)


def test_heads_of_more_images_are_right_more_often() -> None:
    growth = measure_growth(task(240, 3, spread=1.6))
    assert growth is not None
    assert growth.mistakes.shape == (2, 240)
    quarter, every = accuracies(growth)
    assert quarter < every < accuracy_with_doubled_images(growth) < 1


def test_it_is_the_same_again() -> None:
    one, other = measure_growth(task(240, 3, spread=1.6)), measure_growth(task(240, 3, spread=1.6))
    assert one is not None
    assert other is not None
    assert (one.mistakes == other.mistakes).all()


def test_only_judged_images_count() -> None:
    given = task(240, 3, spread=1.6)
    given.folds[:40] = NEVER
    growth = measure_growth(given)
    assert growth is not None
    assert growth.mistakes.shape == (2, 200)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(task(90, 3, spread=1.6), id="too few images"),
        pytest.param(task(240, 3, spread=0.1, width=400), id="too few mistakes"),
        pytest.param(task(240, 3, spread=1.6, folds=0), id="nobody judges"),
    ],
)
def test_too_little_tells_nothing(given: FittingTask) -> None:
    assert measure_growth(given) is None


def test_a_fold_without_an_image_of_a_part_tells_nothing() -> None:
    given = task(240, 3, spread=1.6)
    given.folds[:] = folded(240, 2)
    given.folds[0] = 2  # alone: at most one of the quarters has it
    assert measure_growth(given) is None


def test_mistakes_that_halve_with_four_times_the_images_fall_by_three_tenths_with_twice() -> None:
    growth = growing(few=0.4, every=0.2)
    assert 1 - accuracy_with_doubled_images(growth) == pytest.approx(0.1 / 2**0.5)
    (found,) = class_outlooks(growth, LABELS)
    assert (found.label, found.mistakes) == (0, 80)
    assert found.avoided == pytest.approx(80 * (1 - 0.5**0.5))
    assert found.low < found.avoided < found.high


def test_a_class_is_drawn_to_all_as_far_as_its_mistakes_are_few() -> None:
    growth = growing(few=0.4, every=0.1)
    growth.mistakes[0, 400:404] = growth.mistakes[1, 400:404] = 1  # of the other class, and they stay
    first, other = class_outlooks(growth, LABELS)
    assert first.label == 0
    assert first.avoided == pytest.approx(20, abs=1)
    assert other.avoided == pytest.approx(4 * (1 - ((4 + 30 * 44 / 164) / (4 + 30)) ** 0.5))


def test_where_more_images_brought_nothing_no_class_is_said_to_gain() -> None:
    assert class_outlooks(growing(few=0.2, every=0.3), LABELS) == []
    assert accuracy_with_doubled_images(growing(few=0.2, every=0.3)) == pytest.approx(0.85)
