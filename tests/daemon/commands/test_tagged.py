"""Commands on images that are tagged where they lie: nothing moves, and what a person says replaces our tag."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.journal.journal import read_labels
from models.deciding.rule import Fate
from models.errors import UserError
from models.weights.store import WeightsStore
from models.xmp import tags
from models.xmp.tags import Tag
from tests.command_desk import Office, make_office
from tests.daemon.conftest import Publish
from tests.filing_desk import tree
from tests.models.xmp.sidecars import DARKTABLE
from tests.pictures import KINDS, save


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    return make_office(tmp_path, capsys)


def tag(office: Office, name: str, label: str = "dog", *, is_sure: bool = True) -> Path:
    path = office.desk.put(name, name.encode())
    folder, fate = (label, Fate.SURE) if is_sure else ("others", Fate.UNSURE)
    decision = office.desk.decide(path, folder, label=label, fate=fate, confidence=0.9, model_digest="1" * 64)
    office.desk.file([decision], action="tag")
    return path


def own_tag(path: Path) -> Tag | None:
    sidecar = Path(f"{path}.xmp")
    return tags.read(sidecar.read_bytes()).own if sidecar.exists() else None


def sidecars(office: Office) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in office.desk.inbox.glob("*.xmp")}


@pytest.mark.parametrize("given", ["a.jpg", "inbox/a.jpg", "{inbox}/a.jpg"])
def test_relabel_replaces_our_tag_and_undo_brings_it_back(office: Office, given: str) -> None:
    (office.desk.inbox / "a.jpg.xmp").write_bytes(DARKTABLE)
    path = tag(office, "a.jpg")
    before = tree(office.desk.inbox)
    (office.desk.output / "wolf").mkdir(parents=True)
    name = given.format(inbox=office.desk.inbox)
    assert f"{path} would be tagged wolf" in office.run("relabel", name, "wolf", "--dry-run")[1]
    assert tree(office.desk.inbox) == before
    code, said = office.run("relabel", name, "wolf")
    assert code == 0
    assert f"{path} is tagged wolf\n0 moved, 1 tagged, 0 already so, 0 not done\n" in said
    assert own_tag(path) == Tag("wolf")
    assert tags.read((office.desk.inbox / "a.jpg.xmp").read_bytes()).names == ("holiday", "sea", "wolf")
    (label,) = read_labels(office.desk.journal_path)
    assert (label.label, label.path) == ("wolf", path)
    undo = shlex.split(said.splitlines()[-1].removeprefix("To take it back: python -m daemon "))
    assert main(undo) == 0
    assert own_tag(path) == Tag("dog", 0.9, "1" * 64)
    assert list(read_labels(office.desk.journal_path)) == []
    assert path.exists()


def test_relabel_to_none_of_the_classes_takes_the_tag_out(office: Office) -> None:
    path = tag(office, "a.jpg")
    code, said = office.run("relabel", "a.jpg", "others")
    assert code == 0
    assert f"{path} has no tag now" in said
    assert own_tag(path) is None


def test_relabel_of_an_unsure_image_tags_it_and_of_a_tagged_one_confirms(office: Office) -> None:
    unsure = tag(office, "a.jpg", is_sure=False)
    sure = tag(office, "b.jpg")
    code, said = office.run("relabel", "a.jpg", "b.jpg", "dog", "--new")
    assert code == 0
    assert "0 moved, 1 tagged, 1 already so" in said
    assert own_tag(unsure) == Tag("dog")
    assert own_tag(sure) == Tag("dog", 0.9, "1" * 64)


def test_an_image_of_the_inbox_that_is_not_tagged_cannot_be_named(office: Office) -> None:
    tag(office, "b.jpg")
    office.desk.put("a.jpg")
    (office.desk.output / "dog").mkdir(parents=True)
    code, said = office.run("relabel", str(office.desk.inbox / "a.jpg"), "dog")
    assert code == 3
    assert "no filed image is named" in said


def test_history_says_tags(office: Office) -> None:
    path = tag(office, "a.jpg")
    tag(office, "b.jpg", "cat", is_sure=False)
    (office.desk.output / "wolf").mkdir(parents=True)
    said = office.run("history")[1]
    assert "a.jpg, tagged dog (dog 0.90" in said
    assert "b.jpg, not tagged (cat 0.90" in said
    office.run("relabel", "a.jpg", "wolf")
    said = office.run("history")[1]
    assert "a.jpg, tagged wolf, relabelled\n" in said
    rows = office.json("history")
    assert [(row["action"], row["destination"], row["class"]) for row in rows] == [
        ("tag", str(path), "wolf"),
        ("tag", None, "cat"),
        ("tag", str(path), "dog"),
    ]


def test_undo_says_what_it_does(office: Office) -> None:
    path = tag(office, "a.jpg")
    assert f"the tag of {path} is to be taken out" in office.run("undo", "--last", "1", "--dry-run")[1]
    code, said = office.run("undo", "--last", "1")
    assert code == 0
    assert f"the tag of {path} is taken out" in said
    assert own_tag(path) is None


@pytest.mark.parametrize("dry_run", [True, False])
def test_undo_says_that_somebody_has_taken_the_tag_out_already(office: Office, dry_run: bool) -> None:
    path = tag(office, "a.jpg")
    Path(f"{path}.xmp").unlink()
    code, said = office.run("undo", "--last", "1", *(["--dry-run"] if dry_run else []))
    assert (code, said.splitlines()[0]) == (
        0,
        f"{path} has no tag of this program any more: there is nothing to take out",
    )


def test_undo_of_an_image_without_a_tag_does_not_promise_to_classify_it(office: Office) -> None:
    path = tag(office, "a.jpg", is_sure=False)
    says = f"{path} had got no tag, and gets none\n"
    assert says in office.run("undo", "--last", "1", "--dry-run")[1]
    assert says in office.run("undo", "--last", "1")[1]
    assert "a.jpg" in office.run("release")[1]


@pytest.fixture(scope="module")
def newer(publish: Publish, store: WeightsStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows all kinds."""
    folder = tmp_path_factory.mktemp("newer")
    publish(folder / "run", KINDS, threshold=0.3)
    return folder


def test_resort_replaces_our_tag(office: Office, newer: Path) -> None:
    for kind, folder in (("stripes", "stripes"), ("discs", "stripes"), ("fog", "others")):
        path = save(kind, 1, office.desk.inbox / f"{kind}.png")
        office.desk.file_one(
            path,
            folder,
            label="stripes",
            fate=Fate.UNSURE if folder == "others" else Fate.SURE,
            confidence=0.6,
            model_digest="0" * 64,
            action="tag",
        )
    before, contents = tree(office.desk.inbox), sidecars(office)
    code, said = office.run("resort", "--checkpoint", str(newer), "--dry-run")
    assert code == 0
    assert "discs.png would be tagged discs (" in said
    assert "fog.png would be tagged fog (" in said
    assert "      1  stripes -> discs\n" in said
    assert tree(office.desk.inbox) == before
    found = json.loads(office.run("resort", "--checkpoint", str(newer), "--json")[1])
    assert len(found["images"]) == 2
    assert {path.name: getattr(own_tag(path), "label", None) for path in office.desk.inbox.glob("*.png")} == {
        "stripes.png": "stripes",
        "discs.png": "discs",
        "fog.png": "fog",
    }
    assert not any(office.desk.output.rglob("*.png"))
    assert office.run("undo", "--run", str(found["run"]))[0] == 0
    assert sidecars(office) == contents


def test_sort_tags_a_folder_where_it_is(office: Office, newer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for kind in ("stripes", "discs"):
        save(kind, 1, folder / "deep" / f"{kind}.png")
    (folder / "deep" / "discs.png.xmp").write_bytes(DARKTABLE)
    command = ["sort", "--input-dir", str(folder), "--action", "tag", "--checkpoint", str(newer)]
    assert main(command) == 0
    assert "2 of 2 images tagged in" in office.capsys.readouterr().out
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "stripes.png",
        "stripes.png.xmp",
        "discs.png",
        "discs.png.xmp",
    }
    there = {path: path.read_bytes() for path in folder.rglob("*.xmp")}
    assert tags.read(there[folder / "deep" / "discs.png.xmp"]).names == ("holiday", "sea", "discs")
    assert main(command) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.xmp")} == there


def test_sort_needs_an_output_for_copies(office: Office, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="say with --output-dir"):
        main(["sort", "--input-dir", str(tmp_path)])


def test_retry_lets_an_image_be_tagged_once_its_sidecar_is_mended(office: Office) -> None:
    sidecar = office.desk.inbox / "a.jpg.xmp"
    sidecar.write_bytes(b"no XMP")
    tag(office, "a.jpg")
    assert "left where it is: a.jpg (sidecar)" in office.run("history")[1]
    assert "the XMP sidecar of 'a.jpg' cannot be tagged" in str(office.json("history")[0]["detail"])
    sidecar.unlink()
    assert office.run("retry", "--reason", "sidecar")[0] == 0
    assert own_tag(tag(office, "a.jpg")) is not None
