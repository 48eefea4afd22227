"""An output to be reviewed, and a page of it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.state import journal_path
from tests.daemon.conftest import Publish
from tests.daemon.review.browser import Page, Reviewed, open_page
from tests.filing_desk import make_desk
from tests.pictures import KINDS, save

COLUMNS = ["file", "label", "sha256", "side", "fold", "predicted", "confidence", "true_probability", "reason"]


@pytest.fixture
def reviewed(tmp_path: Path) -> Reviewed:
    """An output with two unsure images and one of a class."""
    desk = make_desk(tmp_path)
    desk.output.mkdir()
    state = tmp_path / "state"
    reviewed = Reviewed(replace(desk, journal_path=journal_path(state, desk.output)), state)
    reviewed.file("one.png")
    reviewed.file("two.png")
    reviewed.file("sure.png", "cat", confidence=0.9)
    return reviewed


@pytest.fixture
def page(reviewed: Reviewed) -> Iterator[Page]:
    with open_page(reviewed) as page:
        yield page


@pytest.fixture
def learnt(reviewed: Reviewed, tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of which two images were taken for other classes; its report is published."""
    data = tmp_path / "data"
    run = tmp_path / "checkpoints" / "20260101-000000-embedded"
    publish(run, settings={"data_dir": str(data), "lesson": True, "labels": 3})
    rows = []
    for number, (label, predicted, confidence, true) in enumerate(
        [("discs", "discs", 0.9, 0.9), ("discs", "checks", 0.8, 0.01), ("checks", "discs", 0.6, 0.3)]
    ):
        (data / label).mkdir(parents=True, exist_ok=True)
        path = save(KINDS[1], number, data / label / f"{number}.png")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = str(path.relative_to(data))
        rows.append([name, label, digest, "held-out", "0", predicted, str(confidence), str(true), ""])
    outside = save(KINDS[0], 7, tmp_path / "outside.png")
    digest = hashlib.sha256(outside.read_bytes()).hexdigest()
    rows.append(["../outside.png", "discs", digest, "held-out", "0", "discs", "0.9", "0.9", ""])
    rows.append(["discs/4.png", "discs", digest, "train", "", "", "", "", ""])
    with (run / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    data_set, labelled = (8, 8, 6), (2, 1, 0)
    names = ("images", "right", "right_before")
    judged = {"data_set": dict(zip(names, data_set, strict=True)), "labelled": dict(zip(names, labelled, strict=True))}
    (run / "metrics.json").write_text(json.dumps({"lesson": {"why": "it is better", "judged": judged}}))
    monkeypatch.setenv("IMAGESORTD_CHECKPOINT", str(tmp_path / "checkpoints"))
    return run
