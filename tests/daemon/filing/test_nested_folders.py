"""Classes whose folders lie in others: the same care on the whole way."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.files.marker import MARKER
from daemon.filing.filer import Filer, Status
from daemon.filing.undo import undo
from daemon.journal.history import Wanted
from daemon.journal.records import State
from models.deciding.rule import Fate
from models.files.markers import read_kind
from tests.filing_desk import Desk


def test_the_folders_are_made_and_each_has_its_marker(desk: Desk) -> None:
    (sure,) = desk.file([desk.decide(desk.put(), "animals/cat")])
    (rolled_up,) = desk.file([desk.decide(desk.put("x.jpg", b"x"), "animals", fate=Fate.ROLLED_UP)])
    assert [sure.status, rolled_up.status] == [Status.FILED] * 2
    assert desk.filed() == {"animals/cat/cat.jpg": b"an image", "animals/x.jpg": b"x"}
    assert read_kind(desk.output / "animals") == read_kind(desk.output / "animals/cat") == "class"


def test_other_images_have_one_marker_as_ever(desk: Desk) -> None:
    desk.file([desk.decide(desk.put(), "quarantine/truncated", reason="truncated", label=None)])
    assert read_kind(desk.output / "quarantine") == "quarantine"
    assert not (desk.output / "quarantine/truncated" / MARKER).exists()


def test_undo_brings_it_back(desk: Desk) -> None:
    desk.file([desk.decide(desk.put(), "animals/wild/cat")])
    journal = desk.journal()
    (undone,) = undo(journal, journal.history(Wanted()))
    journal.close()
    assert undone.filing.state is State.UNDONE
    assert desk.contents() == {b"an image": 1}
    assert (desk.inbox / "cat.jpg").exists()


@pytest.mark.parametrize("at", ["animals", "animals/wild", "animals/wild/cat"])
@pytest.mark.parametrize("what", ["link", "file"])
def test_nothing_is_filed_through_a_link_or_over_a_file(desk: Desk, tmp_path: Path, at: str, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = desk.output / at
    place.parent.mkdir(parents=True, exist_ok=True)
    if what == "link":
        place.symlink_to(elsewhere)
    else:
        place.write_bytes(b"a person's file")
    good, bad = desk.put("good.jpg", b"good"), desk.put()
    filed = desk.file([desk.decide(bad, "animals/wild/cat"), desk.decide(good, "dog")])
    assert [each.status for each in filed] == [Status.RETRY, Status.FILED]
    assert bad.read_bytes() == b"an image"
    assert list(elsewhere.iterdir()) == []


def test_a_dry_run_makes_none_and_gives_each_name_once(desk: Desk) -> None:
    first = desk.put("a.jpg", b"1")
    journal = desk.journal()
    filer = Filer(desk.output, journal=journal, dry_run=True)
    for _ in range(2):
        (planned,) = filer.file([desk.decide(first, "animals/cat")])
        assert planned.status is Status.PLANNED
    journal.close()
    assert planned.destination == desk.output / "animals/cat/a_2.jpg"
    assert not (desk.output / "animals").exists()


def test_names_of_255_bytes_at_every_depth(desk: Desk) -> None:
    folder = "/".join(["동" * 80, "x" * 250, "새" * 80])
    (filed,) = desk.file([desk.decide(desk.put("가" * 80 + ".jpg"), folder)])
    assert filed.status is Status.FILED
    assert filed.destination is not None
    assert filed.destination.parent == desk.output / folder
