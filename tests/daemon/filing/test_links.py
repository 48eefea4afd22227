"""A folder that becomes a link on an image's way: nothing outside of inbox and output is read, moved or made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files.roots import Roots
from daemon.files.source import SourceGone, open_source
from daemon.filing import transfer
from daemon.filing.filer import Action, Filer, FilingRequest, Status
from daemon.filing.late_sidecars import LateSidecars
from daemon.filing.recovery import recover
from daemon.filing.undo import Undone, undo
from daemon.journal.journal import Journal, read_history
from daemon.journal.records import Filing, State
from models.deciding.rule import Fate
from tests.filing_desk import Desk, tree


@pytest.fixture
def outside(desk: Desk) -> Iterator[Path]:
    """Somebody else's folder, with the same names; it must stay as it is."""
    folder = desk.inbox.parent / "outside"
    (folder / "deep").mkdir(parents=True)
    for name in ("cat.jpg", "deep/cat.jpg", "cat.xmp", "deep/cat.xmp"):
        (folder / name).write_bytes(b"an image")
        os.utime(folder / name, (1_000_000_000, 1_000_000_000))
    before = tree(folder)
    yield folder
    assert tree(folder) == before


@pytest.fixture(params=["holiday", "holiday/deep"])
def folder(request: pytest.FixtureRequest, desk: Desk) -> Path:
    """A folder in the inbox, and one in that."""
    path = desk.inbox / str(request.param)
    path.mkdir(parents=True)
    return path


def put(folder: Path, name: str = "cat.jpg") -> Path:
    path = folder / name
    path.write_bytes(b"an image")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def swap(desk: Desk, outside: Path, name: str = "holiday") -> Path:
    """Put a link in the place of a folder of the inbox; returns where the folder is now."""
    aside = desk.inbox.parent / "aside"
    (desk.inbox / name).rename(aside)
    (desk.inbox / name).symlink_to(outside)
    return aside


def roots(desk: Desk) -> Roots:
    return Roots([desk.inbox, desk.output])


def filed(desk: Desk, decision: FilingRequest, action: Action) -> Status:
    journal = desk.journal()
    try:
        return Filer(desk.output, action=action, journal=journal, roots=roots(desk)).file([decision])[0].status
    finally:
        journal.close()


def test_between_the_look_and_the_decoding(desk: Desk, folder: Path, outside: Path) -> None:
    path = put(folder)
    swap(desk, outside)
    for where in (roots(desk), Roots()):
        with pytest.raises(SourceGone):
            open_source(path, max_bytes=100, roots=where)


@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("reason", [None, "truncated"])
def test_between_the_decoding_and_the_move(
    desk: Desk, folder: Path, outside: Path, action: Action, reason: str | None
) -> None:
    path = put(folder)
    decision = FilingRequest(
        source=open_source(path, max_bytes=100),
        folder="cat" if reason is None else f"quarantine/{reason}",
        fate=Fate.SURE if reason is None else None,
        reason=reason,
    )
    same = outside / path.relative_to(desk.inbox / "holiday")
    # What lies there looks like the image that was decided on, whatever is compared.
    decision = FilingRequest(
        source=decision.source.__class__(path, decision.source.identity.from_stat(same.stat()), decision.source.sha256),
        folder=decision.folder,
        fate=decision.fate,
        reason=reason,
    )
    aside = swap(desk, outside)
    assert filed(desk, decision, action) is Status.RETRY
    assert not any(path.is_file() for path in desk.output.rglob("*.jpg"))
    assert (aside / path.relative_to(desk.inbox / "holiday")).exists()


@pytest.mark.parametrize("action", ["move", "copy"])
def test_while_the_transfer_is_under_way(
    desk: Desk, folder: Path, outside: Path, action: Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder)
    decision = desk.decide(path)
    aside: list[Path] = []
    run = transfer.run

    def swapping(*arguments: object) -> None:
        monkeypatch.setattr(transfer, "run", run)
        aside.append(swap(desk, outside))
        run(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "run", swapping)
    assert filed(desk, decision, action) is Status.FILED, "the folder that was opened is the one that was meant"
    assert (aside[0] / path.relative_to(desk.inbox / "holiday")).exists() == (action == "copy")
    assert desk.filed() == {"cat/cat.jpg": b"an image"}


@pytest.mark.parametrize("link", ["cat", "quarantine", "quarantine/truncated"])
def test_a_folder_of_the_output(desk: Desk, outside: Path, link: str) -> None:
    path = put(desk.inbox)
    (desk.output / link).parent.mkdir(parents=True, exist_ok=True)
    (desk.output / link).symlink_to(outside)
    reason = None if link == "cat" else "truncated"
    decision = desk.decide(path, "cat" if reason is None else "quarantine/truncated", reason=reason)
    assert filed(desk, decision, "move") is Status.RETRY
    assert path.exists()


def test_an_output_inside_an_inbox(near: Desk, tmp_path: Path) -> None:
    """Who may write into the inbox can put a link there, too."""
    output, elsewhere = near.inbox / "sorted", tmp_path / "elsewhere"
    elsewhere.mkdir()
    filer = Filer(output, roots=Roots([near.inbox, output]))
    assert filer.file([near.decide(put(near.inbox))])[0].status is Status.FILED
    output.rename(tmp_path / "aside")
    output.symlink_to(elsewhere)
    assert filer.file([near.decide(put(near.inbox))])[0].status is Status.RETRY
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("linked", ["cat.xmp", "cat.jpg.json"])
def test_in_place_of_a_sidecar(desk: Desk, outside: Path, linked: str) -> None:
    path = put(desk.inbox)
    (desk.inbox / linked).symlink_to(outside / "cat.xmp")
    assert filed(desk, desk.decide(path), "move") is Status.FILED
    assert sorted(desk.filed()) == ["cat/cat.jpg"]


def test_sidecars_are_those_of_the_folder_that_was_opened(
    desk: Desk, folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder)
    decision = desk.decide(path)
    run = transfer.run

    def swapping(*arguments: object) -> None:
        monkeypatch.setattr(transfer, "run", run)
        swap(desk, outside)
        run(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "run", swapping)
    assert filed(desk, decision, "move") is Status.FILED
    assert sorted(desk.filed()) == ["cat/cat.jpg"]


def test_a_late_sidecar(desk: Desk, folder: Path, outside: Path) -> None:
    path = put(folder)
    assert filed(desk, desk.decide(path), "move") is Status.FILED
    swap(desk, outside)
    journal = desk.journal()
    LateSidecars([desk.inbox], desk.output, journal, recursive=True).work(60.0)
    journal.close()
    assert sorted(desk.filed()) == ["cat/cat.jpg"]


def undo_all(desk: Desk) -> Undone:
    journal = desk.journal()
    try:
        (undone,) = undo(journal, list(read_history(desk.journal_path)), roots(desk))
        return undone
    finally:
        journal.close()


@pytest.mark.parametrize("reason", [None, "truncated"])
def test_undo_moves_nothing_through_a_link(desk: Desk, folder: Path, outside: Path, reason: str | None) -> None:
    path = put(folder)
    decision = desk.decide(path, "cat" if reason is None else f"quarantine/{reason}", reason=reason)
    assert filed(desk, decision, "move") is Status.FILED
    before = desk.contents()
    swap(desk, outside)
    undone = undo_all(desk)
    assert undone.status is Status.RETRY
    assert undone.error is not None
    assert "symbolic link" in undone.error
    assert desk.contents() == before


def test_undo_makes_no_folder_through_a_link(desk: Desk, outside: Path) -> None:
    folder = desk.inbox / "holiday" / "new" / "newer"
    folder.mkdir(parents=True)
    assert filed(desk, desk.decide(put(folder)), "move") is Status.FILED
    swap(desk, outside)
    assert undo_all(desk).status is Status.RETRY
    assert sorted(desk.filed()) == ["cat/cat.jpg"]


def test_undo_takes_nothing_out_of_a_linked_class_folder(desk: Desk, outside: Path) -> None:
    assert filed(desk, desk.decide(put(desk.inbox)), "move") is Status.FILED
    (desk.output / "cat").rename(desk.output.parent / "aside")
    (desk.output / "cat").symlink_to(outside)
    assert undo_all(desk).status is Status.RETRY
    assert not (desk.inbox / "cat.jpg").exists()


@pytest.mark.parametrize("action", ["copy", "link"])
def test_undo_of_a_copy_does_not_take_what_is_behind_a_link_for_the_original(
    desk: Desk, folder: Path, outside: Path, action: Action
) -> None:
    path = put(folder)
    assert filed(desk, desk.decide(path), action) is Status.FILED
    swap(desk, outside)
    assert undo_all(desk).status is Status.CHANGED
    assert desk.filed() == {"cat/cat.jpg": b"an image"}


@pytest.mark.parametrize("action", ["copy", "link"])
def test_undo_of_a_copy_whose_original_s_folder_became_a_link_to_it(near: Desk, action: Action) -> None:
    (near.inbox / "holiday").mkdir()
    path = put(near.inbox / "holiday")
    assert filed(near, near.decide(path), action) is Status.FILED
    path.unlink()
    (near.inbox / "holiday").rmdir()
    (near.inbox / "holiday").symlink_to(near.output / "cat")
    assert undo_all(near).status is Status.CHANGED
    assert near.filed() == {"cat/cat.jpg": b"an image"}, "the only one there is"


def copied_row(desk: Desk, path: Path, journal: Journal) -> Filing:
    """What the journal says when a kill came right before the original was dropped."""
    assert filed(desk, desk.decide(path), "move") is Status.FILED
    (row,) = read_history(desk.journal_path)
    assert row.destination is not None
    row.state, row.copy_ino = State.COPIED, row.destination.stat().st_ino
    journal.write([row])
    return row


def test_recovery_does_not_take_the_copy_for_its_own_original(desk: Desk) -> None:
    (desk.inbox / "holiday").mkdir()
    path = put(desk.inbox / "holiday")
    journal = desk.journal()
    copied_row(desk, path, journal)
    (desk.inbox / "holiday").rmdir()
    (desk.inbox / "holiday").symlink_to(desk.output / "cat")
    recover(journal, roots(desk))
    journal.close()
    assert desk.filed() == {"cat/cat.jpg": b"an image"}, "the only one there is"
    (row,) = read_history(desk.journal_path)
    assert row.state is State.DONE


def test_recovery_drops_nothing_through_a_link(desk: Desk, folder: Path, outside: Path) -> None:
    path = put(folder)
    journal = desk.journal()
    copied_row(desk, path, journal)
    swap(desk, outside)
    recover(journal, roots(desk))
    journal.close()
    assert desk.filed() == {"cat/cat.jpg": b"an image"}
