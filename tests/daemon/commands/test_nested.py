"""Classes that lie in folders, as the commands know them: by the published checkpoint."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from daemon import config
from daemon.__main__ import main
from daemon.journal.journal import read_labels
from daemon.operations.classes import class_folders
from daemon.state import journal_path
from models.checkpoints.metadata import Level
from models.deciding.rule import Fate
from models.errors import UserError
from tests.command_desk import Office, make_office
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save

#: Of stripes, discs, checks and fog.
CLASSES = ("무늬/줄/stripes", "무늬/discs", "무늬/줄/checks", "fog")


@pytest.fixture
def office(
    tmp_path: Path, publish: Publish, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Office:
    """An office whose published checkpoint has such classes."""
    publish(tmp_path / "checkpoints/run", CLASSES, threshold=0.3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESORTD_CHECKPOINT", str(tmp_path / "checkpoints"))
    return make_office(tmp_path, capsys)


def file(office: Office, kind: str, label: str, seed: int = 1, folder: str | None = None) -> Path:
    """A picture of one kind that was filed as of a class."""
    picture = save(kind, seed, office.desk.inbox / f"{kind}{seed}.png")
    fate = Fate.UNSURE if folder == "others" else Fate.SURE
    result = office.desk.file_one(
        picture, folder or label, label=label, confidence=0.6, model_digest="0" * 64, fate=fate
    )
    assert result.destination is not None
    return result.destination


def places(office: Office) -> list[str]:
    return sorted(office.desk.filed())


def test_relabel_moves_an_image_between_them_and_undo_back(office: Office) -> None:
    filed = file(office, "discs", "무늬/discs")
    (filed.parent / "discs1.xmp").write_text("a sidecar")
    code, said = office.run("relabel", "무늬/discs/discs1.png", "무늬/줄/checks")
    assert (code, said.splitlines()[0]) == (0, "무늬/discs/discs1.png -> 무늬/줄/checks/discs1.png")
    assert places(office) == ["무늬/줄/checks/discs1.png", "무늬/줄/checks/discs1.xmp"]
    (label,) = read_labels(office.desk.journal_path)
    assert label.label == "무늬/줄/checks"
    undo = shlex.split(said.splitlines()[-1].removeprefix("To take it back: python -m daemon "))
    assert main(undo) == 0
    assert places(office) == ["무늬/discs/discs1.png", "무늬/discs/discs1.xmp"]


@pytest.mark.parametrize(
    ("lies", "to", "place"),
    [
        ("무늬", "무늬/discs", "무늬/discs"),
        ("무늬/discs", "무늬", "무늬"),
        ("무늬/줄", "무늬/줄/stripes", "무늬/줄/stripes"),
        ("fog", "무늬/줄", "무늬/줄"),
        ("무늬/discs", "sorted/fog", "fog"),
        ("무늬/discs", "sorted/무늬/줄/stripes/", "무늬/줄/stripes"),
        ("무늬/줄/stripes", "others", "others"),
    ],
)
def test_relabel_takes_inner_folders_and_paths(office: Office, lies: str, to: str, place: str) -> None:
    file(office, "discs", lies)
    assert office.run("relabel", "discs1.png", to)[0] == 0
    assert places(office) == [f"{place}/discs1.png"]


def test_an_image_that_lies_there_is_confirmed_however_deep(office: Office) -> None:
    filed = file(office, "discs", "무늬/discs")
    (filed.parent / "여름").mkdir()
    filed.rename(filed.parent / "여름" / filed.name)
    (item,) = office.json("relabel", "무늬/discs/여름/discs1.png", "무늬/discs")
    assert (item["outcome"], item["from"]) == ("confirmed", "무늬/discs")


@pytest.mark.parametrize(
    ("to", "place"), [("무늬/점", "무늬/점"), ("무늬/줄/지그재그", "무늬/줄/지그재그"), ("밤", "밤")]
)
def test_a_new_class_may_be_made_where_a_folder_of_it_would_be_one(office: Office, to: str, place: str) -> None:
    file(office, "discs", "무늬/discs")
    with pytest.raises(UserError, match="Give --new to make it|or --new to make it one"):
        office.run("relabel", "discs1.png", to)
    assert office.run("relabel", "discs1.png", to, "--new")[0] == 0
    assert places(office) == [f"{place}/discs1.png"]
    assert office.run("relabel", "discs1.png", "무늬/discs")[0] == 0
    assert office.run("relabel", "discs1.png", to)[0] == 0, "its folder is there now"


@pytest.mark.parametrize("to", ["fog/thick", "밤/별", "무늬/discs/red", "무늬/점/큰"])
def test_and_nowhere_else(office: Office, to: str) -> None:
    file(office, "discs", "무늬/discs")
    with pytest.raises(UserError, match=rf"^'{to}' cannot be a class: all that lies in the folder"):
        office.run("relabel", "discs1.png", to, "--new")
    assert places(office) == ["무늬/discs/discs1.png"]


def test_the_class_folders_that_are_there_are_found(office: Office) -> None:
    file(office, "discs", "무늬/discs")
    file(office, "checks", "무늬/줄/checks")
    (office.desk.output / "무늬/줄/.hidden").mkdir()
    settings = config.load({"output": office.desk.output}, None)
    assert sorted(class_folders(settings)) == ["무늬", "무늬/discs", "무늬/줄", "무늬/줄/checks"]


def test_resort_knows_levels(office: Office, tmp_path: Path) -> None:
    there = {
        "무늬/discs": ("discs", 1),  # as it is
        "무늬": ("discs", 2),  # only the folder above was known
        "무늬/줄/stripes": ("discs", 3),
        "fog": ("checks", 4),
    }
    for label, (kind, seed) in there.items():
        file(office, kind, label, seed)
    file(office, "stripes", "fog", 5, folder="others")
    result = json.loads(office.run("resort", "--checkpoint", str(tmp_path / "checkpoints"), "--json")[1])
    assert places(office) == [
        "무늬/discs/discs1.png",
        "무늬/discs/discs2.png",
        "무늬/discs/discs3.png",
        "무늬/줄/checks/checks4.png",
        "무늬/줄/stripes/stripes5.png",
    ]
    pairs = {(pair["from"], pair["to"]) for pair in result["pairs"]}
    assert pairs == {
        ("무늬", "무늬/discs"),
        ("무늬/줄/stripes", "무늬/discs"),
        ("fog", "무늬/줄/checks"),
        ("others", "무늬/줄/stripes"),
    }
    assert office.run("undo", "--run", result["run"])[0] == 0
    assert "무늬/줄/stripes/discs3.png" in places(office)


def test_resort_moves_nothing_up_that_lies_deeper(office: Office, publish: Publish, tmp_path: Path) -> None:
    """A model that is sure of the folder above alone says nothing against the class in it."""
    levels = [Level(depth=1, threshold=0.5)]
    publish(tmp_path / "careful/run", CLASSES, threshold=1.0, max_error=0.01, levels=levels)
    file(office, "discs", "무늬/줄/stripes", 1)
    file(office, "discs", "fog", 2)
    file(office, "discs", "fog", 3, folder="others")
    result = json.loads(office.run("resort", "--checkpoint", str(tmp_path / "careful"), "--json")[1])
    assert places(office) == ["무늬/discs2.png", "무늬/discs3.png", "무늬/줄/stripes/discs1.png"]
    assert result["stay"] == {"rolled up": 1}
    assert {image["class"] for image in result["images"]} == {"무늬"}


def test_the_history_says_where_images_lie_and_finds_them_by_class(office: Office) -> None:
    file(office, "discs", "무늬/discs")
    moved = file(office, "checks", "무늬/줄/checks")
    file(office, "fog", "fog")
    file(office, "stripes", "무늬")
    moved.rename(office.desk.output / "무늬/discs" / moved.name)
    lines = [line.split("  ")[-1] for line in office.run("history")[1].splitlines()[1:]]
    assert lines[0].startswith("stripes1.png -> 무늬/stripes1.png (무늬 0.60")
    corrected = next(line for line in lines if line.startswith("checks1.png"))
    assert corrected.startswith("checks1.png -> 무늬/줄/checks/checks1.png (무늬/줄/checks 0.60")
    assert corrected.endswith(", corrected to 무늬/discs")

    def of(label: str) -> list[str]:
        return sorted(Path(row["source"]).stem for row in office.json("history", "--class", label))

    assert of("무늬/discs") == ["checks1", "discs1"]
    assert of("무늬") == ["checks1", "discs1", "stripes1"], "and what lies in there"
    assert of("무늬/줄") == ["checks1"]
    assert of("무") == []
    assert office.run("undo", "--file", "무늬/discs/discs1.png")[0] == 0
    assert (office.desk.inbox / "discs1.png").exists()


def test_labels_are_listed_by_them_and_exported_into_their_folders(office: Office, tmp_path: Path) -> None:
    for seed, label in enumerate(CLASSES):
        file(office, KINDS[seed], "무늬", seed)
        office.run("relabel", f"{KINDS[seed]}{seed}.png", label)
    assert {row["class"] for row in office.json("labels", "--label", "무늬/줄")} == {CLASSES[0], CLASSES[2]}
    code, said = office.run("labels", "export", str(tmp_path / "data"))
    assert code == 0
    assert "images: 4, classes: 4" in said
    assert "python -m trainer fit --nested --data-dir" in said
    for seed, label in enumerate(CLASSES):
        name = f"{KINDS[seed]}{seed}.png"
        assert (tmp_path / "data" / label / name).samefile(office.desk.output / label / name)
    office.run("relabel", "discs1.png", "fog")
    said = office.run("labels", "export", str(tmp_path / "data"))[1]
    assert f"{tmp_path}/data/무늬/discs/discs1.png is from an earlier export" in said


def test_with_a_model_without_them_the_first_folder_is_the_class(
    office: Office, publish: Publish, tmp_path: Path
) -> None:
    publish(tmp_path / "checkpoints/flat", ("무늬", "fog"), threshold=0.3)
    file(office, "discs", "무늬/discs")
    (item,) = office.json("relabel", "discs1.png", "무늬")
    assert (item["outcome"], item["from"]) == ("confirmed", "무늬")
    assert places(office) == ["무늬/discs/discs1.png"]
    assert journal_path(office.state, office.desk.output) == office.desk.journal_path
