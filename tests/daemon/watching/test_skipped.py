"""Files that are not looked at because of their names: how many, and a few of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.watching.skipped import Skipped, SkippedReporter, survey


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_files_that_may_be_meant_as_pictures_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "noext", "a.pdf", "b.jpg")
    put(tmp_path / "inside", "notes.txt", "film.mov", "raw.CRW")
    passed = survey(tmp_path, recursive=True, excluded=[])
    assert passed.count == 5
    assert len(set(passed.examples)) == 3
    assert survey(tmp_path, recursive=False, excluded=[]).count == 2


def test_what_is_nobodys_picture_is_not_counted(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "a.xmp", "a.jpg.json", "a.mov", "b.HEIC", "b.dng", "lone.xmp")  # sidecars
    put(tmp_path, ".hidden", "~$owner.docx", "half.zip.part", "x.crdownload", "half.tmp")
    put(tmp_path / "cat", ".imagesortd", "song.mp3")
    put(tmp_path / "sorted", "list.txt")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("a.jpg")
    assert survey(tmp_path, recursive=True, excluded=[tmp_path / "sorted"]).count == 0


def test_a_class_folder_elsewhere_than_in_the_output_is_told(tmp_path: Path) -> None:
    put(tmp_path / "sorted" / "cat", ".imagesortd", "a.jpg")
    put(tmp_path / "cat", ".imagesortd", "a.jpg")
    output = [tmp_path / "sorted"]
    (sentence,) = survey(tmp_path, recursive=True, excluded=output, outputs=output).not_entered
    assert sentence.startswith(str(tmp_path / "cat"))
    assert survey(tmp_path, recursive=True, excluded=[], outputs=[tmp_path]).not_entered == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["noext"], "1 other file in {} is not looked at: its name does not end like those of images (noext)"),
        (["a\nb", "a\nb\x1b"], r"2 other files in {} are not looked at: their names do not end like those of images"),
    ],
)
def test_one_line_says_it(tmp_path: Path, names: list[str], said: str) -> None:
    put(tmp_path, *names)
    sentence = str(survey(tmp_path, recursive=True, excluded=[]))
    assert sentence.startswith(said.format(tmp_path))
    assert sentence.isprintable()


def test_of_many_files_three_names_are_kept(tmp_path: Path) -> None:
    put(tmp_path, *map(str, range(300)))
    passed = survey(tmp_path, recursive=True, excluded=[])
    assert str(passed).endswith(", …)")
    assert (passed.count, len(passed.examples)) == (300, 3)


def test_a_daemon_says_it_once_and_when_there_are_twice_as_many(logged: list[str]) -> None:
    tell = SkippedReporter()
    for count in [0, 1, 1, 1, *range(2, 100), 100, 50, 99, 100]:
        tell(Skipped("/inbox", count, ["a"]))
    assert [int(line.split()[0]) for line in logged] == [1, 2, 4, 8, 16, 32, 64]
    tell(Skipped("/other", 3, ["a"]))
    tell(Skipped("/inbox", 0))
    tell(Skipped("/inbox", 1, ["a"]))
    assert [line.split()[:5] for line in logged[7:]] == [
        ["3", "other", "files", "in", "/other"],
        ["1", "other", "file", "in", "/inbox"],
    ]


def test_a_link_to_a_folder_is_named_and_one_to_what_is_known_is_not(tmp_path: Path) -> None:
    for name in ("inbox/inside", "elsewhere", "sorted"):
        (tmp_path / name).mkdir(parents=True)
    inbox = tmp_path / "inbox"
    (inbox / "card").symlink_to("../elsewhere")
    (inbox / "done").symlink_to("../sorted")
    (inbox / "same").symlink_to("inside")
    (inbox / "gone").symlink_to("nowhere")
    passed = survey(inbox, recursive=True, excluded=[tmp_path / "sorted"])
    what = f"{inbox}/card is a link to a folder, and is not followed"
    assert passed.not_entered == [f"{what}: for what is in it, add --watch {tmp_path}/elsewhere"]
    assert survey(inbox, recursive=False, excluded=[]).not_entered == []
