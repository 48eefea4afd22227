"""Images come into the folders of their classes under their own names, or a dry run says under which."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.files.marker import MARKER
from daemon.filing.filer import Action, Filer, Status
from models.deciding.rule import Fate
from models.files.markers import read_kind
from tests.filing_desk import Desk, tree

HOSTILE_NAMES = {
    "newline": b"two\nlines.jpg",
    "no text": b"\xff\xfe\x80.jpg",
    "leading dash": b"-rf.jpg",
    "longest": b"x" * 251 + b".jpg",
    "longest Hangul in letters": unicodedata.normalize("NFD", "\ud55c\uae00").encode() * 13 + b"x" * 17 + b".jpg",
    "no extension": b"scan",
    "quotes": b"'\"`$(true)`.jpg",
    "percent": b"%s%n{0}.jpg",
}


def test_an_image_moves_into_the_folder_of_its_class(desk: Desk) -> None:
    path = desk.put()
    inode = path.stat().st_ino
    filed = desk.file_one(path, "cat")
    assert filed.status is Status.FILED
    assert filed.destination == desk.output / "cat" / "cat.jpg"
    assert filed.destination.stat().st_ino == inode
    assert not path.exists()
    assert (desk.output / "cat" / MARKER).exists()


def test_the_marker_says_what_the_folder_is_for_also_where_an_older_one_did_not(desk: Desk) -> None:
    (desk.output / "cat").mkdir(parents=True)
    (desk.output / "cat" / MARKER).touch()
    desk.file_one(desk.put("a.jpg"), "cat")
    unsure = replace(desk.decide(desk.put("b.jpg", b"b"), "미정"), label="cat", fate=Fate.UNSURE)
    unreadable = replace(desk.decide(desk.put("c.jpg", b"c"), "broken/truncated", reason="truncated"), label=None)
    desk.file([unsure, unreadable])
    kinds = {folder: read_kind(desk.output / folder) for folder in ("cat", "미정", "broken")}
    assert kinds == {"cat": "class", "미정": "others", "broken": "quarantine"}


def test_a_batch_is_filed_whole_and_in_order(desk: Desk) -> None:
    paths = [desk.put(f"{number}.jpg", b"%d" % number) for number in range(100)]
    outcomes = desk.file([desk.decide(path, "abc"[index % 3]) for index, path in enumerate(paths)])
    assert [outcome.request.source.path for outcome in outcomes] == paths
    assert {outcome.status for outcome in outcomes} == {Status.FILED}
    assert desk.filed() == {f"{'abc'[n % 3]}/{n}.jpg": b"%d" % n for n in range(100)}


def test_equal_names_get_numbers_and_nothing_is_overwritten(desk: Desk) -> None:
    contents = [b"%d" % number for number in range(20)]
    for number in range(10):
        desk.file_one(desk.put("cat.jpg", contents[number]))
    folders = [desk.inbox / str(number) for number in range(10, 20)]
    for folder in folders:
        folder.mkdir()
        (folder / "cat.jpg").write_bytes(folder.name.encode())
    desk.file([desk.decide(folder / "cat.jpg") for folder in folders])
    assert desk.contents() == Counter(contents)
    assert set(desk.filed()) == {"cat/cat.jpg", *(f"cat/cat_{number}.jpg" for number in range(2, 21))}


def test_equal_contents_are_both_kept(desk: Desk) -> None:
    for name in ("one.jpg", "one.jpg", "two.jpg"):
        desk.file_one(desk.put(name, b"the same"))
    assert desk.filed() == {"cat/one.jpg": b"the same", "cat/one_2.jpg": b"the same", "cat/two.jpg": b"the same"}


@pytest.mark.parametrize("raw", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_hostile_names_are_filed_unchanged(desk: Desk, raw: bytes, action: Action) -> None:
    name = os.fsdecode(raw)
    filed = desk.file_one(desk.put(name, b"first"), action=action)
    assert filed.destination == desk.output / "cat" / name
    (desk.inbox / name).unlink(missing_ok=True)
    again = desk.file_one(desk.put(name, b"second"), action=action)
    assert again.destination is not None
    assert again.destination.read_bytes() == b"second"
    assert filed.destination.read_bytes() == b"first"
    assert again.destination.suffix == filed.destination.suffix


@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_dry_run_says_where_and_touches_nothing(desk: Desk, tmp_path: Path, action: Action, exists: bool) -> None:
    if exists:
        desk.file_one(desk.put(content=b"filed before"))
    for folder in ("a", "b"):
        (desk.inbox / folder).mkdir()
    requests = [desk.decide(desk.put(f"{folder}/cat.jpg")) for folder in ("a", "b")]
    requests.append(desk.decide(desk.put("torn.jpg"), "quarantine/truncated", reason="truncated"))
    before = tree(tmp_path)
    filer = Filer(desk.output, action=action, dry_run=True)
    outcomes = [filer.file([request])[0] for request in requests]
    assert tree(tmp_path) == before
    names = ("cat_2.jpg", "cat_3.jpg") if exists else ("cat.jpg", "cat_2.jpg")
    assert [outcome.destination for outcome in outcomes[:2]] == [desk.output / "cat" / name for name in names]
    assert [outcome.status for outcome in outcomes[:2]] == [Status.PLANNED, Status.PLANNED]
    assert outcomes[2].status is (Status.PLANNED if action == "move" else Status.REFUSED)


def test_a_dry_run_remembers_a_limited_number_of_names(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.filing.filer.MOST_PLANNED", 3)
    filer = Filer(desk.output, dry_run=True)
    names = []
    for number in range(10):
        (desk.inbox / str(number)).mkdir()
        (filed,) = filer.file([desk.decide(desk.put(f"{number}/cat.jpg"))])
        assert filed.destination is not None
        names.append(filed.destination.name)
    assert names == [*["cat.jpg", "cat_2.jpg", "cat_3.jpg"] * 3, "cat.jpg"]  # it starts over after three


def test_a_batch_of_none_is_no_work(desk: Desk) -> None:
    assert desk.file([]) == []
