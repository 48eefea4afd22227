"""Images are tagged where they lie: their sidecars say it, and lose nothing of others."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.files import tag_files
from daemon.files.source import Identity
from daemon.filing.filer import Status
from daemon.journal.history import Wanted
from daemon.journal.records import State
from models.deciding.rule import Fate
from models.xmp import tags
from models.xmp.document import MOST_BYTES
from models.xmp.tags import Tag
from tests.filing_desk import Desk, make_desk, names
from tests.models.xmp.sidecars import DARKTABLE, LAUGHS, LIGHTROOM, own_tag


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
