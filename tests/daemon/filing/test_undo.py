from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from daemon.files import renaming
from daemon.files.renaming import FileAt
from daemon.filing.filer import Action, Status
from daemon.filing.undo import Undone, undo
from daemon.journal.history import Wanted
from daemon.journal.journal import Journal, read_history
from daemon.journal.records import Filing, State
from tests.filing_desk import Desk, images, tree


def undo_all(desk: Desk, *, label: str | None = None) -> list[Undone]:
    journal = desk.journal()
    try:
        return list(undo(journal, list(read_history(desk.journal_path, Wanted(label=label)))))
    finally:
        journal.close()


def test_images_go_back_newest_first_and_replace_nothing(desk: Desk) -> None:
    for content in (b"first", b"second", b"third"):
        desk.file_one(desk.put("cat.jpg", content))
    desk.put("cat.jpg", b"new")
    undone = undo_all(desk)
    assert [each.status for each in undone] == [Status.UNDONE] * 3
    assert {path.name: path.read_bytes() for path in images(desk.inbox)} == {
        "cat.jpg": b"new", "cat_2.jpg": b"third", "cat_3.jpg": b"second", "cat_4.jpg": b"first",
    }  # fmt: skip
    assert [each.destination for each in undone] == [desk.inbox / f"cat_{number}.jpg" for number in (2, 3, 4)]
    assert desk.filed() == {}


def test_many_go_back_by_few_flushes(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [near.put(f"{number:03}.jpg", b"image %d" % number) for number in range(150)]
    near.file([near.decide(path) for path in paths])
    filed = near.contents()
    write, flushes = Journal.write, list[int]()

    def counting(journal: Journal, filings: Sequence[Filing], **more: Any) -> None:
        flushes.append(len(filings))
        write(journal, filings, **more)

    monkeypatch.setattr(Journal, "write", counting)
    undone = undo_all(near)
    assert [each.destination for each in undone] == paths[::-1]
    assert Counter(path.read_bytes() for path in paths) == filed
    assert [rows for rows in flushes if rows] == [64, 64, 22]
    assert {row.state for row in read_history(near.journal_path)} == {State.UNDONE}


def test_an_image_filed_again_from_its_class_folder_goes_all_the_way_back(desk: Desk) -> None:
    paths = [desk.put(name, name.encode()) for name in ("cat.jpg", "dog.jpg")]
    desk.file([desk.decide(path, "cat") for path in paths])
    desk.file([desk.decide(desk.output / "cat" / path.name, "dog") for path in paths])
    assert [each.status for each in undo_all(desk)] == [Status.UNDONE] * 4
    assert {path: path.read_bytes() for path in images(desk.inbox)} == {path: path.name.encode() for path in paths}
    assert desk.filed() == {}


def test_one_that_stays_keeps_no_other_from_going_back(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    near.file([near.decide(near.put(name)) for name in ("cat.jpg", "full.jpg", "dog.jpg")])
    rename = renaming.rename_noreplace

    def full_for_one(old: FileAt, new: FileAt) -> None:
        if old.name == "full.jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(old, new)

    monkeypatch.setattr(renaming, "rename_noreplace", full_for_one)
    statuses = {each.filing.source.name: each.status for each in undo_all(near)}
    assert statuses == {"dog.jpg": Status.UNDONE, "full.jpg": Status.RETRY, "cat.jpg": Status.UNDONE}
    assert list(near.filed()) == ["cat/full.jpg"]
    states = {row.source.name: row.state for row in read_history(near.journal_path)}
    assert states == {"dog.jpg": State.UNDONE, "full.jpg": State.DONE, "cat.jpg": State.UNDONE}


def test_a_part_can_be_undone_and_once_only(desk: Desk) -> None:
    desk.file_one(desk.put("cat.jpg", b"cat"), "cat")
    desk.file_one(desk.put("dog.jpg", b"dog"), "dog")
    (undone,) = undo_all(desk, label="dog")
    assert undone.destination == desk.inbox / "dog.jpg"
    assert desk.filed() == {"cat/cat.jpg": b"cat"}
    assert (desk.inbox / "dog.jpg").read_bytes() == b"dog"
    assert [row.state for row in read_history(desk.journal_path)] == [State.UNDONE, State.DONE]
    (again,) = undo_all(desk, label="dog")
    assert again.status is Status.ALREADY
    assert desk.contents() == Counter([b"cat", b"dog"])


def test_an_edited_image_goes_back_and_a_stranger_stays(desk: Desk) -> None:
    for name in ("edited.jpg", "replaced.jpg", "taken.jpg"):
        desk.file_one(desk.put(name, name.encode()))
    (desk.output / "cat/edited.jpg").write_bytes(b"rotated")
    (desk.output / "cat/new").write_bytes(b"a stranger")
    (desk.output / "cat/new").rename(desk.output / "cat/replaced.jpg")
    (desk.output / "cat/taken.jpg").unlink()
    statuses = {each.filing.source.name: each.status for each in undo_all(desk)}
    assert statuses == {"edited.jpg": Status.UNDONE, "replaced.jpg": Status.CHANGED, "taken.jpg": Status.GONE}
    assert (desk.inbox / "edited.jpg").read_bytes() == b"rotated"
    assert desk.filed() == {"cat/replaced.jpg": b"a stranger"}


@pytest.mark.parametrize("action", ["copy", "link"])
def test_of_a_copy_the_copy_goes_while_the_original_is_there(desk: Desk, action: Action) -> None:
    kept, alone = desk.put("kept.jpg", b"kept"), desk.put("alone.jpg", b"alone")
    desk.file([desk.decide(kept), desk.decide(alone)], action=action)
    alone.unlink()
    statuses = {each.filing.source.name: each.status for each in undo_all(desk)}
    assert statuses == {"kept.jpg": Status.UNDONE, "alone.jpg": Status.CHANGED}
    assert desk.filed() == {"cat/alone.jpg": b"alone"}, "the last there is"
    assert kept.read_bytes() == b"kept"
    assert desk.file_one(kept, action=action).status is Status.FILED, "it can be filed again"


def test_quarantined_images_go_back_without_their_note(near: Desk) -> None:
    near.file_one(near.put("torn.jpg", b"half"), "quarantine/truncated", reason="truncated", label=None)
    (near.output / "quarantine/truncated/torn.jpg_2.json").write_text("{}")
    undo_all(near)
    assert near.contents() == Counter([b"half"])
    assert [path.name for path in (near.output / "quarantine/truncated").iterdir()] == ["torn.jpg_2.json"]


def test_a_refused_image_is_tried_again(near: Desk) -> None:
    path = near.put("torn.jpg", b"half")
    bad = near.decide(path, "quarantine/truncated", reason="truncated", label=None)
    assert near.file([bad], action="copy")[0].status is Status.REFUSED
    undo_all(near)
    assert near.file([bad], action="copy")[0].status is Status.REFUSED


def test_a_folder_of_the_inbox_that_is_gone_is_made_again(near: Desk) -> None:
    (near.inbox / "camera").mkdir()
    near.file_one(near.put("camera/cat.jpg"))
    (near.inbox / "camera").rmdir()
    undo_all(near)
    assert (near.inbox / "camera" / "cat.jpg").read_bytes() == b"an image"


def test_what_cannot_be_undone_now_stays_as_it_is(near: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    near.file_one(near.put())
    before = tree(near.output)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(renaming, "rename_noreplace", full)
    (undone,) = undo_all(near)
    assert undone.status is Status.RETRY
    assert undone.error is not None
    assert "No space left" in undone.error
    assert tree(near.output) == before
    assert near.journal().interrupted() == []
