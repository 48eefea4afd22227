"""The labels commands: what people said is listed, taken back, and exported as a data set."""

from __future__ import annotations

import json
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from daemon.files.roots import OpenFolders, Roots
from daemon.files.source import Identity
from daemon.filing.data_set import DataSetFolder, Exported, LabelledFile
from daemon.journal.labels import How, Label
from models.errors import UserError
from tests.command_desk import Office, make_office
from tests.filing_desk import tree
from trainer.data.dataset import scan

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    office = make_office(tmp_path, capsys)
    for folder in ("cat", "dog", "wolf"):
        (office.desk.output / folder).mkdir()
    return office


def file(office: Office, name: str, folder: str = "dog") -> Path:
    picture = office.desk.put(name, os.fsencode(name))
    filed = office.desk.file_one(picture, folder, label=folder, confidence=0.9, model_digest="1" * 64)
    assert filed.destination is not None
    return filed.destination


def said(office: Office, path: Path, label: str | None, how: How, day: int) -> None:
    """Write a label as the daemon or the review page would."""
    journal = office.desk.journal()
    identity = Identity.from_stat(path.stat())
    digest = sha256(path.read_bytes()).hexdigest()
    time = DAY + timedelta(days=day)
    journal.write([], labels=[Label(sha256=digest, label=label, how=how, path=path, identity=identity, time=time)])
    journal.close()


@pytest.fixture
def full(office: Office) -> Office:
    """Four labels, one a day."""
    for day, (name, label, how) in enumerate(
        [
            ("a.jpg", "dog", How.REVIEWED),
            ("b.jpg", "wolf", How.MOVED),
            ("c.jpg", None, How.AUDITED),
            ("d.jpg", "dog", How.PLACED),
        ]
    ):
        said(office, file(office, name), label, how, day)
    return office


def names(office: Office, *options: str) -> list[str]:
    return [Path(str(row["path"])).stem for row in office.json("labels", *options)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["d", "c", "b", "a"]),
        (["list"], ["d", "c", "b", "a"]),
        (["--limit", "2"], ["d", "c"]),
        (["--label", "dog"], ["d", "a"]),
        (["--label", "others"], ["c"]),
        (["--how", "moved", "--how", "audited"], ["c", "b"]),
        (["--since", "2026-03-03"], ["d", "c"]),
        (["list", "--label", "horse"], []),
    ],
)
def test_labels_are_chosen(full: Office, options: list[str], expected: list[str]) -> None:
    assert names(full, *options) == expected


def test_all_labels_are_listed_and_exported_however_many(office: Office, tmp_path: Path) -> None:
    count = 1100
    folder = office.desk.output / "dog"
    labels = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        path.write_bytes(b"%d" % number)
        identity, digest = Identity.from_stat(path.stat()), sha256(b"%d" % number).hexdigest()
        labels.append(Label(sha256=digest, label="dog", how=How.PLACED, path=path, identity=identity))
    journal = office.desk.journal()
    journal.write([], labels=labels)
    journal.close()
    assert names(office) == [str(number) for number in reversed(range(count))]
    code, text = office.run("labels", "export", str(tmp_path / "data"))
    assert (code, len([*(tmp_path / "data/dog").iterdir()])) == (0, count)
    assert f"images: {count}" in text


def test_what_a_label_says(full: Office) -> None:
    (full.desk.output / "dog" / "d.jpg").unlink()
    lines = full.run("labels")[1].splitlines()
    assert [line.split("  ")[-1] for line in lines] == [
        "dog/d.jpg: dog, placed by hand; no longer there",
        "dog/c.jpg: none of the classes, audited",
        "dog/b.jpg: wolf, moved by hand",
        "dog/a.jpg: dog, reviewed",
    ]
    newest = full.json("labels", "--limit", "1")[0]
    assert (newest["class"], newest["how"], newest["now"]) == ("dog", "placed", None)
    assert full.run("labels", "--label", "horse") == (0, "no label matches\n")


def test_a_label_follows_its_image(office: Office) -> None:
    said(office, file(office, "a.jpg"), "wolf", How.REVIEWED, 0)
    office.run("relabel", "a.jpg", "cat")
    (only,) = office.json("labels")
    assert (only["class"], only["now"]) == ("cat", str(office.desk.output / "cat" / "a.jpg"))


@pytest.mark.parametrize("given", [["a.jpg"], ["dog/a.jpg"], ["--id", "1"], ["sorted/dog/a.jpg"]])
def test_a_label_is_forgotten(full: Office, given: list[str]) -> None:
    before = tree(full.desk.output)
    assert full.run("labels", "forget", *given) == (0, "forgotten: dog/a.jpg: dog, reviewed\n1 forgotten, 0 not done\n")
    assert names(full) == ["d", "c", "b"]
    assert tree(full.desk.output) == before, "the image stays where it lies"


def test_the_last_labels_are_forgotten(full: Office) -> None:
    items = full.json("labels", "forget", "--last", "2")
    assert [item["outcome"] for item in items] == ["forgotten", "forgotten"]
    assert names(full) == ["b", "a"]


def test_a_label_that_is_not_there_is_not_forgotten(full: Office) -> None:
    file(full, "e.jpg")
    code, text = full.run("labels", "forget", "e.jpg", "z.jpg", "--id", "99", "--id", "2")
    assert code == 3
    assert text.splitlines() == [
        "not done: there is no label 99",
        "not done: 'e.jpg' has no label",
        "not done: 'z.jpg' has no label",
        "forgotten: dog/b.jpg: wolf, moved by hand",
        "1 forgotten, 3 not done",
    ]
    with pytest.raises(UserError, match="^say which labels to forget: FILE, --id N or --last N"):
        full.run("labels", "forget")
    with pytest.raises(UserError, match="^write forget first: python -m daemon labels forget"):
        full.run("labels", "--limit", "2", "forget")


def test_the_label_of_an_image_that_is_gone_is_forgotten_by_where_it_lay(full: Office) -> None:
    (full.desk.output / "dog" / "a.jpg").unlink()
    assert full.run("labels", "forget", "dog/a.jpg")[0] == 0
    assert names(full) == ["d", "c", "b"]


# --- export


def exported(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".imagesortd")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("how", [[], ["--copy"]])
def test_a_data_set_is_made_of_them(full: Office, tmp_path: Path, how: list[str]) -> None:
    folder = tmp_path / "labelled"
    before = tree(full.desk.output)
    code, text = full.run("labels", "export", str(folder), *how)
    assert code == 0
    linked, copied = (0, 4) if how else (4, 0)
    assert text.splitlines() == [
        f"{folder}: images: 4, classes: 2 ({linked} linked, {copied} copied, 0 there already)",
        "1 of them is of none of the classes: it lies in others, and fit leaves it out",
        "To learn from them, copy these folders into the data set that you fit on: a model has only the classes of its "
        f"data set. If there is no other: python -m trainer fit --data-dir {folder}",
    ]
    expected = {"dog/a.jpg": b"a.jpg", "dog/d.jpg": b"d.jpg", "others/c.jpg": b"c.jpg", "wolf/b.jpg": b"b.jpg"}
    assert exported(folder) == expected
    filed = full.desk.output / "dog" / "a.jpg"
    assert (folder / "dog" / "a.jpg").samefile(filed) == (not how)
    assert {path: state[3] for path, state in tree(full.desk.output).items()} == {
        path: state[3] for path, state in before.items()
    }
    assert "4 there already" in full.run("labels", "export", str(folder), *how)[1], "the same command goes on"
    assert exported(folder) == expected


def test_an_export_replaces_nothing(full: Office, tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    (folder / "dog").mkdir(parents=True)
    (folder / "dog" / "a.jpg").write_bytes(b"mine!")
    (folder / "dog" / "d.jpg").mkdir()
    assert full.run("labels", "export", str(folder), "--label", "dog")[0] == 0
    assert exported(folder) == {"dog/a.jpg": b"mine!", "dog/a_2.jpg": b"a.jpg", "dog/d_2.jpg": b"d.jpg"}
    assert "2 there already" in full.run("labels", "export", str(folder), "--label", "dog")[1]


def test_an_image_that_lies_elsewhere_by_now_is_found_and_others_are_said(full: Office, tmp_path: Path) -> None:
    dog = full.desk.output / "dog"
    (dog / "d.jpg").rename(dog / "renamed.jpg")
    (dog / "a.jpg").unlink()
    (dog / "b.jpg").write_bytes(b"b.xpg")
    (dog / "c.jpg").rename(full.desk.output / "cat" / "c.jpg")
    record = json.loads(full.run("labels", "export", str(tmp_path / "labelled"), "--json")[1])
    assert exported(tmp_path / "labelled") == {"dog/renamed.jpg": b"d.jpg"}
    assert [Path(path).name for path in record["gone"]] == ["b.jpg", "a.jpg"]
    assert [Path(path).name for path in record["failed"]] == ["c.jpg"], "moved since, and not to where it was labelled"
    assert (record["linked"], record["classes"]) == (1, {"dog": 1})
    code, text = full.run("labels", "export", str(tmp_path / "labelled"))
    assert code == 3
    assert "labelled images that were not found, or were edited since: 2\n" in text


def test_what_an_earlier_export_has_by_an_earlier_label_is_said(full: Office, tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    full.run("labels", "export", str(folder))
    full.run("relabel", "a.jpg", "wolf")
    text = full.run("labels", "export", str(folder))[1]
    assert f"{folder}/dog/a.jpg is from an earlier export, and the image has another label now: delete it\n" in text
    assert exported(folder)["wolf/a.jpg"] == b"a.jpg"


@pytest.mark.parametrize("where", ["{output}", "{output}/dog", "{output}/dog/new", "{inbox}", "{inbox}/new", "link/x"])
def test_nothing_is_exported_into_an_inbox_or_the_output(full: Office, tmp_path: Path, where: str) -> None:
    (tmp_path / "link").symlink_to(full.desk.output)
    before = tree(full.desk.output), tree(full.desk.inbox)
    folder = where.format(output=full.desk.output, inbox=full.desk.inbox)
    with pytest.raises(UserError, match="is, or lies in, an inbox, an output or a class folder"):
        full.run("labels", "export", folder)
    assert (tree(full.desk.output), tree(full.desk.inbox)) == before


def test_a_folder_that_cannot_be_written_is_one_sentence(full: Office, tmp_path: Path) -> None:
    (tmp_path / "labelled").mkdir()
    (tmp_path / "labelled" / "dog").write_bytes(b"no folder")
    with pytest.raises(
        UserError, match=r"labelled/dog cannot be written \(.*\): put that right or give another folder"
    ):
        full.run("labels", "export", str(tmp_path / "labelled"), "--label", "dog")


def test_a_class_that_is_called_like_the_output_is_not_exported_into_it(office: Office, tmp_path: Path) -> None:
    said(office, file(office, "a.jpg"), "sorted", How.REVIEWED, 0)
    before = tree(office.desk.output)
    with pytest.raises(UserError, match="is, or lies in, an inbox, an output or a class folder"):
        office.run("labels", "export", str(tmp_path))
    assert tree(office.desk.output) == before


def test_a_class_that_is_called_as_the_daemons_folders_usually_are_is_one(tmp_path: Path) -> None:
    """The trainer leaves out a folder of that name where another one has the daemon's marker."""
    folder = DataSetFolder(tmp_path / "labelled", "rest", [tmp_path / "sorted"], copy=True)
    with OpenFolders(Roots([tmp_path])) as folders, closing(folder):
        for name, label in (("a.jpg", "quarantine"), ("b.jpg", "dog"), ("c.jpg", None)):
            path = tmp_path / name
            path.write_bytes(name.encode())
            image = LabelledFile(
                entry=folders.entry(path),
                identity=Identity.from_stat(path.stat()),
                sha256=sha256(path.read_bytes()).hexdigest(),
                label=label,
            )
            assert folder.add(image) is Exported.COPIED
    found = scan(tmp_path / "labelled")
    assert found.classes == ("dog", "quarantine")
    assert found.not_classes == ("rest",)
