"""What a lesson is given: the labels that hold, and the images that were filed and left there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.journal.history import Wanted
from daemon.journal.journal import Journal
from daemon.journal.records import State
from daemon.learning.given_labels import filed_file, write_filed, write_labels
from daemon.learning.trainer_child import LessonOptions
from tests.daemon.learning.conftest import filing_of, label_of, lines_of


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "state" / "journal.sqlite")
    yield opened
    opened.close()


def picture(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(os.fsencode(name))
    return path


def given_labels(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "labels.jsonl"
    write_labels(tmp_path / "state" / "journal.sqlite", file, [tmp_path / "sorted"], tmp_path / "checkpoints")
    return lines_of(file)


def given_filed(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "filed.jsonl"
    write_filed(tmp_path / "state" / "journal.sqlite", file, [tmp_path / "sorted"])
    return lines_of(file)


def test_the_last_label_of_an_image_is_given_whatever_the_clock_said(journal: Journal, tmp_path: Path) -> None:
    path = picture(tmp_path / "sorted" / "red", "a.png")
    first = label_of(path, "red")
    journal.write([], labels=[first])
    journal.write([], labels=[replace(label_of(path, "blue"), time=first.time.replace(year=2001))])
    assert [given["label"] for given in given_labels(tmp_path)] == ["blue"]


def test_images_that_lie_in_the_folder_they_were_filed_into_are_given(journal: Journal, tmp_path: Path) -> None:
    output = tmp_path / "sorted"
    left = [picture(output / "red", f"{number}.png") for number in range(3)]
    gone, replaced, taken_out = (picture(output / "red", f"{name}.png") for name in ("gone", "replaced", "taken"))
    unsure = picture(output / "others", "unsure.png")
    undone = picture(output / "red", "undone.png")
    sidecar = picture(output / "red", "0.xmp")
    journal.write([filing_of(path, "red") for path in [*left, gone, replaced, taken_out, unsure]])
    (of_image,) = (filing.id for filing in journal.history(Wanted(), 10) if filing.filed_name == "0.png")
    journal.write([filing_of(sidecar, "red", image_id=of_image), replace(filing_of(undone, "red"), state=State.UNDONE)])
    gone.unlink()
    picture(output / "red", "new").replace(replaced)
    taken_out.rename(picture(output / "blue", "taken.png"))
    given = given_filed(tmp_path)
    assert sorted(each["path"] for each in given) == sorted(map(str, left))
    assert {(each["label"], each["how"]) for each in given} == {("red", "filed")}


def test_without_a_journal_nothing_is_given(tmp_path: Path) -> None:
    assert given_labels(tmp_path) == given_filed(tmp_path) == []


def test_the_trainer_is_told_of_the_filed_images_where_there_is_such_a_file(tmp_path: Path) -> None:
    options, labels = LessonOptions(tmp_path, None, 1, 1), tmp_path / "labels.jsonl"
    assert "--filed" not in options.command(labels)
    filed_file(labels).touch()
    command = options.command(labels)
    assert command[command.index("--filed") + 1] == str(filed_file(labels))
