"""Relabel: what a person says of filed images moves them, is kept as a label, and can be undone."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from unicodedata import normalize

import pytest

from daemon.__main__ import main
from daemon.journal.journal import read_labels
from daemon.journal.labels import How, Label, WantedLabels
from models.errors import UserError
from tests.command_desk import Office, make_office
from tests.filing_desk import tree


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    return make_office(tmp_path, capsys)


def file(office: Office, name: str, folder: str = "dog", content: bytes | None = None) -> Path:
    picture = office.desk.put(name, os.fsencode(name) if content is None else content)
    filed = office.desk.file_one(picture, folder, label=folder, confidence=0.9, model_digest="1" * 64)
    assert filed.destination is not None
    return filed.destination


def folders(office: Office, *names: str) -> None:
    for name in names:
        (office.desk.output / name).mkdir(exist_ok=True)


def places(office: Office) -> list[str]:
    return sorted(office.desk.filed())


def labels(office: Office, *, every: bool = False) -> list[Label]:
    return list(read_labels(office.desk.journal_path, WantedLabels(every=every)))


def test_an_image_moves_with_its_sidecar_and_gets_a_label(office: Office) -> None:
    file(office, "a.jpg")
    folders(office, "wolf")
    (office.desk.output / "dog" / "a.xmp").write_text("a sidecar that was written just now")
    code, said = office.run("relabel", "dog/a.jpg", "wolf")
    assert code == 0
    assert said.startswith("dog/a.jpg -> wolf/a.jpg\n1 moved, 0 already there, 0 not done\nTo take it back: ")
    assert places(office) == ["wolf/a.jpg", "wolf/a.xmp"]
    (label,) = labels(office)
    assert (label.label, label.how, label.path) == ("wolf", How.RELABELLED, office.desk.output / "wolf" / "a.jpg")

    undo = shlex.split(said.splitlines()[-1].removeprefix("To take it back: python -m daemon "))
    assert main(undo) == 0, "as it stands, wherever the output is"
    assert places(office) == ["dog/a.jpg", "dog/a.xmp"], "where it came from, and not the inbox"
    assert labels(office) == []


@pytest.mark.parametrize(
    "given",
    ["a.jpg", "dog/a.jpg", "./dog/a.jpg", "sorted/dog/a.jpg", "inbox/a.jpg", "{output}/dog/a.jpg", "{inbox}/a.jpg"],
)
def test_an_image_is_named_as_undo_names_it(office: Office, given: str) -> None:
    file(office, "a.jpg")
    folders(office, "wolf")
    name = given.format(output=office.desk.output, inbox=office.desk.inbox)
    assert office.run("relabel", name, "wolf", "--dry-run")[1].startswith("dog/a.jpg would go to wolf/a.jpg\n")
    assert office.run("relabel", name, "wolf")[0] == 0
    assert places(office) == ["wolf/a.jpg"]


def test_names_that_no_terminal_shows_and_names_in_other_compositions(office: Office) -> None:
    odd = os.fsdecode(b"caf\xe9\n.jpg")
    file(office, odd)
    file(office, normalize("NFD", "가.jpg"), "강아지")
    folders(office, "wolf", normalize("NFD", "늑대"))
    assert office.run("relabel", f"dog/{odd}", "wolf")[1].startswith(
        "$'dog/caf\\351\\n.jpg' -> $'wolf/caf\\351\\n.jpg'"
    )
    assert office.run("relabel", normalize("NFC", "강아지/가.jpg"), normalize("NFC", "늑대"))[0] == 0
    assert places(office) == [f"wolf/{odd}", normalize("NFD", "늑대/가.jpg")]
    assert labels(office)[0].label == normalize("NFC", "늑대")


def test_a_name_of_several_images_is_none(office: Office) -> None:
    file(office, "a.jpg", "dog", b"one")
    file(office, "a.jpg", "cat", b"two")
    folders(office, "wolf")
    before = tree(office.desk.output)
    code, said = office.run("relabel", "a.jpg", "wolf")
    assert code == 3
    assert said.startswith("not done: 'a.jpg' is the name of 2 images: say which, such as ")
    assert "cat/a.jpg" in said
    assert tree(office.desk.output) == before
    assert labels(office) == []


def test_what_is_not_there_is_left_and_the_others_move(office: Office) -> None:
    file(office, "a.jpg")
    file(office, "gone.jpg").unlink()
    torn = office.desk.put("torn.jpg")
    office.desk.file_one(torn, "quarantine/truncated", reason="truncated")
    office.desk.put("new.jpg")
    (office.desk.output / "dog" / "notes.txt").write_text("no image")
    folders(office, "wolf")
    names = ["gone.jpg", "inbox/new.jpg", "quarantine/truncated/torn.jpg", "dog/notes.txt", "a.jpg"]
    items = office.json("relabel", *names, "wolf")
    assert [item["outcome"] for item in items] == ["not found"] * 4 + ["filed"]
    assert "retry" in items[2]["says"]
    assert places(office) == ["dog/notes.txt", "quarantine/truncated/torn.jpg", "wolf/a.jpg"]
    assert office.run("relabel", "gone.jpg", "wolf")[0] == 3


def test_an_image_that_lies_there_is_only_labelled(office: Office) -> None:
    path = file(office, "a.jpg")
    before = tree(office.desk.output)
    assert office.run("relabel", "a.jpg", "dog") == (
        0,
        "dog/a.jpg is there already, and has this label now\n0 moved, 1 already there, 0 not done\n",
    )
    assert tree(office.desk.output) == before
    (label,) = labels(office)
    assert (label.label, label.path) == ("dog", path)
    assert office.run("undo", "--last", "1")[0] == 0
    assert labels(office) == [], "an image that goes back to the inbox is filed anew"


def test_an_image_that_the_journal_does_not_know_moves_too(office: Office) -> None:
    file(office, "a.jpg")
    by_hand = office.desk.output / "dog" / "by hand.jpg"
    by_hand.write_bytes(b"placed")
    folders(office, "wolf", "dog/inside")
    moved_by_hand = office.desk.output / "dog" / "inside" / "a.jpg"
    (office.desk.output / "dog" / "a.jpg").rename(moved_by_hand)
    assert office.run("relabel", "by hand.jpg", "dog/inside/a.jpg", "wolf")[0] == 0
    assert places(office) == ["wolf/a.jpg", "wolf/by hand.jpg"]
    assert {label.label for label in labels(office)} == {"wolf"}
    assert office.run("undo", "--run", "last")[0] == 0
    assert places(office) == ["dog/by hand.jpg", "dog/inside/a.jpg"]
    assert labels(office) == []


def test_none_of_the_classes_is_said_with_the_folder_of_the_others(office: Office) -> None:
    file(office, "a.jpg")
    assert office.run("relabel", "a.jpg", "Others")[0] == 0
    assert places(office) == ["others/a.jpg"]
    assert [label.label for label in labels(office)] == [None]
    assert office.run("relabel", "a.jpg", "dog")[0] == 0
    assert places(office) == ["dog/a.jpg"]
    assert [label.label for label in labels(office)] == ["dog"], "the newest wins"
    assert office.run("undo", "--last", "1")[0] == 0
    assert [label.label for label in labels(office)] == [None], "and what was said before it counts again"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("wolff", r"there is no class 'wolff': did you mean wolf\? Give --new to make it a class"),
        ("xyzzy", r"there is no class 'xyzzy': give one that there is, or --new to make it one"),
        ("Wolf", r"there is no class 'Wolf': did you mean wolf\?"),
        ("quarantine", r"quarantine is the folder of files that cannot be read, and no class"),
        ("@eaDir", r"a system or a program has folders named @eaDir"),
        ("a/b", r"there is no class 'a/b': give one that there is"),
        ("others/b", r"others/b lies in the folder for images of none of the classes: give a class"),
        ("..", r"the class name '\.\.' cannot be a folder's name"),
    ],
)
def test_a_name_that_is_no_class_is_refused(office: Office, given: str, sentence: str) -> None:
    file(office, "a.jpg")
    folders(office, "wolf")
    before = tree(office.desk.output)
    with pytest.raises(UserError, match=f"^{sentence}"):
        office.run("relabel", "a.jpg", given)
    assert tree(office.desk.output) == before
    assert labels(office) == []


def test_a_new_class_is_made_when_that_is_meant(office: Office) -> None:
    file(office, "a.jpg")
    folders(office, "wolf")
    assert office.run("relabel", "a.jpg", "fox", "--new")[0] == 0
    assert places(office) == ["fox/a.jpg"]
    assert (office.desk.output / "fox" / ".imagesortd").read_text() == "class\n"
    with pytest.raises(UserError, match=r"^there is no class 'Wolf': did you mean wolf\?$"):
        office.run("relabel", "a.jpg", "Wolf", "--new")


def test_the_path_of_a_class_folder_is_its_name(office: Office) -> None:
    file(office, "a.jpg")
    folders(office, "wolf", "fox")
    assert office.run("relabel", "a.jpg", "sorted/wolf/")[0] == 0
    assert office.run("relabel", "a.jpg", "fox/")[0] == 0
    assert places(office) == ["fox/a.jpg"]


def test_a_dry_run_changes_nothing(office: Office) -> None:
    file(office, "a.jpg")
    folders(office, "wolf")
    before = tree(office.desk.output)
    assert office.run("relabel", "a.jpg", "wolf", "--dry-run") == (
        0,
        "dog/a.jpg would go to wolf/a.jpg\n1 would move, 0 already there, 0 not done\n",
    )
    assert office.run("relabel", "a.jpg", "dog", "--dry-run")[0] == 0
    assert tree(office.desk.output) == before
    assert labels(office) == []


def test_a_name_that_is_taken_is_not_replaced(office: Office) -> None:
    file(office, "a.jpg")
    folders(office, "wolf")
    (office.desk.output / "wolf" / "a.jpg").write_bytes(b"another")
    assert office.run("relabel", "dog/a.jpg", "wolf")[0] == 0
    assert office.desk.filed() == {"wolf/a.jpg": b"another", "wolf/a_2.jpg": b"a.jpg"}
    assert labels(office)[0].path.name == "a_2.jpg", "where it lies, not where it was to lie"


def test_one_image_that_is_named_twice_moves_once(office: Office) -> None:
    file(office, "a.jpg")
    folders(office, "wolf")
    assert len(office.json("relabel", "a.jpg", "dog/a.jpg", "wolf")) == 1
    assert len(labels(office, every=True)) == 1


def test_the_history_says_what_became_of_it(office: Office) -> None:
    file(office, "a.jpg")
    file(office, "b.jpg")
    folders(office, "wolf")
    office.run("relabel", "a.jpg", "wolf")
    office.run("relabel", "b.jpg", "dog")
    said = office.run("history")[1]
    assert "a.jpg -> wolf/a.jpg, relabelled\n" in said
    assert "a.jpg -> dog/a.jpg (dog 0.90, 111111111111), relabelled to wolf\n" in said
    assert "b.jpg -> dog/b.jpg (dog 0.90, 111111111111), confirmed\n" in said
    rows = office.json("history", "--file", "a.jpg")
    assert [row["class"] for row in rows] == ["wolf", "dog"]
    for row in rows:
        assert (row["label"]["class"], row["label"]["how"]) == ("wolf", "relabelled")
        assert row["now"] == str(office.desk.output / "wolf" / "a.jpg")
    assert office.json("history", "--class", "wolf")[0]["destination"].endswith("wolf/a.jpg")


def test_a_correction_by_hand_after_it_counts_as_one(office: Office) -> None:
    file(office, "a.jpg")
    folders(office, "wolf", "fox")
    office.run("relabel", "a.jpg", "wolf")
    (office.desk.output / "wolf" / "a.jpg").rename(office.desk.output / "fox" / "a.jpg")
    assert "relabelled" not in office.run("history")[1]
    assert office.run("history")[1].count("corrected to fox") == 2
