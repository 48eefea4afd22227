from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.trainer.reports.test_charts import epochs
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.reports.report import describe, write_report
from trainer.tables import columns

NONE = LabelledPredictions(["a", "b"], np.array([], np.int64), np.empty((0, 2)))
SOME = LabelledPredictions(
    ["accuracy", "고양이", "absent", "taken"],
    np.array([0, 0, 0, 1]),
    np.array([[0.9, 0.1, 0, 0], [0.7, 0.3, 0, 0], [0.1, 0.8, 0, 0.1], [0.2, 0.2, 0, 0.6]]),
)
#: Of the two images over the threshold the one that is taken for another class is strange.
COUNTS = replace(SOME, unknown=np.array([False, False, True, False])).counts_at(0.75)


def test_every_file_is_written(tmp_path: Path) -> None:
    write_report(tmp_path, SOME, [tmp_path / "gone.jpg"] * 4, counts=COUNTS, stages={"head": epochs(3, 2)}, preface="!")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion_matrix.png",
        "curves.png",
        "mistakes.png",
        "reliability.png",
        "report.txt",
        "risk_coverage.png",
    ]
    assert (tmp_path / "report.txt").read_text(encoding="utf-8") == "!" + describe(SOME, COUNTS)
    assert all(path.stat().st_size < 500_000 for path in tmp_path.iterdir())


def test_without_images_there_are_only_words_and_curves(tmp_path: Path) -> None:
    write_report(tmp_path, NONE, [], stages={"head": epochs(3, 2)}, preface="nobody knows")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "report.txt"]
    assert (tmp_path / "report.txt").read_text(encoding="utf-8") == "nobody knows"


def test_figures_by_hand() -> None:
    lines = describe(SOME, COUNTS).splitlines()
    assert lines[0] == "images             4, 2 of them right"
    assert lines[1].startswith("accuracy           0.500 (95 % interval 0.068 to 0.932)")
    assert "filed              1 (25.0%), 0 of them wrong (0.00%)" in lines
    unsure, unknown = "2 that it is less than 75 % sure of (50.0%)", "1 unlike anything it was taught (25.0%)"
    assert f"not filed          {unsure}, {unknown}" in lines


def test_where_nothing_is_filed_no_share_of_it_is_wrong() -> None:
    counts = SOME.counts_at(0.95)
    assert "filed              0 (0.0%)\n" in describe(SOME, counts)
    assert (counts.figures()["wrong_share_of_filed"], counts.figures()["under_threshold"]) == (None, 4)


def test_a_class_may_be_named_like_a_row_of_the_table() -> None:
    table = describe(SOME).split("\n\n")[1].splitlines()
    assert [line.split()[:4] for line in table[1:]] == [
        ["accuracy", "3", "1.000", "0.667"],
        ["고양이", "1", "0.000", "0.000"],
        ["taken", "0", "0.000", "0.000"],
    ]
    assert len({columns(line) for line in table}) == 1


def test_what_is_confused_most_comes_first() -> None:
    assert describe(SOME).split("\n\n")[2].splitlines() == [
        "most often confused  taken for  images",
        "accuracy             고양이          1",
        "고양이               taken           1",
    ]
    assert "confused" not in describe(LabelledPredictions(["a", "b"], np.array([0]), np.array([[0.9, 0.1]])))
