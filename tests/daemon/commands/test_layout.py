"""The layout of the class folders, as the commands know it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from PIL import Image

from daemon import config
from daemon.__main__ import main
from daemon.commands.rule_probes import output_findings
from daemon.journal.journal import read_labels
from models.errors import UserError
from tests.command_desk import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESORTD_LAYOUT", "{class}/{taken:%Y}/{inbox}")
    monkeypatch.setenv("IMAGESORTD_WATCH", str(tmp_path / "inbox"))
    return make_office(tmp_path, capsys)


def file(office: Office, name: str, folder: str = "others", label: str = "dog") -> Path:
    path = office.desk.inbox / name
    data = Image.Exif()
    data[0x0132] = "2024:05:03 07:08:09"
    Image.new("RGB", (8, 8), (len(name), 0, 0)).save(path, exif=data)
    result = office.desk.file_one(path, folder, label=label, confidence=0.5, model_digest="1" * 64)
    assert result.destination is not None
    return result.destination


def places(office: Office) -> list[str]:
    return sorted(office.desk.filed())


def test_relabel_goes_by_it_and_undo_back(office: Office) -> None:
    file(office, "a.jpg")
    code, said = office.run("relabel", "a.jpg", "dog", "--new")
    assert (code, said.splitlines()[0]) == (0, "others/a.jpg -> dog/2024/inbox/a.jpg")
    assert places(office) == ["dog/2024/inbox/a.jpg"]
    (label,) = read_labels(office.desk.journal_path)
    assert (label.label, label.path) == ("dog", office.desk.output / "dog/2024/inbox/a.jpg")
    (row, first) = office.json("history")
    assert row["detail"] == "taken 2024-05-03 07:08:09, by its EXIF data"
    assert first["destination"] == str(office.desk.output / "others/a.jpg")
    assert office.run("relabel", "a.jpg", "dog")[1].startswith("dog/2024/inbox/a.jpg is there already")
    undo = shlex.split(said.splitlines()[-1].removeprefix("To take it back: python -m daemon "))
    assert main(undo) == 0
    assert places(office) == ["others/a.jpg"]


def test_the_inbox_and_the_name_there_are_known_after_many_moves(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESORTD_LAYOUT", "{class}/{inbox}/{stem}")
    for _ in range(2):
        file(office, "a.jpg")
    assert places(office) == ["others/a.jpg", "others/a_2.jpg"]
    for place, label in (("others/a_2.jpg", "dog"), ("dog/inbox/a/a_2.jpg", "cat"), ("cat/inbox/a/a_2.jpg", "cow")):
        assert office.run("relabel", place, label, "--new")[0] == 0
    assert places(office) == ["cow/inbox/a/a_2.jpg", "others/a.jpg"]


def test_to_the_others_it_says_nothing(office: Office) -> None:
    file(office, "a.jpg", "dog")
    office.run("relabel", "a.jpg", "others")
    assert places(office) == ["others/a.jpg"]


def test_history_finds_what_lies_in_such_a_folder(office: Office) -> None:
    filed = file(office, "a.jpg", "dog")
    place = office.desk.output / "dog/2024/inbox/a.jpg"
    os.renames(filed, place)
    (row,) = office.json("history", "--class", "dog")
    assert row["now"] == str(place)
    assert "corrected" not in office.run("history")[1]


def test_doctor_shows_an_example(office: Office) -> None:
    settings = config.load({"output": office.desk.output, "state_dir": office.state})
    texts = [finding.text for finding in output_findings(settings)]
    assert any("would go to dog/2" in text and text.endswith("/inbox/IMG_0001.jpg") for text in texts)


def test_what_is_no_layout_is_refused_at_the_start(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESORTD_LAYOUT", "{taken:%Y}/{class}")
    with pytest.raises(UserError, match=r"IMAGESORTD_LAYOUT .*it must begin with \{class\}"):
        office.run("undo", "--last", "1")


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("{class}/%Y", "in the layout {class}/%Y, %Y is no time, but a part of the name"),
        ("{class}/{stem}", "the layout {class}/{stem} makes a folder for each image, and the daemon watches each"),
        ("{class}/{taken:%Y}/100%", None),
    ],
)
def test_doctor_doubts_what_is_likely_a_mistake(
    office: Office, monkeypatch: pytest.MonkeyPatch, layout: str, said: str | None
) -> None:
    monkeypatch.setenv("IMAGESORTD_LAYOUT", layout)
    settings = config.load({"output": office.desk.output, "state_dir": office.state})
    notes = [finding for finding in output_findings(settings) if finding.state == "note"]
    assert [finding.text for finding in notes if "layout" in finding.text] == ([] if said is None else [said])
    assert all(finding.advice for finding in notes)
