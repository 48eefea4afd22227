"""What a kill leaves behind, where the journal that explains it is lost: names come back, broken copies go."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from daemon.files import renaming
from daemon.files.source import Identity
from daemon.filing.filer import Action
from daemon.filing.private_names import PrivateName, private_name
from daemon.filing.stray_names import StrayNames
from daemon.journal.records import Filing, State
from tests.faults.machine import Crash, Faults
from tests.filing_desk import Desk, failing, images

RUN = "20261129T091757-0123abcd-7"


def sweep(desk: Desk) -> None:
    journal = desk.journal()
    for _ in StrayNames([desk.inbox], desk.output, journal).steps():
        pass
    journal.close()


def lose_the_journal(desk: Desk) -> None:
    for path in desk.journal_path.parent.glob("journal.db*"):
        path.unlink()


def hidden(desk: Desk) -> list[str]:
    return [path.name for root in (desk.inbox, desk.output) for path in images(root) if path.name.startswith(".")]


@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("calls", ["all", "no rename", "neither rename nor link"])
def test_a_crash_at_any_call_and_a_lost_journal_lose_no_image_and_hide_none(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, action: Action, calls: str
) -> None:
    if calls != "all":
        monkeypatch.setattr(renaming, "rename_noreplace", failing(22))
    if calls.startswith("neither"):
        monkeypatch.setattr(renaming, "link", failing(1))
    contents = {"cat.jpg": b"a cat", "개:고양이.jpg": b"a dog" * 99, os.fsdecode(b"\xff\n.jpg"): b"a bird"}
    for at in count(1):
        for name, content in contents.items():
            desk.put(name, content)
        decisions = [desk.decide(desk.inbox / name) for name in contents]
        try:
            with Faults(at, Crash):
                desk.file(decisions, action=action)
            break
        except Crash:
            pass
        lose_the_journal(desk)
        sweep(desk)
        assert hidden(desk) == []
        halves = set(desk.contents()) - set(contents.values())
        assert set(contents.values()) <= set(desk.contents())
        # There a copy is written under its final name, and only the journal knows what it is.
        assert not halves or calls.startswith("neither")
        assert {path.name for path in images(desk.inbox)} <= contents.keys()
        sweep(desk)
        lose_the_journal(desk)
        for path in [*images(desk.inbox), *images(desk.output)]:
            path.unlink()
    assert at > 10


@pytest.mark.parametrize("purpose", ["claim", "drop"])
@pytest.mark.parametrize("name", ["cat.jpg", os.fsdecode(b"\xff\n.jpg"), "고양이.jpg", ".hidden", "a b. c"])
def test_a_file_gets_its_name_back_and_replaces_nothing(desk: Desk, purpose: str, name: str) -> None:
    inside = desk.inbox / "2026" / "trip"
    inside.mkdir(parents=True)
    (inside / name).write_bytes(b"a new one")
    (inside / f".{purpose}.{RUN}.{name}").write_bytes(b"the old one")
    sweep(desk)
    assert (inside / name).read_bytes() == b"a new one"
    assert sorted(path.read_bytes() for path in images(inside)) == [b"a new one", b"the old one"]
    assert not [path for path in inside.iterdir() if PrivateName.parse(path.name)]


def test_a_long_name_is_shortened_and_keeps_its_ending(desk: Desk) -> None:
    row = Filing(
        state=State.INTENT,
        action="move",
        source=desk.inbox / ("고" * 80 + ".jpeg"),
        identity=Identity(1, 2, 3, 4),
        run="20261129T091757-0123abcd",
        id=123456789,
    )
    name = private_name("claim", row)
    assert len(os.fsencode(name)) <= 143
    desk.put(name)
    sweep(desk)
    (back,) = images(desk.inbox)
    assert back.name.startswith("고" * 20)
    assert back.suffix == ".jpeg"


@pytest.mark.parametrize(
    ("half", "goes"), [(b"", True), (b"an im", True), (b"an \0\0age", True), (b"an image", True), (b"another", False)]
)
@pytest.mark.parametrize("where", ["inbox", "inbox/2026", "sorted/cat", "sorted/dog"])
@pytest.mark.parametrize("name", ["cat.jpg", "cat_2.jpg"])
def test_a_broken_copy_goes_only_where_its_original_is(
    desk: Desk, logged: list[str], half: bytes, goes: bool, where: str, name: str
) -> None:
    (desk.output / "cat").mkdir(parents=True)
    copy = desk.output / "cat" / f".part.{RUN}.cat.jpg"
    copy.write_bytes(half)
    root = {"inbox": desk.inbox, "sorted": desk.output}[where.partition("/")[0]]
    folder = root / where.partition("/")[2]
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(b"an image")
    sweep(desk)
    assert copy.exists() is not goes
    assert (folder / name).read_bytes() == b"an image"
    assert len([line for line in logged if "its original is nowhere" in line]) == (not goes)


def test_a_broken_copy_without_an_original_stays(desk: Desk) -> None:
    """It may be all there is."""
    (desk.output / "cat").mkdir(parents=True)
    copy = desk.output / "cat" / f".part.{RUN}.cat.jpg"
    copy.write_bytes(b"half")
    desk.put("dog.jpg", b"half an image")
    sweep(desk)
    assert copy.read_bytes() == b"half"


def test_a_copy_that_somebody_writes_stays(desk: Desk) -> None:
    """Another program of ours may sort into the same folder."""
    (desk.output / "cat").mkdir(parents=True)
    copy = desk.output / "cat" / f".part.{RUN}.cat.jpg"
    desk.put("cat.jpg")
    with copy.open("wb", buffering=0) as file:
        file.write(b"an i")
        sweep(desk)
        assert copy.exists()
    sweep(desk)
    assert not copy.exists(), "looked at once more, since it could not be dealt with"


@pytest.fixture
def strangers(desk: Desk) -> list[Path]:
    """What is only named a little like our files, or is none."""
    names = [
        ".part", ".claim.cat.jpg", f".part.{RUN}", f".part.{RUN}.", f".claim.{RUN[:-2]}.cat.jpg", "cat.jpg.part",
        f".Claim.{RUN}.cat.jpg", f".claim.{RUN.upper()}.cat.jpg", f"x.claim.{RUN}.cat.jpg", f".copy.{RUN}.cat.jpg",
    ]  # fmt: skip
    (desk.output / "cat").mkdir(parents=True)
    paths = [folder / name for folder in (desk.inbox, desk.output / "cat") for name in names]
    for path in paths:
        path.write_bytes(b"")
    for folder in (desk.inbox, desk.output / "cat"):
        (folder / f".claim.{RUN}.link.jpg").symlink_to(paths[0])
        (folder / f".part.{RUN}.folder.jpg").mkdir()
        os.mkfifo(folder / f".drop.{RUN}.fifo.jpg")
    return [path for folder in (desk.inbox, desk.output / "cat") for path in folder.iterdir()]


def test_what_is_a_strangers_stays(desk: Desk, strangers: list[Path]) -> None:
    sweep(desk)
    assert all(os.path.lexists(path) for path in strangers)


def test_what_the_journal_explains_is_left_to_the_recovery(desk: Desk) -> None:
    path = desk.put()
    row = desk.intent(path)
    journal = desk.journal()
    journal.write([row])
    journal.close()
    claimed = desk.inbox / private_name("claim", row)
    path.rename(claimed)
    sweep(desk)
    assert claimed.exists()


def test_it_is_done_once_for_a_journal(desk: Desk) -> None:
    """What comes later, the journal explains; and a folder of a million files is not gone through at every start."""
    sweep(desk)
    claimed = desk.put(f".claim.{RUN}.cat.jpg")
    sweep(desk)
    assert claimed.exists()
    lose_the_journal(desk)
    sweep(desk)
    assert not claimed.exists()


def test_folders_of_another_output_and_recycle_bins_are_left_alone(desk: Desk) -> None:
    for folder in ("#recycle", "theirs", ".hidden"):
        (desk.inbox / folder).mkdir()
    (desk.inbox / "theirs" / ".imagesortd").touch()
    paths = [desk.put(f"{folder}/.claim.{RUN}.cat.jpg") for folder in ("#recycle", "theirs", ".hidden")]
    sweep(desk)
    assert all(path.exists() for path in paths)
