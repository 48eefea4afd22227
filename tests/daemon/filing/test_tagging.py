"""Images are tagged where they lie, or beside being moved: their sidecars say it, and lose nothing of others."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.files import renaming, tag_files
from daemon.files.renaming import FileAt
from daemon.files.source import Identity
from daemon.filing.filer import Action, Status
from daemon.filing.held import HeldImages
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.recovery import recover
from daemon.filing.undo import Undone, undo
from daemon.journal.history import Wanted
from daemon.journal.labels import How
from daemon.journal.records import State
from models.deciding.rule import Fate
from models.xmp import tags
from models.xmp.document import MOST_BYTES
from models.xmp.tags import EMPTY, Tag, merge
from tests.filing_desk import Desk, make_desk
from tests.models.xmp.sidecars import DARKTABLE, LIGHTROOM

LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha">]><x>&a;</x>'


def own_tag(sidecar: Path) -> Tag | None:
    return tags.read(sidecar.read_bytes()).own


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_tagged_image_stays_and_its_sidecar_says_its_class(desk: Desk) -> None:
    path = desk.put("cat.jpg")
    filed = desk.file_one(path, "cat", action="tag", confidence=0.75, model_digest="ab" * 32)
    assert (filed.status, filed.destination) == (Status.FILED, path)
    assert own_tag(desk.inbox / "cat.jpg.xmp") == Tag("cat", 0.75, "ab" * 32)
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}
    assert not desk.output.exists() or "cat" not in names(desk.output)


def test_tagged_image_is_not_tagged_again_also_after_a_restart(desk: Desk) -> None:
    path = desk.put()
    desk.file_one(path, action="tag")
    sidecar = desk.inbox / "cat.jpg.xmp"
    before = Identity.from_stat(sidecar.stat())
    assert desk.file_one(path, action="tag").status is Status.ALREADY
    assert Identity.from_stat(sidecar.stat()) == before
    path.write_bytes(b"another image")
    assert desk.file_one(path, "dog", action="tag").status is Status.FILED
    assert tags.read(sidecar.read_bytes()).names == ("dog",)


@pytest.mark.parametrize("fate", [Fate.UNSURE, Fate.UNKNOWN])
def test_unsure_image_gets_no_tag_and_is_remembered(desk: Desk, fate: Fate) -> None:
    path = desk.put()
    assert desk.file_one(path, "others", label="cat", fate=fate, action="tag").status is Status.FILED
    assert names(desk.inbox) == {"cat.jpg"}
    assert desk.file_one(path, action="tag").status is Status.ALREADY
    path.write_bytes(b"more")
    desk.file_one(path, "cat", action="tag")
    path.write_bytes(b"and more")
    desk.file_one(path, "others", fate=fate, action="tag")
    assert names(desk.inbox) == {"cat.jpg"}, "what is no longer sure loses its tag"


def test_existing_sidecar_is_merged_and_keeps_its_mode(desk: Desk) -> None:
    path = desk.put()
    sidecar = desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(DARKTABLE)
    sidecar.chmod(0o640)
    desk.file_one(path, "cat", action="tag")
    assert tags.read(sidecar.read_bytes()).names == ("holiday", "sea", "cat")
    assert tags.remove(sidecar.read_bytes()) == DARKTABLE
    assert stat.S_IMODE(sidecar.stat().st_mode) == 0o640
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}


def test_sidecar_in_the_custom_of_lightroom_is_merged_where_it_is_of_the_image(desk: Desk) -> None:
    path, sidecar = desk.put("fox.NEF.jpg"), desk.inbox / "fox.NEF.xmp"
    sidecar.write_bytes(DARKTABLE)
    desk.file_one(path, "fox", action="tag")
    assert own_tag(sidecar) == Tag("fox")
    assert names(desk.inbox) == {"fox.NEF.jpg", "fox.NEF.xmp"}


@pytest.mark.parametrize("other", ["fox.NEF", "fox.png", None])
def test_sidecar_of_raw_data_or_another_image_is_left_alone(desk: Desk, other: str | None) -> None:
    path, sidecar = desk.put("fox.jpg"), desk.inbox / "fox.xmp"
    sidecar.write_bytes(DARKTABLE if other else LIGHTROOM)  # the latter says that it is for a NEF
    before = sidecar.read_bytes()
    if other:
        (desk.inbox / other).write_bytes(b"other")
    desk.file_one(path, "fox", action="tag")
    assert sidecar.read_bytes() == before
    assert own_tag(desk.inbox / "fox.jpg.xmp") == Tag("fox")


def make_link(sidecar: Path) -> None:
    sidecar.symlink_to(sidecar.with_name("target"))
    sidecar.with_name("target").write_bytes(DARKTABLE)


def make_large(sidecar: Path) -> None:
    with sidecar.open("wb") as file:
        file.truncate(1 << 30)


def make_read_only(sidecar: Path) -> None:
    sidecar.write_bytes(DARKTABLE)
    sidecar.chmod(0o444)


HOSTILE = {
    "laughs": lambda sidecar: sidecar.write_bytes(LAUGHS),
    "no-xml": lambda sidecar: sidecar.write_bytes(b"{}"),
    "empty": lambda sidecar: sidecar.write_bytes(b""),
    "euc-kr": lambda sidecar: sidecar.write_bytes(DARKTABLE.replace(b"sea", "바다".encode("euc-kr"))),
    "large": make_large,
    "read-only": make_read_only,
    "link": make_link,
    "dangling": lambda sidecar: sidecar.symlink_to("nowhere"),
    "folder": lambda sidecar: sidecar.mkdir(),
    "pipe": lambda sidecar: os.mkfifo(sidecar),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_sidecar_that_cannot_be_changed_costs_the_tag_and_nothing_else(
    desk: Desk, make: Callable[[Path], object]
) -> None:
    assert MOST_BYTES < 1 << 30
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    make(sidecar)
    before, there = Identity.from_stat(sidecar.lstat()), names(desk.inbox)
    filed = desk.file_one(path, action="tag")
    assert filed.status is Status.REFUSED
    assert filed.error is not None
    assert "cat.jpg" in filed.error
    assert Identity.from_stat(sidecar.lstat()) == before
    assert names(desk.inbox) == there
    assert path.read_bytes() == b"an image"
    assert desk.file_one(path, action="tag").status is Status.ALREADY, "it is told once"
    (row,) = desk.journal().history(Wanted(states=[State.REFUSED]))
    assert row.reason == "sidecar"
    assert row.detail == filed.error


def test_unreadable_image_is_refused_as_with_copies(desk: Desk) -> None:
    path = desk.put()
    assert desk.file_one(path, "quarantine/corrupt", action="tag", reason="corrupt").status is Status.REFUSED
    assert names(desk.inbox) == {"cat.jpg"}


def test_image_whose_name_leaves_no_room_gets_the_short_sidecar(desk: Desk) -> None:
    path = desk.put("고" * 83 + "ab.jpg")
    assert len(os.fsencode(path.name)) == 255
    assert desk.file_one(path, action="tag").status is Status.FILED
    assert own_tag(path.with_suffix(".xmp")) == Tag("cat")


def test_name_that_is_no_text_is_tagged(desk: Desk) -> None:
    path = desk.put(os.fsdecode(b"caf\xe9 <&>.jpg"))
    assert desk.file_one(path, action="tag").status is Status.FILED
    assert own_tag(Path(f"{path}.xmp")) == Tag("cat")


def test_dry_run_writes_nothing(desk: Desk) -> None:
    path = desk.put()
    filed = desk.file_one(path, action="move")
    assert filed.destination is not None
    path = desk.put("dog.jpg")
    (planned,) = desk.file([desk.decide(path, "dog")], action="tag", dry_run=True)
    assert (planned.status, planned.destination) == (Status.PLANNED, path)
    assert names(desk.inbox) == {"dog.jpg"}


def test_sidecar_that_another_program_changes_meanwhile_keeps_that_change(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(DARKTABLE)
    place = tag_files.place
    newer = [DARKTABLE.replace(b"sea", b"sand"), DARKTABLE.replace(b"sea", b"sun")]

    def changed_before(change: tag_files.TagChange) -> None:
        if newer:
            anew = sidecar.with_name("anew")
            anew.write_bytes(newer.pop(0))
            anew.rename(sidecar)
        place(change)

    monkeypatch.setattr(tag_files, "place", changed_before)
    assert desk.file_one(path, action="tag").status is Status.FILED
    assert tags.read(sidecar.read_bytes()).names == ("holiday", "sun", "cat")
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}


def test_sidecar_that_appears_meanwhile_is_merged(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    place = tag_files.place

    def there_before(change: tag_files.TagChange) -> None:
        if not sidecar.exists():
            sidecar.write_bytes(DARKTABLE)
        place(change)

    monkeypatch.setattr(tag_files, "place", there_before)
    assert desk.file_one(path, action="tag").status is Status.FILED
    assert tags.read(sidecar.read_bytes()).names == ("holiday", "sea", "cat")


def test_folder_that_cannot_be_written_leaves_the_image_to_be_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = desk.put()
    with monkeypatch.context() as full:
        full.setattr(tag_files, "write_all", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        failed = desk.file_one(path, action="tag")
    assert failed.status is Status.RETRY
    assert "No space left on device" in str(failed.error)
    assert names(desk.inbox) == {"cat.jpg"}
    assert desk.file_one(path, action="tag").status is Status.FILED


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_filed_image_is_tagged_beside_too(desk: Desk, action: Action) -> None:
    path = desk.put()
    (filed,) = desk.file([desk.decide(path, "cat", confidence=0.5, model_digest="m")], action=action, tags_too=True)
    assert filed.status is Status.FILED
    assert own_tag(desk.output / "cat" / "cat.jpg.xmp") == Tag("cat", 0.5, "m")
    assert "cat.jpg.xmp" not in names(desk.inbox)
    assert [row.action for row in desk.journal().history(Wanted(states=tuple(State)))] == [action]


def test_sidecar_travels_first_and_is_merged_then(desk: Desk) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.xmp"
    sidecar.write_bytes(DARKTABLE)
    os.utime(sidecar, (1, 1))
    desk.file([desk.decide(path, "cat")], tags_too=True)
    assert names(desk.output / "cat") >= {"cat.jpg", "cat.xmp"}
    assert "cat.jpg.xmp" not in names(desk.output / "cat")
    assert tags.read((desk.output / "cat" / "cat.xmp").read_bytes()).names == ("holiday", "sea", "cat")


def test_unsure_image_is_not_tagged_beside(desk: Desk) -> None:
    desk.file([desk.decide(desk.put(), "others", fate=Fate.UNSURE)], tags_too=True)
    assert "cat.jpg.xmp" not in names(desk.output / "others")


def undone(desk: Desk, *, held: bool = False) -> list[Undone]:
    """Undo all that the journal has as done, newest first."""
    journal = desk.journal()
    try:
        images = HeldImages(journal, desk.output, [desk.inbox]) if held else None
        rows = [row for row in journal.history(Wanted(states=[State.DONE])) if row.image_id is None]
        return list(undo(journal, rows, held=images))
    finally:
        journal.close()


def test_undo_takes_only_our_tag_out(desk: Desk) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(DARKTABLE)
    desk.file_one(path, action="tag")
    (result,) = undone(desk, held=True)
    assert (result.status, result.held) == (Status.UNDONE, True)
    assert sidecar.read_bytes() == DARKTABLE
    assert path.exists()


def test_undo_removes_a_sidecar_that_we_made_and_nobody_has_changed(desk: Desk) -> None:
    path, other = desk.put(), desk.put("other.jpg", b"other")
    desk.file([desk.decide(path), desk.decide(other)], action="tag")
    sidecar = desk.inbox / "other.jpg.xmp"
    sidecar.write_bytes(
        sidecar.read_bytes().replace(b"<rdf:li>cat</rdf:li>", b"<rdf:li>cat</rdf:li><rdf:li>a</rdf:li>")
    )
    assert [result.status for result in undone(desk)] == [Status.UNDONE] * 2
    assert names(desk.inbox) == {"cat.jpg", "other.jpg", "other.jpg.xmp"}
    assert tags.read(sidecar.read_bytes()) == tags.Tags(("a",))


def test_undo_of_an_unsure_image_holds_it(desk: Desk) -> None:
    desk.file_one(desk.put(), "others", fate=Fate.UNSURE, action="tag")
    (result,) = undone(desk, held=True)
    assert (result.status, result.held) == (Status.UNDONE, True)


def test_undo_of_another_class_gives_the_class_before_back(desk: Desk) -> None:
    path = desk.put()
    desk.file_one(path, "cat", action="tag")
    desk.file([desk.decide(path, "dog", action="tag", again=True, how=How.RELABELLED)])
    assert own_tag(desk.inbox / "cat.jpg.xmp") == Tag("dog")
    journal = desk.journal()
    newest = journal.history(Wanted(states=[State.DONE]), 1)
    (result,) = undo(journal, newest, held=HeldImages(journal, desk.output, [desk.inbox]))
    assert (result.status, result.held) == (Status.UNDONE, False)
    assert own_tag(desk.inbox / "cat.jpg.xmp") == Tag("cat")


def test_undo_without_the_image_does_nothing(desk: Desk) -> None:
    path = desk.put()
    desk.file_one(path, action="tag")
    path.unlink()
    assert [result.status for result in undone(desk)] == [Status.GONE]
    assert own_tag(desk.inbox / "cat.jpg.xmp") == Tag("cat")


def test_undo_says_when_the_sidecar_cannot_be_changed(desk: Desk) -> None:
    desk.file_one(desk.put(), action="tag")
    (desk.inbox / "cat.jpg.xmp").write_bytes(LAUGHS)
    (result,) = undone(desk)
    assert result.status is Status.RETRY
    assert "cat.jpg" in str(result.error)


@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("before", [None, DARKTABLE], ids=["new", "merged"])
def test_undo_takes_the_tag_beside_filed_images_out(desk: Desk, action: Action, before: bytes | None) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    if before is not None:
        sidecar.write_bytes(before)
        os.utime(sidecar, (1, 1))
    desk.file([desk.decide(path)], action=action, tags_too=True)
    assert own_tag(desk.output / "cat" / "cat.jpg.xmp") == Tag("cat")
    assert [result.status for result in undone(desk)] == [Status.UNDONE]
    assert names(desk.output / "cat") == {".imagesortd"}
    assert names(desk.inbox) == {"cat.jpg"} if before is None else {"cat.jpg", "cat.jpg.xmp"}
    if before is not None:
        assert sidecar.read_bytes() == before


def test_what_a_person_added_beside_comes_back_with_the_image(desk: Desk) -> None:
    desk.file([desk.decide(desk.put())], tags_too=True)
    sidecar = desk.output / "cat" / "cat.jpg.xmp"
    sidecar.write_bytes(
        sidecar.read_bytes().replace(b"<rdf:li>cat</rdf:li>", b"<rdf:li>cat</rdf:li><rdf:li>a</rdf:li>")
    )
    undone(desk)
    assert tags.read((desk.inbox / "cat.jpg.xmp").read_bytes()) == tags.Tags(("a",))
    assert not sidecar.exists()


@pytest.mark.parametrize("name", ["cat.jpg.xmp", "cat.xmp"])
def test_late_sidecar_joins_a_filed_image_and_gets_its_tag(desk: Desk, name: str) -> None:
    desk.file([desk.decide(desk.put(), "cat", confidence=0.5, model_digest="m")], tags_too=True)
    (desk.inbox / name).write_bytes(DARKTABLE)
    os.utime(desk.inbox / name, (1, 1))
    journal = desk.journal()
    LateSidecars([desk.inbox], desk.output, journal, recursive=True).work(60.0)
    assert journal.interrupted() == []
    journal.close()
    assert names(desk.inbox) == set()
    assert names(desk.output / "cat") == {".imagesortd", "cat.jpg", name}
    merged = desk.output / "cat" / name
    assert own_tag(merged) == Tag("cat", 0.5, "m")
    assert tags.remove(merged.read_bytes()) == DARKTABLE
    assert [result.status for result in undone(desk)] == [Status.UNDONE]
    assert (desk.inbox / name).read_bytes() == DARKTABLE


def test_late_sidecar_of_a_tagged_image_stays_with_it(desk: Desk) -> None:
    desk.file_one(desk.put(), action="tag")
    late = desk.inbox / "cat.xmp"
    late.write_bytes(DARKTABLE)
    os.utime(late, (1, 1))
    journal = desk.journal()
    LateSidecars([desk.inbox], desk.output, journal, recursive=True).work(60.0)
    journal.close()
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp", "cat.xmp"}
    assert late.read_bytes() == DARKTABLE


@pytest.mark.parametrize("state", ["before", "part", "placed"])
def test_tagging_that_was_interrupted_is_finished_at_the_next_start(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(DARKTABLE)
    step = {"before": "write", "part": "place", "placed": "finish"}[state]

    def killed(change: tag_files.TagChange) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tag_files, step, killed)
        if step != "finish":
            patched.setattr(tag_files, "finish", lambda change: None)
        with pytest.raises(KeyboardInterrupt):
            desk.file_one(path, action="tag")
    journal = desk.journal()
    assert recover(journal) == {State.DONE: 1}
    assert [row.label for row in journal.history(Wanted(states=[State.DONE]))] == ["cat"]
    journal.close()
    assert own_tag(sidecar) == Tag("cat")
    assert tags.remove(sidecar.read_bytes()) == DARKTABLE
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}
    assert desk.file_one(path, action="tag").status is Status.ALREADY


@pytest.mark.parametrize("there", [None, DARKTABLE, merge(DARKTABLE, Tag("wolf", 0.5, "m"))])
@pytest.mark.parametrize("content", [b"", b"<?xml ve", None])
def test_sidecar_that_was_half_written_is_made_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, content: bytes | None, there: bytes | None
) -> None:
    path = desk.put()
    if there is not None:
        (desk.inbox / "cat.jpg.xmp").write_bytes(there)

    def killed(descriptor: int, whole: bytes) -> None:
        os.write(descriptor, whole if content is None else content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tag_files, "write_all", killed)
        patched.setattr(tag_files, "finish", lambda change: None)
        with pytest.raises(KeyboardInterrupt):
            desk.file_one(path, action="tag")
    journal = desk.journal()
    recover(journal)
    journal.close()
    assert own_tag(desk.inbox / "cat.jpg.xmp") == Tag("cat")
    assert tags.remove((desk.inbox / "cat.jpg.xmp").read_bytes()) == (EMPTY if there is None else DARKTABLE)
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}


@pytest.mark.parametrize("newer", [DARKTABLE.replace(b"sea", b"sun"), b"no XMP"])
def test_newer_sidecar_of_another_program_comes_back_after_a_kill(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, newer: bytes
) -> None:
    """It had been exchanged for ours, and was not yet looked at."""
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(merge(DARKTABLE, Tag("wolf")))
    exchange = renaming.exchange

    def killed(one: FileAt, other: FileAt) -> None:
        sidecar.write_bytes(newer)
        exchange(one, other)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(renaming, "exchange", killed)
        patched.setattr(tag_files, "finish", lambda change: None)
        with pytest.raises(KeyboardInterrupt):
            desk.file_one(path, action="tag")
    journal = desk.journal()
    recover(journal)
    journal.close()
    assert newer in (sidecar.read_bytes(), tags.remove(sidecar.read_bytes()) if b"sun" in newer else b"")
    assert names(desk.inbox) == {"cat.jpg", "cat.jpg.xmp"}


@settings(max_examples=25, deadline=None)
@given(
    stem=st.binary(min_size=1, max_size=250).filter(lambda stem: not {0, ord("/")} & {*stem} and stem[:1] != b"."),
    label=st.text(min_size=1, max_size=60).filter(lambda label: "/" not in label),
)
def test_no_name_leaves_the_folder(stem: bytes, label: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        desk = make_desk(Path(folder))
        path = desk.put(os.fsdecode(stem + b".jpg"))
        filed = desk.file_one(path, label, action="tag")
        made = names(desk.inbox) - {path.name}
        assert filed.status is Status.FILED
        assert len(made) == 1
        assert made <= {f"{path.name}.xmp", f"{os.fsdecode(stem)}.xmp"}
        assert path.read_bytes() == b"an image"
        assert own_tag(desk.inbox / made.pop()) is not None
        assert names(Path(folder)) <= {"inbox", "sorted", "state"}
