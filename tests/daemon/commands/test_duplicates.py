"""Duplicates, as the commands know them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon import config
from daemon.commands.history import sentence
from daemon.commands.rule_probes import output_findings
from daemon.config import Settings
from daemon.filing.duplicates import DuplicatePolicy, Duplicates
from daemon.filing.filer import Filer, FilingResult
from daemon.journal.journal import read_history, read_labels
from models.errors import UserError
from tests.command_desk import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    """One image that is filed, and a duplicate of it that was set apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESORTD_DUPLICATES", "folder")
    monkeypatch.setenv("IMAGESORTD_WATCH", str(tmp_path / "inbox"))
    office = make_office(tmp_path, capsys)
    for name in ("first.jpg", "again.jpg"):
        file(office, name)
    return office


def file(office: Office, name: str, policy: DuplicatePolicy = "folder", label: str = "dog") -> FilingResult:
    journal = office.desk.journal()
    filer = Filer(office.desk.output, journal=journal, duplicates=Duplicates(policy))
    (result,) = filer.file([office.desk.decide(office.desk.put(name), label, confidence=0.9, model_digest="1" * 64)])
    journal.close()
    return result


def places(office: Office) -> list[str]:
    return sorted(office.desk.filed())


def settings(office: Office, **more: Any) -> Settings:
    return config.load({"output": office.desk.output, "state_dir": office.state, **more})


def test_history_says_of_which_filing(office: Office) -> None:
    file(office, "left.jpg", "leave")
    left, duplicate, first = office.json("history")
    assert (left["state"], left["action"], left["destination"]) == ("left", "leave", None)
    assert left["duplicate_of"] == duplicate["duplicate_of"] == first["id"]
    assert (first["duplicate_of"], first["class"], duplicate["class"]) == (None, "dog", None)
    lines = office.run("history")[1].splitlines()
    assert any(line.endswith("again.jpg -> duplicates/again.jpg (the same as dog/first.jpg)") for line in lines)
    assert any(line.endswith("left where it is: left.jpg (the same as dog/first.jpg)") for line in lines)
    assert [row["id"] for row in office.json("history", "--class", "dog")] == [first["id"]]


def test_undo_of_a_run_takes_both_back_and_leaves_alone_what_was_left(office: Office) -> None:
    file(office, "left.jpg", "leave")
    assert office.run("undo", "--since", "yesterday")[0] == 0
    assert places(office) == []
    assert sorted(path.name for path in office.desk.inbox.iterdir()) == ["again.jpg", "first.jpg", "left.jpg"]
    assert [row["state"] for row in office.json("history")] == ["left", "undone", "undone"]


def test_relabel_brings_a_duplicate_into_a_class_where_it_is_an_original(office: Office) -> None:
    assert office.run("relabel", "duplicates/again.jpg", "wolf", "--new")[0] == 0
    assert places(office) == ["dog/first.jpg", "wolf/again.jpg"]
    (label,) = read_labels(office.desk.journal_path)
    assert label.label == "wolf"
    (office.desk.output / "dog/first.jpg").unlink()
    assert file(office, "third.jpg").original == office.desk.output / "wolf/again.jpg"


def test_their_folder_is_no_class(office: Office) -> None:
    with pytest.raises(UserError, match="duplicates is the folder of duplicates, and no class"):
        office.run("relabel", "dog/first.jpg", "duplicates", "--new")


@pytest.mark.parametrize("name", ["others", "Quarantine", "a/b", ""])
def test_their_folder_needs_a_name_of_its_own(office: Office, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("IMAGESORTD_DUPLICATES_DIR", name)
    with pytest.raises(UserError, match=r"duplicates_dir|DUPLICATES_DIR"):
        config.check_output(settings(office))
    monkeypatch.setenv("IMAGESORTD_DUPLICATES", "keep")
    if name in ("others", "Quarantine"):
        config.check_output(settings(office))


def test_a_class_may_be_called_so_where_they_are_not_set_apart(office: Office) -> None:
    assert settings(office).other_folders == ("others", "quarantine", "duplicates")
    assert settings(office, duplicates="leave").other_folders == ("others", "quarantine")


def test_doctor_says_what_becomes_of_them(office: Office) -> None:
    texts = [finding.text for finding in output_findings(settings(office))]
    assert "images with the same bytes as a filed one go to duplicates/" in texts
    texts = [finding.text for finding in output_findings(settings(office, duplicates="leave"))]
    assert "images with the same bytes as a filed one stay where they are" in texts


def test_their_sentence_is_the_same_without_the_original(office: Office) -> None:
    office.run("undo", "--file", "dog/first.jpg")
    duplicate = next(row for row in read_history(office.desk.journal_path) if row.duplicate_of is not None)
    assert sentence(duplicate, [office.desk.output]) == "again.jpg -> duplicates/again.jpg (the same as dog/first.jpg)"
