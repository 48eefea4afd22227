"""What others do to the inbox and the output at the same time: nothing of theirs or ours is lost or overwritten."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.files import renaming
from daemon.files.renaming import FileAt
from daemon.filing.filer import Action, Filer, FilingResult, Status
from daemon.journal.records import Filing
from tests.filing_desk import Desk, far_folder, make_desk, tree


def race(put: Callable[[FileAt], None], monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let somebody else take the free name just before the kernel is asked for it."""
    rename, link = renaming.rename_noreplace, renaming.link
    left = [times]

    def quicker(new: FileAt) -> None:
        if left[0]:
            left[0] -= 1
            put(new)

    def rename_late(old: FileAt, new: FileAt) -> None:
        quicker(new)
        rename(old, new)

    def link_late(old: FileAt, new: FileAt) -> None:
        quicker(new)
        link(old, new)

    monkeypatch.setattr(renaming, "rename_noreplace", rename_late)
    monkeypatch.setattr(renaming, "link", link_late)


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_the_kernel_decides_who_gets_a_name(desk: Desk, monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    def theirs(new: FileAt) -> None:
        os.close(os.open(new.name, os.O_CREAT | os.O_EXCL, dir_fd=new.folder))

    race(theirs, monkeypatch, times=3)
    filed = desk.file_one(desk.put(content=b"ours"), action=action)
    assert filed.destination == desk.output / "cat" / "cat_4.jpg"
    assert desk.filed() == {
        "cat/cat.jpg": b"", "cat/cat_2.jpg": b"", "cat/cat_3.jpg": b"", "cat/cat_4.jpg": b"ours"
    }  # fmt: skip


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_all_whose_names_are_taken_get_others_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    for name in names:
        desk.file_one(desk.put(name, b"before"))
    (desk.inbox / "folder").mkdir()
    paths = [desk.put(name, name.encode()) for name in (*names, "folder/a.jpg")]
    journal = desk.journal()
    writes: list[int] = []
    write = journal.write

    def counted(filings: Sequence[Filing], **more: Any) -> None:
        writes.extend([len(filings)] if filings else [])
        write(filings, **more)

    monkeypatch.setattr(journal, "write", counted)
    filed = Filer(desk.output, action=action, journal=journal).file([desk.decide(path) for path in paths])
    assert [each.row.filed_name for each in filed] == ["a_3.jpg", "b_2.jpg", "c_2.jpg", "a_2.jpg"]
    assert [desk.filed()[f"cat/{each.row.filed_name}"] for each in filed] == [
        str(path.relative_to(desk.inbox)).encode() for path in paths
    ]
    assert writes == ([4, 4, 3] if action == "copy" else [4, 3])


def test_one_who_takes_every_name_only_delays_that_image(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(new: FileAt) -> None:
        os.close(os.open(new.name, os.O_CREAT | os.O_EXCL, dir_fd=new.folder))

    race(theirs, monkeypatch, times=1000)
    path = desk.put(content=b"ours")
    assert desk.file_one(path).status is Status.RETRY
    assert path.read_bytes() == b"ours"


def test_programs_that_file_the_same_names_at_once_lose_nothing(tmp_path: Path) -> None:
    desks = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        desks.append(make_desk(tmp_path / str(number)))
        desks[-1].output = tmp_path / "sorted"
    for number, desk in enumerate(desks):
        for name in range(50):
            desk.put(f"{name % 10}-{name}.jpg", b"%d/%d" % (number, name))
    start = threading.Barrier(4)

    def work(desk: Desk) -> None:
        decisions = [desk.decide(path) for path in sorted(desk.inbox.iterdir())]
        start.wait()
        for index in range(0, 50, 10):
            desk.file(decisions[index : index + 10])

    threads = [threading.Thread(target=work, args=(desk,)) for desk in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(desks[0].filed().values()) == Counter(b"%d/%d" % (n, m) for n in range(4) for m in range(50))
    assert [list(desk.inbox.iterdir()) for desk in desks] == [[], [], [], []]


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_a_file_that_changed_after_the_decision_stays(desk: Desk, action: Action) -> None:
    def replace(path: Path) -> None:
        path.with_name(".new").write_bytes(b"an image")
        path.with_name(".new").rename(path)

    changes: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(b"longer than it was"),
        lambda path: os.utime(path, ns=(0, 0)),
        replace,
    ]
    for number, change in enumerate(changes):
        path = desk.put(f"{number}.jpg")
        decision = desk.decide(path)
        change(path)
        before = tree(desk.inbox)
        (filed,) = desk.file([decision], action=action)
        assert filed.status is Status.CHANGED
        assert tree(desk.inbox) == before
    assert desk.filed() == {}
    assert desk.journal().interrupted() == []


@pytest.mark.parametrize("action", ["move", "link"])
def test_a_file_replaced_at_the_very_moment_of_the_move_is_put_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    path = desk.put(content=b"decided on")

    def replace(_: FileAt) -> None:
        (desk.inbox / ".new").write_bytes(b"never seen")
        (desk.inbox / ".new").rename(path)

    race(replace, monkeypatch, times=1)
    assert desk.file_one(path, action=action).status is Status.CHANGED
    assert path.read_bytes() == b"never seen"
    assert desk.filed() == {}


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_a_vanished_file_is_gone_and_its_neighbours_are_filed(desk: Desk, action: Action) -> None:
    decisions = [desk.decide(desk.put(f"{number}.jpg")) for number in range(3)]
    decisions[1].source.path.unlink()
    outcomes = desk.file(decisions, action=action)
    assert [outcome.status for outcome in outcomes] == [Status.FILED, Status.GONE, Status.FILED]
    assert set(desk.filed()) == {"cat/0.jpg", "cat/2.jpg"}


def test_a_vanished_inbox_is_waited_for(desk: Desk) -> None:
    decision = desk.decide(desk.put())
    desk.inbox.rename(desk.inbox.with_name("elsewhere"))
    (filed,) = desk.file([decision])
    assert filed.status is Status.RETRY
    assert filed.destination is None


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_what_took_the_place_of_the_image_is_not_touched(desk: Desk, kind: str) -> None:
    path = desk.put()
    decision = desk.decide(path)
    path.rename(desk.inbox / "kept.jpg")
    if kind == "link":
        path.symlink_to("kept.jpg")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = tree(desk.inbox)
    (filed,) = desk.file([decision])
    assert filed.status is Status.CHANGED
    assert tree(desk.inbox) == before


def no_rename(old: FileAt, new: FileAt) -> None:
    raise OSError(errno.EINVAL, "this file system has no rename that refuses to replace")


def no_link(old: FileAt, new: FileAt) -> None:
    raise OSError(errno.EPERM, "this file system has no hard links")


@pytest.mark.parametrize("outputs", ["one output", "outputs of their own"])
@pytest.mark.parametrize("lacking", [[], ["rename_noreplace"], ["rename_noreplace", "link"]])
def test_programs_that_file_the_same_images_at_once_double_none(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: list[str], outputs: str
) -> None:
    """Each has a journal of its own, as daemons of several users or machines have."""
    for name in lacking:
        monkeypatch.setattr(renaming, name, no_rename if name == "rename_noreplace" else no_link)
    desks = [replace(desk, journal_path=tmp_path / f"{number}.db") for number in range(3)]
    if outputs != "one output":
        for number, each in enumerate(desks):
            each.output = desk.output / str(number)
    paths = [desk.put(f"{number}.jpg", b"%d" % number) for number in range(60)]
    decisions = [desk.decide(path) for path in paths]
    start = threading.Barrier(len(desks))
    filed: list[FilingResult] = []

    def work(each: Desk, order: int) -> None:
        mine = [*decisions[order * 7 :], *decisions[: order * 7]]
        start.wait()
        for index in range(0, 60, 10):
            filed.extend(each.file(mine[index : index + 10]))

    threads = [threading.Thread(target=work, args=(each, order)) for order, each in enumerate(desks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.contents() == Counter(b"%d" % number for number in range(60))
    assert list(desk.inbox.iterdir()) == []
    statuses = Counter(each.status for each in filed)
    assert statuses[Status.FILED] == 60
    assert statuses.keys() <= {Status.FILED, Status.GONE, Status.RETRY}
    assert [row.state for each in desks for row in each.journal().interrupted()] == []


def test_an_original_that_a_share_moved_without_saying_so_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares ask again when an answer was lost, and then there is nothing of the old name."""
    rename = os.rename

    def forgetful(old: str, new: str, **more: Any) -> None:
        rename(old, new, **more)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)

    with far_folder() as far:
        desk = make_desk(tmp_path, far)
        path = desk.put(content=b"an image")
        decision = desk.decide(path)
        monkeypatch.setattr(os, "rename", forgetful)
        (filed,) = desk.file([decision])
    assert filed.status is Status.FILED
    assert list(desk.inbox.iterdir()) == []
