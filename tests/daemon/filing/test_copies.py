"""Copies and links are made once, as far as a journal, this program or the output itself can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.filing import Action, Filer, Status
from tests.filing_desk import Desk


@pytest.mark.parametrize("action", ["copy", "link"])
def test_copies_and_links_are_made_once(desk: Desk, action: Action) -> None:
    path = desk.put(content=b"first")
    assert desk.file_one(path, action=action).status is Status.FILED
    assert desk.file_one(path, action=action).status is Status.ALREADY
    path.rename(desk.inbox / "renamed.jpg")
    assert desk.file_one(desk.inbox / "renamed.jpg", action=action).status is Status.ALREADY
    assert desk.file_one(desk.put(content=b"second state"), action=action).status is Status.FILED
    assert desk.filed() == {"cat/cat.jpg": b"first", "cat/cat_2.jpg": b"second state"}
    assert (desk.inbox / "renamed.jpg").read_bytes() == b"first"


def test_a_copy_is_another_file_and_a_link_is_the_same(desk: Desk) -> None:
    path = desk.put()
    copied = desk.file_one(path, "copies", action="copy")
    linked = desk.file_one(desk.put("other.jpg"), "links", action="link")
    assert copied.destination is not None
    assert linked.destination is not None
    assert not copied.destination.samefile(path)
    assert copied.destination.read_bytes() == path.read_bytes()
    assert linked.destination.samefile(desk.inbox / "other.jpg")


def test_one_file_under_two_names_is_copied_once_and_moved_twice(desk: Desk) -> None:
    path = desk.put()
    other = desk.inbox / "other.jpg"
    other.hardlink_to(path)
    outcomes = desk.file([desk.decide(path), desk.decide(other)], action="copy")
    assert [outcome.status for outcome in outcomes] == [Status.FILED, Status.ALREADY]
    outcomes = desk.file([desk.decide(path, "dog"), desk.decide(other, "dog")])
    assert [outcome.status for outcome in outcomes] == [Status.FILED, Status.FILED]
    assert set(desk.filed()) == {"cat/cat.jpg", "dog/cat.jpg", "dog/other.jpg"}


def test_what_was_filed_before_can_be_asked_without_reading_it(desk: Desk) -> None:
    decision = desk.decide(desk.put())
    path, identity = decision.source.path, decision.source.identity
    filer = Filer(desk.output, action="copy", journal=desk.journal())
    assert not filer.filed_before(path, identity)
    filer.file([decision])
    assert filer.filed_before(path, identity)
    assert filer.filed_before(path, identity._replace(dev=identity.dev + 1)), "device numbers change at a restart"
    assert not filer.filed_before(path, identity._replace(mtime_ns=identity.mtime_ns + 1))
    assert not Filer(desk.output, action="move", journal=desk.journal()).filed_before(path, identity)


def test_without_a_journal_images_are_filed_too(desk: Desk) -> None:
    filer = Filer(desk.output, action="copy")
    decision = desk.decide(desk.put())
    assert filer.file([decision])[0].status is Status.FILED
    assert filer.file([decision])[0].status is Status.ALREADY
    assert not desk.journal_path.exists()


class TestSkippingEqualOnes:
    """Copying a second time into the same output, by a program that has no journal of the first."""

    def copy(self, desk: Desk, *paths: Path) -> list[Status]:
        filer = Filer(desk.output, action="copy", skip_equal=True)
        return [filed.status for path in paths for filed in filer.file([desk.decide(path)])]

    def two_of_one_name(self, desk: Desk, *contents: bytes) -> list[Path]:
        paths = []
        for number, content in enumerate(contents):
            (desk.inbox / str(number)).mkdir()
            paths.append(desk.put(f"{number}/cat.jpg", content))
        return paths

    def test_what_is_there_is_not_copied_again(self, desk: Desk) -> None:
        paths = [*self.two_of_one_name(desk, b"one", b"two"), desk.put("dog.jpg", b"one")]
        assert self.copy(desk, *paths) == [Status.FILED] * 3
        filed = desk.filed()
        assert filed == {"cat/cat.jpg": b"one", "cat/cat_2.jpg": b"two", "cat/dog.jpg": b"one"}
        assert self.copy(desk, *paths) == [Status.ALREADY] * 3
        assert desk.filed() == filed

    def test_equal_ones_of_the_same_run_are_all_copied(self, desk: Desk) -> None:
        paths = self.two_of_one_name(desk, b"same", b"same")
        assert self.copy(desk, *paths) == [Status.FILED] * 2
        assert desk.filed() == {"cat/cat.jpg": b"same", "cat/cat_2.jpg": b"same"}
        assert self.copy(desk, *paths) == [Status.ALREADY] * 2

    def test_what_changed_or_is_gone_is_copied(self, desk: Desk) -> None:
        path = desk.put(content=b"one")
        self.copy(desk, path)
        path.write_bytes(b"two")
        assert self.copy(desk, path) == [Status.FILED]
        (desk.output / "cat" / "cat.jpg").unlink()
        (desk.output / "cat" / "cat.jpg").symlink_to(path)
        (desk.output / "cat" / "cat_2.jpg").unlink()
        assert self.copy(desk, path) == [Status.FILED]
        assert (desk.output / "cat" / "cat_2.jpg").read_bytes() == b"two"

    def test_an_image_elsewhere_is_none_of_its_folder(self, desk: Desk) -> None:
        path = desk.put(content=b"one")
        desk.file_one(path, "dog", action="copy")
        assert self.copy(desk, path) == [Status.FILED]
