"""An undo takes our tag out of a sidecar, and nothing of others."""

from __future__ import annotations

from daemon.filing.filer import Status
from daemon.filing.held import HeldImages
from daemon.filing.undo import undo
from daemon.journal.history import Wanted
from daemon.journal.labels import How
from daemon.journal.records import State
from models.deciding.rule import Fate
from models.xmp import tags
from models.xmp.tags import Tag
from tests.filing_desk import Desk, names, undo_all
from tests.models.xmp.sidecars import DARKTABLE, LAUGHS, own_tag


def test_undo_takes_only_our_tag_out(desk: Desk) -> None:
    path, sidecar = desk.put(), desk.inbox / "cat.jpg.xmp"
    sidecar.write_bytes(DARKTABLE)
    desk.file_one(path, action="tag")
    (result,) = undo_all(desk, held=True)
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
    assert [result.status for result in undo_all(desk)] == [Status.UNDONE] * 2
    assert names(desk.inbox) == {"cat.jpg", "other.jpg", "other.jpg.xmp"}
    assert tags.read(sidecar.read_bytes()) == tags.Tags(("a",))


def test_undo_of_an_unsure_image_holds_it(desk: Desk) -> None:
    desk.file_one(desk.put(), "others", fate=Fate.UNSURE, action="tag")
    (result,) = undo_all(desk, held=True)
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
    assert [result.status for result in undo_all(desk)] == [Status.GONE]
    assert own_tag(desk.inbox / "cat.jpg.xmp") == Tag("cat")


def test_undo_says_when_the_sidecar_cannot_be_changed(desk: Desk) -> None:
    desk.file_one(desk.put(), action="tag")
    (desk.inbox / "cat.jpg.xmp").write_bytes(LAUGHS)
    (result,) = undo_all(desk)
    assert result.status is Status.RETRY
    assert "cat.jpg" in str(result.error)
