"""Resort: another checkpoint's opinion of what was filed, and the moves that follow from it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.commands import calling, resort
from daemon.commands.filters import FiledOutput
from daemon.filing.duplicates import Duplicates
from daemon.filing.filer import Action
from daemon.journal.records import State
from daemon.operations.desk import Operation
from daemon.operations.resort import ResortParams
from models.text.commandline import run
from models.weights.store import WeightsStore
from tests.command_desk import Office, make_office
from tests.daemon.conftest import Publish
from tests.filing_desk import tree
from tests.pictures import KINDS, save


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


@pytest.fixture(scope="module")
def newer(publish: Publish, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows all kinds."""
    folder = tmp_path_factory.mktemp("newer")
    publish(folder / "run", KINDS, threshold=0.3)
    return folder


def file(office: Office, kind: str, folder: str, seed: int = 1, action: Action = "move") -> Path:
    """A picture of one kind that was filed as another."""
    picture = save(kind, seed, office.desk.inbox / f"{kind}{seed}.png")
    label = "stripes" if folder == "others" else folder
    filed = office.desk.file_one(picture, folder, label=label, confidence=0.6, model_digest="0" * 64, action=action)
    assert filed.destination is not None
    return filed.destination


def places(office: Office) -> list[str]:
    return sorted(office.desk.filed())


def test_images_go_where_the_newer_model_sees_them_and_back(office: Office, newer: Path) -> None:
    for kind, folder in (("stripes", "stripes"), ("discs", "stripes"), ("fog", "others"), ("checks", "fog")):
        file(office, kind, folder)
    sidecar = office.desk.output / "stripes" / "discs1.xmp"
    sidecar.write_text("a sidecar")
    os.utime(sidecar, (10**9, 10**9))  # not being written any more
    before = places(office)
    code, said = office.run("resort", "--checkpoint", str(newer), "--dry-run")
    assert code == 0
    assert "stripes/discs1.png would go to discs/discs1.png (" in said
    assert "      1  others -> fog\n" in said
    assert "3 would move by checkpoint" in said
    assert "stay: 1 same class" in said
    assert places(office) == before

    code, said = office.run("resort", "--checkpoint", str(newer))
    assert code == 0
    moved = ["checks/checks1.png", "discs/discs1.png", "discs/discs1.xmp", "fog/fog1.png", "stripes/stripes1.png"]
    assert places(office) == moved
    undo = shlex.split(said.splitlines()[-1].removeprefix("To take it back: python -m daemon "))
    assert office.run("resort", "--checkpoint", str(newer))[1].startswith("0 moved")

    assert main(undo) == 0, "as it stands, wherever the output is"
    said = office.capsys.readouterr().out
    assert said.splitlines()[-1] == "3 went back", "and not to an inbox, where a daemon would look"
    assert places(office) == before


def test_duplicates_stay(office: Office, newer: Path) -> None:
    first = file(office, "discs", "stripes")
    for name in ("again.png", "more.png"):
        shutil.copyfile(first, office.desk.inbox / name)
        decision = office.desk.decide(office.desk.inbox / name, "stripes")
        assert office.desk.file([decision], duplicates=Duplicates("folder"))[0].original == first
    code, said = office.run("resort", "--checkpoint", str(newer))
    assert (code, said.splitlines()[0][:-7]) == (0, "stripes/discs1.png -> discs/discs1.png")
    assert places(office) == ["discs/discs1.png", "duplicates/again.png", "duplicates/more.png"]
    shutil.copyfile(office.desk.output / "discs/discs1.png", office.desk.inbox / "last.png")
    decision = office.desk.decide(office.desk.inbox / "last.png", "stripes")
    (result,) = office.desk.file([decision], duplicates=Duplicates("folder"))
    assert result.original == office.desk.output / "discs/discs1.png", "it is found where it lies now"


def test_the_history_knows_the_newer_model(office: Office, newer: Path) -> None:
    file(office, "discs", "stripes")
    found = json.loads(office.run("resort", "--checkpoint", str(newer), "--json")[1])
    assert found["pairs"] == [{"from": "stripes", "to": "discs", "images": 1}]
    assert [image["class"] for image in found["images"]] == ["discs"]
    (row,) = office.json("history", "--checkpoint", found["checkpoint"])
    assert (row["run"], row["state"], row["class"]) == (found["run"], State.DONE, "discs")


def test_what_a_person_placed_stays(office: Office, newer: Path) -> None:
    moved_on = file(office, "discs", "stripes", 1)
    moved_on.rename(moved_on.parent / "renamed.png")
    (office.desk.output / "fog").mkdir()
    elsewhere = file(office, "discs", "stripes", 2)
    elsewhere.rename(office.desk.output / "fog" / elsewhere.name)
    replaced = file(office, "discs", "stripes", 3)
    replaced.unlink()
    save("discs", 33, replaced)
    os.utime(replaced, (1, 1))
    save("discs", 4, office.desk.output / "stripes" / "by hand.png")
    before = tree(office.desk.output)
    code, said = office.run("resort", "--checkpoint", str(newer))
    assert code == 0
    assert said.startswith("0 moved")
    assert "2 moved by hand" in said
    assert tree(office.desk.output) == before


def test_an_image_that_was_put_back_after_a_resort_stays_there(office: Office, newer: Path) -> None:
    filed = file(office, "discs", "stripes")
    office.run("resort", "--checkpoint", str(newer))
    (office.desk.output / "discs" / filed.name).rename(filed)
    assert "1 moved by hand" in office.run("resort", "--checkpoint", str(newer))[1]
    assert filed.exists()


def test_images_that_had_one_inode_number_after_another_are_two(office: Office, newer: Path) -> None:
    """The first was lost and came back from a backup, by when a new image had its number."""
    first = file(office, "discs", "stripes", 1)
    old, backup = first.stat().st_ino, first.with_name("backup")
    shutil.copy2(first, backup)
    backup.rename(first)
    second = file(office, "discs", "stripes", 2)
    office.desk.give_number_again(old, second)
    assert office.run("resort", "--checkpoint", str(newer))[1].splitlines()[-2].startswith("2 moved")
    assert places(office) == ["discs/discs1.png", "discs/discs2.png"]


def test_an_image_that_a_resort_has_copied_is_one_image(office: Office, newer: Path) -> None:
    """Its copy on another file system has another inode number: where the image lay before says nothing any more."""
    filed = file(office, "discs", "stripes")
    assert office.run("resort", "--checkpoint", str(newer))[1].splitlines()[-2].startswith("1 moved")
    copy = office.desk.output / "discs" / filed.name
    shutil.copy2(copy, copy.with_name("copy"))
    copy.with_name("copy").rename(copy)
    with closing(sqlite3.connect(office.desk.journal_path)) as db:
        db.execute("UPDATE filings SET copy_ino = ? WHERE label = 'discs'", (copy.stat().st_ino,))
        db.commit()
    copy.rename(filed)
    assert "stay: 1 moved by hand" in office.run("resort", "--checkpoint", str(newer))[1]
    assert filed.exists()


def test_what_the_newer_model_is_unsure_of_or_cannot_read_stays(office: Office, newer: Path) -> None:
    file(office, "discs", "stripes")
    broken = office.desk.put("torn.jpg", b"\xff\xd8 no picture")
    office.desk.file_one(broken, "stripes", label="stripes")
    code, said = office.run("resort", "--checkpoint", str(newer), "--threshold", "1.0")
    assert code == 0
    assert said.startswith("0 moved")
    assert "1 unsure" in said
    assert "1 unreadable" in said


def test_copies_move_and_their_originals_are_not_filed_again(office: Office, newer: Path) -> None:
    copy = file(office, "discs", "stripes", action="copy")
    original = office.desk.inbox / copy.name
    assert office.run("resort", "--checkpoint", str(newer))[0] == 0
    assert places(office) == [f"discs/{copy.name}"]
    assert original.exists()
    decision = office.desk.decide(original, "stripes")
    assert [filed.status for filed in office.desk.file([decision], action="copy")] == ["already"]


def test_only_what_was_filed_since_a_day(office: Office, newer: Path) -> None:
    file(office, "discs", "stripes")
    said = office.run("resort", "--checkpoint", str(newer), "--dry-run", "--since", "2999-01-01")[1]
    assert said.startswith("0 would move")


@pytest.mark.parametrize("option", ["--only-others", "--only-unsure"])  # the second is its name in earlier versions
def test_only_those_filed_to_the_others(office: Office, newer: Path, option: str) -> None:
    """Not what was filed elsewhere, nor what a person put among the others."""
    for kind, folder in (("discs", "stripes"), ("fog", "others"), ("checks", "others")):
        file(office, kind, folder)
    file(office, "checks", "stripes", 2).rename(office.desk.output / "others" / "checks2.png")
    options = ["--checkpoint", str(newer), option]
    assert office.run("resort", *options, "--dry-run")[1].splitlines()[-1].startswith("2 would move")
    assert office.run("resort", *options)[0] == 0
    assert places(office) == ["checks/checks1.png", "fog/fog1.png", "others/checks2.png", "stripes/discs1.png"]


def test_a_name_that_is_taken_is_not_replaced(office: Office, newer: Path) -> None:
    filed = file(office, "discs", "stripes")
    other = save("discs", 9, office.desk.output / "discs" / filed.name)
    content = other.read_bytes()
    assert office.run("resort", "--checkpoint", str(newer))[0] == 0
    assert places(office) == ["discs/discs1.png", "discs/discs1_2.png"]
    assert other.read_bytes() == content


def test_it_refuses_while_the_daemon_files_there(office: Office, newer: Path) -> None:
    from daemon.state import lock

    file(office, "discs", "stripes")
    before = tree(office.desk.output)
    with lock(office.state, [office.desk.output]):
        with pytest.raises(
            Exception, match=r"^a daemon is at work on .* and does not answer this command: try again in a moment"
        ):
            office.run("resort", "--checkpoint", str(newer))
        assert office.run("resort", "--checkpoint", str(newer), "--dry-run")[0] == 0
    assert tree(office.desk.output) == before


def test_a_class_may_not_be_called_like_the_folder_of_the_unsure(
    office: Office, publish: Publish, tmp_path: Path
) -> None:
    file(office, "discs", "stripes")
    publish(tmp_path / "odd" / "run", ["others", "b"])
    with pytest.raises(Exception, match="the folder others is for other images"):
        office.run("resort", "--checkpoint", str(tmp_path / "odd"), "--dry-run")


def test_a_checkpoint_that_is_not_there_is_one_sentence(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    from daemon.__main__ import main

    file(office, "discs", "stripes")
    place = ["--output", str(office.desk.output), "--state-dir", str(office.state)]
    assert run(main, ["resort", "--checkpoint", "missing", *place]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    shutil.rmtree(office.state)
    assert run(main, ["resort", "--checkpoint", "missing", *place]) == 2


def test_what_a_person_has_labelled_otherwise_stays(office: Office, newer: Path) -> None:
    for seed, to in enumerate(("stripes", "others", "fog", "discs"), 1):
        file(office, "discs", "stripes", seed)
        assert office.run("relabel", f"discs{seed}.png", to, "--new")[0] == 0
    before = tree(office.desk.output)
    said = office.run("resort", "--checkpoint", str(newer))[1]
    assert "stay: 1 same class, 3 labelled otherwise" in said
    assert tree(office.desk.output) == before
    assert office.run("labels", "forget", "discs1.png")[0] == 0
    found = json.loads(office.run("resort", "--checkpoint", str(newer), "--json")[1])
    assert [Path(image["destination"]).name for image in found["images"]] == ["discs1.png"]
    assert found["stay"] == {"same class": 1, "labelled otherwise": 2}


def test_what_was_said_or_moved_since_it_was_planned_stays(
    office: Office, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon that moves the images looks again."""
    for seed in (1, 2, 3):
        file(office, "discs", "stripes", seed)
    real = calling.operate

    def meanwhile(place: FiledOutput, method: str, params: ResortParams) -> Operation:
        if params.moves:
            office.run("relabel", "discs1.png", "stripes")
            (office.desk.output / "stripes" / "discs2.png").rename(office.desk.output / "mine.png")
        return (yield from real(place, method, params))

    monkeypatch.setattr(resort, "operate", meanwhile)
    said = office.run("resort", "--checkpoint", str(newer))[1]
    assert "1 moved by checkpoint" in said
    assert "1 labelled otherwise" in said
    assert "1 not there any more" in said
    assert places(office) == ["discs/discs3.png", "mine.png", "stripes/discs1.png"]


def test_ctrl_c_ends_it_between_two_moves(office: Office, newer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (1, 2, 3):
        file(office, "discs", "stripes", seed)
    real = calling.operate

    def interrupted(place: FiledOutput, method: str, params: ResortParams) -> Operation:
        if params.moves:
            signal.raise_signal(signal.SIGINT)
        return (yield from real(place, method, params))

    monkeypatch.setattr(resort, "LOT", 1)
    with monkeypatch.context() as patch:
        patch.setattr(resort, "operate", interrupted)
        with pytest.raises(KeyboardInterrupt, match="^stopped; images that were moved: 1; the same command goes on"):
            office.run("resort", "--checkpoint", str(newer))
    assert len([place for place in places(office) if place.startswith("discs/")]) == 1
    assert "2 moved by checkpoint" in office.run("resort", "--checkpoint", str(newer))[1]


def test_all_that_one_resort_moves_is_one_run(office: Office, newer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resort, "LOT", 1)
    for seed in (1, 2, 3):
        file(office, "discs", "stripes", seed)
    before = places(office)
    run_name = json.loads(office.run("resort", "--checkpoint", str(newer), "--json")[1])["run"]
    assert len(places(office)) == 3
    assert office.run("undo", "--run", run_name)[0] == 0
    assert places(office) == before


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_it_goes_by_the_layout_and_a_dry_run_says_the_same(
    office: Office, newer: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setenv("IMAGESORTD_LAYOUT", "{class}/{inbox}/{stem}")
    monkeypatch.setenv("IMAGESORTD_WATCH", str(office.desk.inbox))
    filed = file(office, "discs", "others")
    office.run("relabel", str(filed), "stripes", "--new")
    office.run("labels", "forget", "--last", "1")
    code, said = office.run("resort", "--checkpoint", str(newer), *options)
    assert code == 0
    assert "discs/inbox/discs1/discs1.png" in said
