"""The command release, and what the others say of held images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.journal.journal import Journal
from models.errors import UserError
from models.text.commandline import normalise
from tests.command_desk import Office, make_office
from tests.filing_desk import images


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    return make_office(tmp_path, capsys)


def bring_back(office: Office, *names: str) -> None:
    desk = office.desk
    desk.file([desk.decide(desk.put(name, os.fsencode(name))) for name in names])
    assert office.run("undo", "--last", str(len(names)))[0] == 0


def held(office: Office) -> list[str]:
    journal = Journal(office.desk.journal_path)
    names = [image.path.name for image in journal.held()]
    journal.close()
    return names


def test_held_images_are_released(office: Office) -> None:
    bring_back(office, "a.jpg", "b.jpg", "c.jpg")
    assert sorted(held(office)) == ["a.jpg", "b.jpg", "c.jpg"]
    inbox = office.desk.inbox
    assert office.run("release", "a.jpg", "--dry-run") == (0, f"{inbox}/a.jpg would be released\n1 would be released\n")
    code, text = office.run("release", "a.jpg", "inbox/b.jpg", "x.jpg")
    assert code == 3
    assert text.splitlines() == [
        "not done: x.jpg is not held",
        f"{inbox}/a.jpg is released",
        f"{inbox}/b.jpg is released",
        "2 released, 1 not",
        "The daemon that watches their inbox files them, at once or when it is started.",
    ]
    assert held(office) == ["c.jpg"]
    (row,) = office.json("release", "--all")
    assert row == {"file": f"{inbox}/c.jpg", "outcome": "released", "says": f"{inbox}/c.jpg is released"}
    assert office.run("release", "--all") == (0, "no image is held\n")
    assert office.run("release", "c.jpg") == (3, "not done: c.jpg is not held\n0 released, 1 not\n")
    assert len(images(inbox)) == 3


def test_something_must_be_chosen(office: Office) -> None:
    bring_back(office, "a.jpg")
    with pytest.raises(UserError, match=r"^say what to release: FILE\.\.\., or --all$"):
        office.run("release", "a.jpg", "--all")


def test_without_a_choice_what_is_held_is_listed(office: Office) -> None:
    desk = office.desk
    desk.file_one(desk.put("c.jpg"))
    assert office.run("release") == (0, "no image is held\n")
    assert office.json("release") == []
    bring_back(office, "a.jpg")
    bring_back(office, "b.jpg")
    code, text = office.run("release")
    assert code == 0
    assert text.splitlines() == [
        f"{desk.inbox}/b.jpg is held",
        f"{desk.inbox}/a.jpg is held",
        "2 images are held",
        "They are filed again after python -m daemon release FILE..., or --all for all of them.",
    ]
    row, _ = office.json("release")
    assert (row["file"], row["outcome"]) == (f"{desk.inbox}/b.jpg", "held")
    assert held(office) == ["a.jpg", "b.jpg"], "nothing was released"
    (desk.inbox / "a.jpg").unlink()
    assert [row["file"] for row in office.json("release")] == [f"{desk.inbox}/b.jpg"]


@pytest.mark.parametrize("options", [["--language", "ko"], ["--language=ko"]])
def test_options_may_come_before_the_command(office: Office, options: list[str]) -> None:
    bring_back(office, "a.jpg")
    place = ["--output", str(office.desk.output), f"--state-dir={office.state}"]
    office.capsys.readouterr()
    assert main(normalise([*options, *place, "release", "--json"])) == 0
    (row,) = json.loads(office.capsys.readouterr().out)
    assert row["file"] == str(office.desk.inbox / "a.jpg")


def test_the_history_says_what_is_held(office: Office) -> None:
    bring_back(office, "a.jpg")
    assert "undone, held: a.jpg -> cat/a.jpg" in office.run("history")[1]
    assert office.json("history")[0]["held"] is True
    office.run("release", "--all")
    assert "undone: a.jpg -> cat/a.jpg" in office.run("history")[1]
    assert office.json("history")[0]["held"] is False


def test_an_undone_image_that_is_in_the_way_is_held_under_its_new_name(office: Office) -> None:
    desk = office.desk
    desk.file_one(desk.put("a.jpg", b"first"))
    desk.put("a.jpg", b"second")
    (row,) = office.json("undo", "--last", "1")
    assert (row["held"], row["back"]) == (True, str(desk.inbox / "a_2.jpg"))
    assert held(office) == ["a_2.jpg"]
