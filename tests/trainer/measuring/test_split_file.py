from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data.dataset import DataSet, Sample, Unreadable
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.split_file import read_split, write_split


def test_the_split_comes_back(tmp_path: Path) -> None:
    samples = [Sample(Path(f"a/{name}"), f"a/{name}", "a", name * 64) for name in "123"]
    images = DataSet(
        ["a", "b"],
        samples,
        np.zeros(3, np.int64),
        np.array([1, 0, 0]),
        [Unreadable("b/\udce9,\n.jpg", "b", "empty", "The file is empty.")],
    )
    predictions = LabelledPredictions(["a", "b"], np.zeros(2, np.int64), np.array([[0.9, 0.1], [0.25, 0.75]]))
    write_split(tmp_path / "split.csv", images, images.is_held_out, predictions)
    split = read_split(tmp_path)
    assert split is not None
    assert split.never_held_out == {"1" * 64}
    assert split.held_out == {("2" * 64, "a"): (True, 0.9), ("3" * 64, "a"): (False, 0.25)}
    lines = (tmp_path / "split.csv").read_text(errors="replace").splitlines()
    assert [line.split(",")[3:5] for line in lines[1:4]] == [["train", "1"], ["held-out", "0"], ["held-out", "0"]]
    assert "unreadable,,,,,empty: The file is empty." in (tmp_path / "split.csv").read_text(errors="replace")


@pytest.mark.parametrize("content", ["", "file,side\nx,train\n", "\0\0", None])
def test_a_split_that_makes_no_sense_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "split.csv").write_text(content)
    split = read_split(tmp_path)
    assert split is None or not (split.never_held_out or split.held_out)
