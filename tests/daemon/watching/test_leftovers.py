"""What a NAS or the system leaves in an inbox or an output is left alone, whoever comes by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.files.marker import MARKER
from daemon.filing.corrections import Corrections
from daemon.filing.filer import Status
from daemon.filing.undo import undo
from daemon.filing.unjournaled import reason_folders, unjournaled_images
from daemon.journal.journal import read_history
from daemon.watching.skipped import SkippedReporter, survey
from tests.daemon.watching.desk import Desk, put
from tests.filing_desk import Desk as FilingDesk
from tests.filing_desk import make_desk

NAMES = [
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "@Recycle",
    "lost+found",
    "__MACOSX",
    "Recycle Bin - Volume_1",
    "x.photoslibrary",
]


@pytest.fixture
def filing(tmp_path: Path) -> FilingDesk:
    return make_desk(tmp_path)


@pytest.mark.parametrize("poll", [False, True])
def test_a_walk_and_events_pass_by(poll: bool, tmp_path: Path, desks: Callable[..., Desk]) -> None:
    root = tmp_path / "inbox"
    for name in NAMES:
        put(root / "a" / name / "x.jpg" / "thumb.jpg")
    mine = put(root / "a" / "x.jpg")
    desk = desks(root, poll=poll, poll_seconds=0.02)
    assert desk.collect(1) == [mine]
    for name in NAMES:
        put(root / "b" / name / "deep" / "deleted.jpg")
        put(root / name.upper() / "deleted.jpg")
    desk.nothing()


def test_a_picture_that_its_owner_throws_away_does_not_come_back(tmp_path: Path, desks: Callable[..., Desk]) -> None:
    """Also where a folder that is watched already becomes the bin."""
    root = tmp_path / "inbox"
    (root / "folder").mkdir(parents=True)
    desk = desks(root, rescan_seconds=0.05)
    desk.first_walk()
    (root / "folder").rename(root / "#recycle")
    put(root / "#recycle" / "deleted.jpg")
    desk.nothing(0.4)


def test_a_bin_as_an_inbox_of_its_own_is_watched(tmp_path: Path, desks: Callable[..., Desk]) -> None:
    mine = put(tmp_path / "#recycle" / "again.jpg")
    assert desks(tmp_path / "#recycle").collect(1) == [mine]


def test_it_is_counted_and_said_once(tmp_path: Path, logged: list[str]) -> None:
    for name in (NAMES[0], "Trash", "x.photoslibrary"):
        put(tmp_path / name / "a" / "x.jpg")
        put(tmp_path / name / "y.png")
    put(tmp_path / "mine" / "Folder.jpg")
    put(tmp_path / "Thumbs.db")
    tell = SkippedReporter()
    for _ in range(3):
        passed = survey(tmp_path, recursive=True, excluded=[])
        tell(passed)
    said = "(images: 7, folders: 3; for example "
    assert (passed.count, passed.leftovers.pictures) == (0, 7)
    assert {"Trash", "x.photoslibrary"} < {*passed.leftovers.names, "Folder.jpg", "@eaDir"}
    assert len([line for line in logged if said in line and line.startswith(f"{tmp_path}: left alone:")]) == 1


@pytest.mark.parametrize("poll", [False, True])
def test_a_folder_with_a_plain_word_for_a_name_is_left_alone(
    poll: bool, tmp_path: Path, desks: Callable[..., Desk]
) -> None:
    root = tmp_path / "inbox"
    put(root / "Trash" / "deleted.jpg")
    mine = put(root / "mine" / "a.jpg")
    desk = desks(root, poll=poll, poll_seconds=0.02)
    assert desk.collect(1) == [mine]
    put(root / "RECYCLED" / "deleted.jpg")
    put(root / "mine" / "x.partial.jpg")
    put(root / "mine" / "SYNOPHOTO_THUMB_XL.jpg")
    desk.nothing()


def test_a_class_folder_with_a_plain_word_for_a_name_is_not_counted(tmp_path: Path) -> None:
    """The output may be the inbox, and a class may be called so."""
    put(tmp_path / "trash" / "a.jpg")
    (tmp_path / "trash" / MARKER).touch()
    passed = survey(tmp_path, recursive=True, excluded=[], outputs=[tmp_path])
    assert (passed.leftovers.pictures, passed.not_entered) == (0, [])


def test_half_a_file_is_taken_when_it_gets_its_name(tmp_path: Path, desks: Callable[..., Desk]) -> None:
    root = tmp_path / "inbox"
    half = put(root / "x.part.jpg")
    desk = desks(root)
    desk.first_walk()
    desk.nothing()
    half.rename(root / "x.jpg")
    assert desk.collect(1) == [root / "x.jpg"]


def test_a_correction_into_a_class_with_a_plain_word_for_a_name_is_found(filing: FilingDesk) -> None:
    filed = filing.file_one(filing.put())
    assert filed.destination is not None
    (filing.output / "trash").mkdir()
    moved = filed.destination.rename(filing.output / "trash" / "cat.jpg")
    (row,) = read_history(filing.journal_path)
    assert Corrections(filing.output).find(row) == moved


@pytest.mark.parametrize("place", ["#recycle/cat", "cat/#recycle", "@Recycle"])
def test_a_filed_picture_in_a_bin_of_the_output_is_no_correction(place: str, filing: FilingDesk) -> None:
    filed = filing.file_one(filing.put())
    assert filed.destination is not None
    bin_folder = filing.output / place
    bin_folder.mkdir(parents=True)
    filed.destination.rename(bin_folder / "cat.jpg")
    (row,) = read_history(filing.journal_path)
    assert Corrections(filing.output).find(row) is None
    journal = filing.journal()
    assert [each.status for each in undo(journal, [row])] == [Status.GONE]
    journal.close()
    assert (bin_folder / "cat.jpg").exists()


def test_nothing_is_brought_back_out_of_a_bin_in_the_quarantine(filing: FilingDesk) -> None:
    quarantine = filing.output / "quarantine"
    put(quarantine / "#recycle" / "deleted.jpg")
    put(quarantine / "truncated" / "Thumbs.db")
    mine = put(quarantine / "truncated" / "mine.jpg")
    assert [folder.name for folder in reason_folders(quarantine)] == ["truncated"]
    assert [row.destination for row in unjournaled_images(quarantine, [filing.inbox], [], [])] == [mine]
