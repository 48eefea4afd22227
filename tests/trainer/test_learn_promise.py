"""What is promised after a lesson: by the data set, by audits, or nothing any more."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.text.commandline import run
from models.weights.store import WeightsStore
from tests.trainer.conftest import COLOURS
from tests.trainer.test_learn import paint
from trainer.__main__ import NOT_PUBLISHED, main
from trainer.fit import fit
from trainer.fitted import FitOptions

MAX_ERROR = 0.1


@pytest.fixture(scope="session")
def promised(colours: Path, tmp_path_factory: pytest.TempPathFactory, store: WeightsStore) -> Path:
    """A folder with a run that makes the promise that was asked for, and keeps no features. Not to be changed."""
    assert store.root.is_absolute()
    folder = tmp_path_factory.mktemp("promised")
    for name in ("blue", "green"):
        shutil.copytree(colours / name, folder / "data" / name)
        for number in range(20):
            paint(folder / "data" / name / f"more{number}.png", COLOURS[name], 500 + number)
    fit(
        FitOptions(
            data_dir=folder / "data", mode="efficientnet_lite0", output_dir=folder / "runs", epochs=4,
            max_error=MAX_ERROR, keep_features=0,
        )
    )  # fmt: skip
    assert checkpoints.load(folder / "runs").metadata.kept_promise is not None
    return folder / "runs"


@pytest.fixture
def runs(promised: Path, tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(promised, tmp_path / "runs")
    return folder


def pictures(folder: Path, colour: str, seeds: range) -> list[Path]:
    return [paint(folder / colour / f"{seed}.png", COLOURS[colour], seed) for seed in seeds]


def write(file: Path, labels: Mapping[Path, str | None], how: str = "moved") -> Path:
    lines = (
        {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "label": label, "how": how}
        for path, label in labels.items()
    )
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return file


def teach(runs: Path, labels: Path, *more: str) -> int:
    return run(main, ["learn", "--checkpoints", str(runs), "--labels", str(labels), *more])


def served(runs: Path) -> Metadata:
    return checkpoints.load(runs).metadata


def report(runs: Path) -> str:
    pointer = checkpoints.read_pointer(runs)
    assert pointer is not None
    return (runs / pointer.run / "report.txt").read_text(encoding="utf-8")


def test_a_promise_lapses_and_audits_renew_it(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels: dict[Path, str | None] = dict.fromkeys(pictures(tmp_path / "sorted", "red", range(10)), "red")
    assert teach(runs, write(tmp_path / "labels", labels)) == 0
    lapsed = served(runs)
    assert (lapsed.promise_lapsed, lapsed.kept_promise) == (True, None)
    assert "is no longer promised" in report(runs)
    drawn = {path: colour for colour in COLOURS for path in pictures(tmp_path / "drawn", colour, range(100, 130))}
    sample = write(tmp_path / "audited", drawn, "audited")
    capsys.readouterr()
    assert teach(runs, write(tmp_path / "labels", labels | drawn), "--audited", str(sample), "--json") == 0
    renewed = served(runs)
    assert (renewed.promise_lapsed, renewed.audited) == (False, 90)
    assert renewed.kept_promise is not None
    assert (renewed.kept_promise.max_error, renewed.kept_promise.certainty) == (MAX_ERROR, 0.95)
    assert "as 90 audited images tell" in report(runs)
    again = dict.fromkeys(pictures(tmp_path / "sorted", "green", range(200, 206)), "green")
    code = teach(runs, write(tmp_path / "labels", labels | drawn | again), "--audited", str(sample))
    assert code in (0, NOT_PUBLISHED)
    assert served(runs).audited == 90, "it is made anew in each lesson"
    if teach(runs, write(tmp_path / "labels", labels | again)) == 0:
        assert served(runs).promise_lapsed, "without audits it lapses again"


def test_unsure_images_that_the_lesson_would_file_keep_it_from_promising(runs: Path, tmp_path: Path) -> None:
    labels: dict[Path, str | None] = dict.fromkeys(pictures(tmp_path / "sorted", "red", range(10)), "red")
    drawn = {path: colour for colour in COLOURS for path in pictures(tmp_path / "drawn", colour, range(100, 130))}
    sample = write(tmp_path / "audited", drawn, "audited")
    unsure = write(tmp_path / "unsure", dict.fromkeys(pictures(tmp_path / "others", "red", range(50, 70))), "unsure")
    sample.write_text(sample.read_text(encoding="utf-8") + unsure.read_text(encoding="utf-8"), encoding="utf-8")
    assert teach(runs, write(tmp_path / "labels", labels | drawn), "--audited", str(sample)) == 0
    assert served(runs).promise_lapsed
