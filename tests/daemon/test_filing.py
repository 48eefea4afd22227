from __future__ import annotations

import errno
import json
import os
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon import moves
from daemon.filing import Action, Decision, Filer, Status
from daemon.marker import MARKER
from daemon.moves import Entry
from daemon.source import open_source
from tests.filing_desk import Desk, bound_by_modes, make_desk, tree

HOSTILE_NAMES = {
    "newline": b"two\nlines.jpg",
    "no text": b"\xff\xfe\x80.jpg",
    "leading dash": b"-rf.jpg",
    "longest": b"x" * 251 + b".jpg",
    "longest Hangul in letters": unicodedata.normalize("NFD", "\ud55c\uae00").encode() * 13 + b"x" * 17 + b".jpg",
    "no extension": b"scan",
    "quotes": b"'\"`$(true)`.jpg",
    "percent": b"%s%n{0}.jpg",
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return make_desk(tmp_path)


def test_an_image_moves_into_the_folder_of_its_class(desk: Desk) -> None:
    path = desk.put()
    inode = path.stat().st_ino
    filed = desk.file_one(path, "cat")
    assert filed.status is Status.FILED
    assert filed.destination == desk.output / "cat" / "cat.jpg"
    assert filed.destination.stat().st_ino == inode
    assert not path.exists()
    assert (desk.output / "cat" / MARKER).exists()


def test_a_batch_is_filed_whole_and_in_order(desk: Desk) -> None:
    paths = [desk.put(f"{number}.jpg", b"%d" % number) for number in range(100)]
    outcomes = desk.file([desk.decide(path, "abc"[index % 3]) for index, path in enumerate(paths)])
    assert [outcome.decision.source.path for outcome in outcomes] == paths
    assert {outcome.status for outcome in outcomes} == {Status.FILED}
    assert desk.filed() == {f"{'abc'[n % 3]}/{n}.jpg": b"%d" % n for n in range(100)}


def test_equal_names_get_numbers_and_nothing_is_overwritten(desk: Desk) -> None:
    contents = [b"%d" % number for number in range(20)]
    for number in range(10):
        desk.file_one(desk.put("cat.jpg", contents[number]))
    folders = [desk.inbox / str(number) for number in range(10, 20)]
    for folder in folders:
        folder.mkdir()
        (folder / "cat.jpg").write_bytes(folder.name.encode())
    desk.file([desk.decide(folder / "cat.jpg") for folder in folders])
    assert desk.contents() == Counter(contents)
    assert set(desk.filed()) == {"cat/cat.jpg", *(f"cat/cat_{number}.jpg" for number in range(2, 21))}


def test_equal_contents_are_both_kept(desk: Desk) -> None:
    for name in ("one.jpg", "one.jpg", "two.jpg"):
        desk.file_one(desk.put(name, b"the same"))
    assert desk.filed() == {"cat/one.jpg": b"the same", "cat/one_2.jpg": b"the same", "cat/two.jpg": b"the same"}


@pytest.mark.parametrize("raw", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_hostile_names_are_filed_unchanged(desk: Desk, raw: bytes, action: Action) -> None:
    name = os.fsdecode(raw)
    filed = desk.file_one(desk.put(name, b"first"), action=action)
    assert filed.destination == desk.output / "cat" / name
    (desk.inbox / name).unlink(missing_ok=True)
    again = desk.file_one(desk.put(name, b"second"), action=action)
    assert again.destination is not None
    assert again.destination.read_bytes() == b"second"
    assert filed.destination.read_bytes() == b"first"
    assert again.destination.suffix == filed.destination.suffix


def race(put: Callable[[Entry], None], monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let somebody else take the free name just before the kernel is asked for it."""
    rename, link = moves.rename_noreplace, moves.link
    left = [times]

    def quicker(new: Entry) -> None:
        if left[0]:
            left[0] -= 1
            put(new)

    def rename_late(old: Entry, new: Entry) -> None:
        quicker(new)
        rename(old, new)

    def link_late(old: Entry, new: Entry) -> None:
        quicker(new)
        link(old, new)

    monkeypatch.setattr(moves, "rename_noreplace", rename_late)
    monkeypatch.setattr(moves, "link", link_late)


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_the_kernel_decides_who_gets_a_name(desk: Desk, monkeypatch: pytest.MonkeyPatch, action: Action) -> None:
    def theirs(new: Entry) -> None:
        os.close(os.open(new.name, os.O_CREAT | os.O_EXCL, dir_fd=new.folder))

    race(theirs, monkeypatch, times=3)
    filed = desk.file_one(desk.put(content=b"ours"), action=action)
    assert filed.destination == desk.output / "cat" / "cat_4.jpg"
    assert desk.filed() == {
        "cat/cat.jpg": b"", "cat/cat_2.jpg": b"", "cat/cat_3.jpg": b"", "cat/cat_4.jpg": b"ours"
    }  # fmt: skip


def test_one_who_takes_every_name_only_delays_that_image(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(new: Entry) -> None:
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
    assert desk.journal().unfinished() == []


@pytest.mark.parametrize("action", ["move", "link"])
def test_a_file_replaced_at_the_very_moment_of_the_move_is_put_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    path = desk.put(content=b"decided on")

    def replace(_: Entry) -> None:
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


def test_a_vanished_inbox_is_gone(desk: Desk) -> None:
    decision = desk.decide(desk.put())
    desk.inbox.rename(desk.inbox.with_name("elsewhere"))
    (filed,) = desk.file([decision])
    assert filed.status in (Status.GONE, Status.RETRY)
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


@pytest.mark.parametrize("kind", ["link outside", "dangling link", "file", "fifo"])
def test_a_class_folder_is_a_folder_of_the_output_or_nothing_is_filed(desk: Desk, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    desk.output.mkdir()
    folder = desk.output / "cat"
    if kind == "link outside":
        folder.symlink_to(outside)
    elif kind == "dangling link":
        folder.symlink_to("nowhere")
    elif kind == "file":
        folder.write_bytes(b"not a folder")
    else:
        os.mkfifo(folder)
    path = desk.put()
    first, second = desk.file([desk.decide(path), desk.decide(desk.put("dog.jpg"), "dog")])
    assert first.status is Status.RETRY
    assert first.error is not None
    assert "file or a symbolic link" in first.error
    assert second.status is Status.FILED
    assert path.exists()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("folder", ["/tmp/elsewhere", "../elsewhere", "cat/../../elsewhere", "."])
def test_a_folder_outside_the_output_is_a_mistake_of_the_caller(desk: Desk, folder: str) -> None:
    source = open_source(desk.put(), max_bytes=100)
    with pytest.raises(ValueError, match="not a folder under the output"):
        desk.file([Decision(source=source, folder=folder)])


def test_an_output_that_is_not_mounted_any_more_is_waited_for(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filer = Filer(desk.output)
    assert filer.file([desk.decide(desk.put())])[0].status is Status.FILED
    real = os.fstat

    def of_another_device(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        return os.stat_result([*status[:2], status.st_dev + 1, *status[3:]])

    path = desk.put()
    decision = desk.decide(path)
    monkeypatch.setattr("daemon.folders.os.fstat", of_another_device)
    (filed,) = filer.file([decision])
    assert filed.status is Status.RETRY
    assert filed.error is not None
    assert "not mounted" in filed.error
    assert path.exists()


def test_an_output_that_was_removed_is_made_again(desk: Desk) -> None:
    filer = Filer(desk.output)
    for _ in range(2):
        assert filer.file([desk.decide(desk.put())])[0].status is Status.FILED
        (desk.output / "cat" / "cat.jpg").unlink()
        (desk.output / "cat" / MARKER).unlink()
        (desk.output / "cat").rmdir()
        desk.output.rmdir()


def test_an_output_that_cannot_be_written_leaves_the_image_for_later(desk: Desk) -> None:
    desk.output.mkdir(0o555)
    path = desk.put()
    decision = desk.decide(path)
    with bound_by_modes():
        (filed,) = desk.file([decision])
    assert filed.status is Status.RETRY
    assert filed.error == f"{str(path)!r} cannot be filed now: Permission denied."
    assert path.exists()
    desk.output.chmod(0o755)
    assert desk.file([decision])[0].status is Status.FILED


@pytest.mark.parametrize("action", ["move", "copy", "link"])
def test_an_unreadable_image(desk: Desk, action: Action) -> None:
    path = desk.put("torn.jpg", b"half")
    bad = desk.decide(path, "quarantine/truncated", label=None, reason="truncated", detail="It ends early.")
    (filed,) = desk.file([bad], action=action)
    if action == "move":
        assert filed.destination == desk.output / "quarantine/truncated/torn.jpg"
        note = json.loads((desk.output / "quarantine/truncated/torn.jpg.json").read_text())
        assert note["reason"] == "truncated"
        assert note["detail"] == "It ends early."
        assert note["source"] == str(path)
        return
    assert filed.status is Status.REFUSED
    assert filed.destination is None
    assert desk.file([bad], action=action)[0].status is Status.ALREADY
    assert path.read_bytes() == b"half"
    assert not desk.output.exists()
    path.write_bytes(b"whole")
    assert desk.file_one(path, action=action).status is Status.FILED


def test_the_note_beside_an_unreadable_image_overwrites_nothing(desk: Desk) -> None:
    folder = desk.output / "quarantine/corrupt"
    folder.mkdir(parents=True)
    name = os.fsdecode(b"\xff" * 251 + b".jpg")
    for wanted in ("cat.jpg", name):
        (folder / f"{wanted}.json"[-255:]).write_text("theirs")
        path = desk.put(wanted)
        assert desk.file_one(path, "quarantine/corrupt", reason="corrupt").status is Status.FILED
    assert (folder / "cat.jpg.json").read_text() == "theirs"
    assert json.loads((folder / "cat.jpg_2.json").read_text())["reason"] == "corrupt"
    assert (folder / name).exists()
    assert len([path for path in folder.iterdir() if path.suffix == ".json"]) == 4


def test_a_note_that_cannot_be_written_stops_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("daemon.reasons.create", full)
    assert desk.file_one(desk.put(), "quarantine/corrupt", reason="corrupt").status is Status.FILED


@pytest.mark.parametrize("action", ["move", "copy", "link"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_dry_run_says_where_and_touches_nothing(desk: Desk, tmp_path: Path, action: Action, exists: bool) -> None:
    if exists:
        desk.file_one(desk.put(content=b"filed before"))
    for folder in ("a", "b"):
        (desk.inbox / folder).mkdir()
    decisions = [desk.decide(desk.put(f"{folder}/cat.jpg")) for folder in ("a", "b")]
    decisions.append(desk.decide(desk.put("torn.jpg"), "quarantine/truncated", reason="truncated"))
    before = tree(tmp_path)
    filer = Filer(desk.output, action=action, dry_run=True)
    outcomes = [filer.file([decision])[0] for decision in decisions]
    assert tree(tmp_path) == before
    names = ("cat_2.jpg", "cat_3.jpg") if exists else ("cat.jpg", "cat_2.jpg")
    assert [outcome.destination for outcome in outcomes[:2]] == [desk.output / "cat" / name for name in names]
    assert [outcome.status for outcome in outcomes[:2]] == [Status.PLANNED, Status.PLANNED]
    assert outcomes[2].status is (Status.PLANNED if action == "move" else Status.REFUSED)


def test_without_a_journal_images_are_filed_too(desk: Desk) -> None:
    filer = Filer(desk.output, action="copy")
    decision = desk.decide(desk.put())
    assert filer.file([decision])[0].status is Status.FILED
    assert filer.file([decision])[0].status is Status.ALREADY
    assert not desk.journal_path.exists()


def test_a_batch_of_none_is_no_work(desk: Desk) -> None:
    assert desk.file([]) == []


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
