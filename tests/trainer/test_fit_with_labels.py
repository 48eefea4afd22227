"""A fit learns what people said of images, beside a data set or alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from daemon.files.source import Identity
from daemon.journal.journal import Journal
from daemon.journal.labels import How, Label
from daemon.journal.records import Filing, State
from models.checkpoints import checkpoint as checkpoints
from models.text.commandline import run
from models.weights.store import WeightsStore
from tests.trainer.conftest import COLOURS
from tests.trainer.test_learn import paint, write_labels
from trainer.__main__ import NOT_PUBLISHED, main
from trainer.data.folds import NEVER
from trainer.learning.labels import read_labels


@pytest.fixture
def data(colours: Path, tmp_path: Path, store: WeightsStore) -> Path:
    """Blue and green pictures."""
    assert store.root.is_absolute()
    for name in ("blue", "green"):
        shutil.copytree(colours / name, tmp_path / "data" / name)
    return tmp_path / "data"


@pytest.fixture
def reds(tmp_path: Path) -> list[Path]:
    return [paint(tmp_path / "sorted" / "red" / f"{number}.png", COLOURS["red"], number) for number in range(12)]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fit(tmp_path: Path, labels: Path | None, *given: str | Path) -> int:
    options = ["--mode", "efficientnet_lite0", "--epochs", "4", "--output-dir", tmp_path / "runs", *given]
    return run(main, ["fit", *map(str, options), *([] if labels is None else ["--labels", str(labels)])])


def published(tmp_path: Path) -> Path:
    pointer = checkpoints.read_pointer(tmp_path / "runs")
    assert pointer is not None
    return tmp_path / "runs" / pointer.run


def rows(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """The label and the fold of each image, by its sha256."""
    lines = (published(tmp_path) / "split.csv").read_text(encoding="utf-8").splitlines()[1:]
    return {cells[2]: (cells[1], cells[4]) for cells in (line.split(",") for line in lines)}


def write_journal(state: Path, labels: Mapping[Path, str | None], moved: Mapping[Path, Path] | None = None) -> Path:
    """The state folder of a daemon that knows of labels; an image may have been filed elsewhere since."""
    journal = Journal(state / "0123456789ab" / "journal.sqlite")
    written = []
    for path, label in labels.items():
        there = (moved or {}).get(path, path)
        identity = Identity.from_stat(there.stat())
        written.append(Label(sha256=sha256(there), label=label, how=How.MOVED, path=path, identity=identity))
    filings = [
        Filing(
            state=State.DONE,
            action="move",
            source=old,
            identity=Identity.from_stat(new.stat()),
            sha256=sha256(new),
            folder=new.parent,
            filed_name=new.name,
        )
        for old, new in (moved or {}).items()
    ]
    journal.write(filings, labels=written)
    journal.close()
    return state


def test_labels_join_the_data_set_with_new_classes(
    data: Path, reds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path / "labels.jsonl", dict.fromkeys(reds, "red"))
    assert fit(tmp_path, labels, "--data-dir", data) == 0
    assert checkpoints.load(tmp_path / "runs").metadata.classes == ["blue", "green", "red"]
    assert "12 images are labelled by people" in capsys.readouterr().out
    metrics = json.loads((published(tmp_path) / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["labels"] == {"images": 12, "contradictions": [], "left_out": []}
    joined = rows(tmp_path)
    assert {joined[sha256(path)][0] for path in reds} == {"red"}
    assert fit(tmp_path, None, "--data-dir", data, "--publish", "always") == 0
    before = rows(tmp_path)
    assert {digest: joined[digest] for digest in before} == before  # labels move no image to another fold
    assert str(NEVER) not in {fold for _, fold in before.values()}


def test_the_label_of_a_person_wins_and_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = paint(data / "blue" / "wrong.png", COLOURS["green"], 7)
    labels = write_labels(tmp_path / "labels.jsonl", {wrong: "green", data / "blue" / "000.png": "blue"})
    assert fit(tmp_path, labels, "--data-dir", data) == 0
    told = "people say of 1 image another class than the data set does, and their label wins: "
    assert f"{told}blue/wrong.png: green and not blue" in capsys.readouterr().out
    assert rows(tmp_path)[sha256(wrong)][0] == "green"
    folder = published(tmp_path)
    assert "blue/wrong.png: green and not blue" in (folder / "advice.txt").read_text(encoding="utf-8")
    assert told in (folder / "report.txt").read_text(encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["labels"]["contradictions"] == [{"file": "blue/wrong.png", "label": "blue", "said": "green"}]
    assert metrics["labels"]["images"] == 2


def test_what_is_gone_or_of_no_class_is_said_and_no_error(
    data: Path, reds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    negative = data / "blue" / "001.png"
    labels = write_labels(tmp_path / "labels.jsonl", dict.fromkeys(reds, "red") | {negative: None})
    for path in reds[:2]:
        path.unlink()
    reds[2].write_bytes(reds[3].read_bytes())  # another one by now
    reds[4].write_bytes(b"no image")
    assert fit(tmp_path, labels, "--data-dir", data) == 0
    said = capsys.readouterr().out
    assert "4 labelled images are left out, since they are gone" in said
    assert "1 image that people say is of none of the classes is not learned from: a lesson does that" in said
    assert "blue/001.png: none of the classes and not blue" in said
    joined = rows(tmp_path)
    assert sha256(negative) not in joined
    assert sum(label == "red" for label, _ in joined.values()) == 8
    assert sum(label == "blue" for label, _ in joined.values()) == 23


def test_a_small_new_class_waits(
    data: Path, reds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = data / "blue" / "000.png"
    labels = write_labels(tmp_path / "labels.jsonl", dict.fromkeys([*reds[:3], moved], "red"))
    assert fit(tmp_path, labels, "--data-dir", data) == 0
    assert "these classes wait until they have 5 images: red (4)" in capsys.readouterr().out
    assert rows(tmp_path)[sha256(moved)][0] == "blue"


def test_labels_alone_are_enough_if_there_are_enough(
    reds: list[Path], tmp_path: Path, store: WeightsStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.root.is_absolute()
    blues = [paint(tmp_path / "sorted" / "blue" / f"{number}.png", COLOURS["blue"], number) for number in range(9)]
    some = dict.fromkeys(reds, "red")
    few = write_labels(tmp_path / "few.jsonl", some | dict.fromkeys(blues[:4], "blue"))
    assert fit(tmp_path, few) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "are too few to fit on" in sentence
    assert fit(tmp_path, write_labels(tmp_path / "labels.jsonl", some | dict.fromkeys(blues, "blue"))) == 0
    assert checkpoints.load(tmp_path / "runs").metadata.classes == ["blue", "red"]


def test_nothing_to_fit_on_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(tmp_path, None) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "give --data-dir" in sentence
    assert "--labels" in sentence


def test_a_lesson_goes_on_from_what_was_fitted_with_labels(
    data: Path, reds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The labels are part of the data set then, and contradict it no more."""
    given = dict.fromkeys(reds, "red") | {data / "blue" / "001.png": "green"}
    labels = write_labels(tmp_path / "labels.jsonl", given)
    assert fit(tmp_path, labels, "--data-dir", data) == 0
    capsys.readouterr()
    code = run(main, ["learn", "--checkpoints", str(tmp_path / "runs"), "--labels", str(labels)])
    assert code in (0, NOT_PUBLISHED)
    assert "another class than the data set" not in capsys.readouterr().out


def test_a_lesson_tells_which_labels_contradict_the_data_set(
    data: Path, reds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [paint(data / "blue" / f"wrong{number}.png", COLOURS["green"], number) for number in range(4)]
    assert fit(tmp_path, None, "--data-dir", data) == 0
    labels = write_labels(tmp_path / "labels.jsonl", dict.fromkeys(reds, "red") | dict.fromkeys(wrong, "green"))
    capsys.readouterr()
    assert run(main, ["learn", "--checkpoints", str(tmp_path / "runs"), "--labels", str(labels)]) == 0
    told = "people say of 4 images another class than the data set does, and their labels win: "
    said = capsys.readouterr().out
    assert told in said
    assert "blue/wrong0.png: green and not blue" in said
    assert told in (published(tmp_path) / "report.txt").read_text(encoding="utf-8")
    metrics = json.loads((published(tmp_path) / "metrics.json").read_text(encoding="utf-8"))
    assert len(metrics["lesson"]["contradictions"]) == 4


def test_labels_are_read_from_the_state_folder_of_a_daemon(data: Path, reds: list[Path], tmp_path: Path) -> None:
    """Its images may have been filed elsewhere since, under names that are not UTF-8."""
    new = reds[0].with_name("\udce9.png")
    moved = {reds[0]: reds[0].rename(new)}
    state = write_journal(tmp_path / "state", dict.fromkeys(reds, "red"), moved)
    found = {label.sha256: label for label in read_labels(state)}
    assert found[sha256(new)].file == new
    assert {label.label for label in found.values()} == {"red"}
    assert read_labels(state / "0123456789ab") == list(found.values())
    assert fit(tmp_path, state, "--data-dir", data) == 0
    assert checkpoints.load(tmp_path / "runs").metadata.classes == ["blue", "green", "red"]


def test_labels_that_are_taken_back_or_replaced_are_not_read_from_a_journal(reds: list[Path], tmp_path: Path) -> None:
    state = write_journal(tmp_path / "state", dict.fromkeys(reds[:3], "red"))
    write_journal(tmp_path / "state", {reds[0]: "blue", reds[1]: None})
    journal = Journal(state / "0123456789ab" / "journal.sqlite")
    journal.forget_labels([label.id for label in journal.labels() if label.path == reds[2] and label.id is not None])
    expected = {label.sha256: label.label for label in journal.labels()}
    journal.close()
    assert (
        {label.sha256: label.label for label in read_labels(state)}
        == expected
        == {
            sha256(reds[0]): "blue",
            sha256(reds[1]): None,
        }
    )


def test_journals_of_two_outputs_are_not_mixed(
    data: Path, reds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = write_journal(tmp_path / "state", {reds[0]: "red"})
    shutil.copytree(state / "0123456789ab", state / "ba9876543210")
    assert fit(tmp_path, state, "--data-dir", data) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert "there are labels of several outputs" in sentence
    assert str(state / "ba9876543210") in sentence


@pytest.mark.parametrize("content", [b"", b"no journal at all, but as long as one page of it" * 100])
def test_a_journal_that_cannot_be_read_is_one_sentence_or_no_labels(
    data: Path, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state" / "x").mkdir(parents=True)
    (tmp_path / "state" / "x" / "journal.sqlite").write_bytes(content)
    code = fit(tmp_path, tmp_path / "state", "--data-dir", data)
    assert code == (2 if content else 0)
    if content:
        [sentence] = capsys.readouterr().err.splitlines()
        assert "cannot be read" in sentence
