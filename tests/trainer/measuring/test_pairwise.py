from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.pairwise import Comparison, mcnemar


def bits(text: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([each == "1" for each in text])


def predictions(right: str) -> LabelledPredictions:
    """All images are of class 0, and what is not right is taken for class 1."""
    sure = np.where(bits(right), 0.9, 0.2)
    return LabelledPredictions(["곰", "b"], np.zeros(len(right), np.int64), np.stack([sure, 1 - sure], axis=1))


def versus(first: str, second: str) -> Comparison:
    files = [f"곰/{number}.jpg" for number in range(len(first))]
    return Comparison(("one", "two"), files, ["곰"] * len(first), predictions(first), predictions(second))


def test_mcnemar_by_hand() -> None:
    assert mcnemar(bits("1111"), bits("1111")) == 1.0
    assert mcnemar(bits("11100"), bits("00011")) == pytest.approx(1.0)  # 3 against 2 of 5
    assert mcnemar(bits("1" * 8), bits("0" * 8)) == pytest.approx(2 / 2**8)
    assert mcnemar(bits("1" * 8 + "0011"), bits("0" * 8 + "0011")) == pytest.approx(2 / 2**8)


def test_a_clear_difference_is_called_one() -> None:
    sentence = versus("1" * 10, "0" * 10).sentence()
    assert sentence == (
        "of 10 images, one has 10 right (1.000) and two 0 (0.000): one is better (p = 0.002 by McNemar's exact test)"
    )
    assert versus("0" * 10, "1" * 10).summary()["better"] == "two"


def test_a_small_difference_may_be_chance() -> None:
    compared = versus("110", "100")
    assert "the difference may be chance (p = 1 " in compared.sentence()
    assert compared.summary()["better"] is None
    assert versus("10", "01").sentence().endswith("neither is better")


def test_nothing_in_common_is_said() -> None:
    compared = versus("", "")
    assert "nothing compares them" in compared.sentence()
    assert compared.summary()["runs"][0]["accuracy"] is None


def test_what_only_one_has_right_is_listed(tmp_path: Path) -> None:
    versus("110", "101").write(tmp_path / "list.csv")
    with (tmp_path / "list.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["right"], row["first"], row["second"]) for row in rows] == [
        ("곰/1.jpg", "first", "곰", "b"),
        ("곰/2.jpg", "second", "b", "곰"),
    ]
