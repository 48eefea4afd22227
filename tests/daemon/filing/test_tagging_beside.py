"""Filed images are tagged, too: beside them, by a sidecar that goes and comes back with them."""

from __future__ import annotations

import os

import pytest

from daemon.filing.filer import Action, Status
from daemon.filing.late_sidecars import LateSidecars
from daemon.journal.history import Wanted
from daemon.journal.records import State
from models.deciding.rule import Fate
from models.xmp import tags
from models.xmp.tags import Tag
from tests.filing_desk import Desk, names, undo_all
from tests.models.xmp.sidecars import DARKTABLE, own_tag


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


@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("before", [None, DARKTABLE], ids=["new", "merged"])
def test_undo_takes_the_tag_beside_filed_images_out(desk: Desk, action: Action, before: bytes | None) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    if before is not None:
        sidecar.write_bytes(before)
        os.utime(sidecar, (1, 1))
    desk.file([desk.decide(path)], action=action, tags_too=True)
    assert own_tag(desk.output / "cat" / "cat.jpg.xmp") == Tag("cat")
    assert [result.status for result in undo_all(desk)] == [Status.UNDONE]
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
    undo_all(desk)
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
    assert [result.status for result in undo_all(desk)] == [Status.UNDONE]
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
