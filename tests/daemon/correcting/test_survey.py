"""Class folders that come are looked at by themselves, however many others there are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from daemon.correcting.class_folders import ClassFolders
from daemon.correcting.known_files import KnownFiles
from daemon.correcting.survey import Survey
from daemon.files.marker import MARKER
from models.files.markers import marker_content

_MANY = 20


class CountedFolders(ClassFolders):
    """Counts how often it is asked about each folder, which reads its marker."""

    asked: Counter[str]

    def is_looked_at(self, name: str) -> bool:
        self.asked[name] += 1
        return super().is_looked_at(name)


def make_class_folder(output: Path, name: str) -> None:
    (output / name).mkdir()
    (output / name / MARKER).write_bytes(marker_content("class"))


@pytest.mark.parametrize("by", ["events", "reading"])
def test_new_class_folders_are_not_each_compared_with_all_others(tmp_path: Path, by: str) -> None:
    output = tmp_path / "sorted"
    output.mkdir()
    folders, known = CountedFolders(output, "others", "quarantine"), KnownFiles(tmp_path / "seen-files")
    folders.asked = Counter()
    survey = Survey(output, folders, known)
    survey.begin()
    names = [str(number) for number in range(_MANY)]
    for name in names:
        make_class_folder(output, name)
        if by == "events":
            assert list(survey.visit(name))
    if by == "reading":
        assert list(survey.steps())
    assert sorted(known.class_folders()) == sorted(names)
    assert folders.asked == dict.fromkeys(names, 1 if by == "events" else 2)


def test_a_folder_of_the_same_number_that_is_still_there_was_not_renamed(tmp_path: Path) -> None:
    """Another file system, such as that of a class folder on a share, has the same numbers."""
    output = tmp_path / "sorted"
    output.mkdir()
    known = KnownFiles(tmp_path / "seen-files")
    survey = Survey(output, ClassFolders(output, "others", "quarantine"), known)
    make_class_folder(output, "dog")
    survey.begin()
    make_class_folder(output, "cat")
    known.folders["dog"].identity = (0, (output / "cat").stat().st_ino)
    assert list(survey.visit("cat"))
    assert {name: folder.stands_for for name, folder in known.class_folders().items()} == {"dog": None, "cat": None}
