"""Each state of source and destination in which a crash can leave a filing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from daemon.files.source import Identity
from daemon.filing.private_names import private_name
from daemon.filing.recovery import recover
from daemon.filing.transfer import NOT_MADE_YET
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing, State
from tests.filing_desk import Desk, images

CONTENT = b"an image"


def crashed(desk: Desk, **more: Any) -> tuple[Filing, Path, Path]:
    """A journaled intent to move an image, and its two places; the image is at the source."""
    source, target = desk.put(content=CONTENT), desk.output / "cat" / "cat.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    row = Filing(
        state=State.INTENT,
        action="move",
        source=source,
        identity=Identity.from_stat(source.stat()),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        folder=target.parent,
        filed_name=target.name,
        label="cat",
    )
    for name, value in more.items():
        setattr(row, name, value)
    rewrite(desk, row)
    return row, source, target


def rewrite(desk: Desk, row: Filing) -> None:
    journal = desk.journal()
    journal.write([row])
    journal.close()


def restart(desk: Desk) -> State:
    """Replay twice, as after a crash during the first time; returns how the one filing ended."""
    journal = desk.journal()
    (state,) = recover(journal)
    assert not recover(journal) or state is State.COPIED
    journal.close()
    return state


def hidden(folder: Path, purpose: str, row: Filing) -> Path:
    return folder / private_name(purpose, row)


def make_copy(path: Path, row: Filing, content: bytes = CONTENT) -> None:
    """What this filing's copy is: its inode goes into the journal."""
    path.write_bytes(content)
    row.copy_ino = path.stat().st_ino


def test_an_image_that_never_left_is_filed_anew(desk: Desk) -> None:
    _, source, _ = crashed(desk)
    assert restart(desk) is State.VOID
    assert source.read_bytes() == CONTENT
    assert list(read_history(desk.journal_path, Wanted(states=tuple(State)))) == []


def test_an_image_that_arrived_by_rename_is_done(desk: Desk) -> None:
    _, source, target = crashed(desk)
    source.rename(target)
    assert restart(desk) is State.DONE
    assert desk.filed() == {"cat/cat.jpg": CONTENT}
    assert next(read_history(desk.journal_path)).state is State.DONE


def test_a_stranger_of_the_same_name_and_content_is_a_stranger(desk: Desk) -> None:
    _, source, target = crashed(desk)
    target.write_bytes(CONTENT)
    os.utime(target, ns=(0, source.stat().st_mtime_ns))
    assert restart(desk) is State.VOID
    assert desk.contents() == Counter([CONTENT, CONTENT])


def test_a_stranger_in_the_place_of_a_copy_is_a_stranger(desk: Desk) -> None:
    """The copy was complete and its inode journaled; before it got its name, somebody put an equal file there."""
    row, source, target = crashed(desk)
    make_copy(hidden(target.parent, "part", row), row)
    rewrite(desk, row)
    target.write_bytes(CONTENT)
    os.utime(target, ns=(0, source.stat().st_mtime_ns))
    assert restart(desk) is State.VOID
    assert source.read_bytes() == CONTENT
    assert desk.filed() == {"cat/cat.jpg": CONTENT}, "theirs; the part is gone"


def test_an_inode_number_of_another_file_system_means_nothing(far: Desk) -> None:
    row, source, target = crashed(far)
    target.write_bytes(CONTENT)
    os.utime(target, ns=(0, source.stat().st_mtime_ns))
    far.give_number_again(row.identity.ino, target)
    assert restart(far) is State.VOID
    assert far.contents() == Counter([CONTENT, CONTENT])


@pytest.mark.parametrize("purpose", ["part", "place"])
def test_a_copy_without_its_final_name_is_dropped(desk: Desk, purpose: str) -> None:
    row, _, target = crashed(desk)
    hidden(target.parent, purpose, row).write_bytes(CONTENT[:3])
    assert restart(desk) is State.VOID
    assert desk.contents() == Counter([CONTENT])


@pytest.mark.parametrize("state", [State.INTENT, State.COPIED])
def test_with_a_complete_copy_the_original_goes(desk: Desk, state: State) -> None:
    row, _, target = crashed(desk, state=state)
    make_copy(target, row)
    rewrite(desk, row)
    assert restart(desk) is State.DONE
    assert images(desk.inbox) == []
    assert desk.filed() == {"cat/cat.jpg": CONTENT}


def test_with_a_damaged_copy_the_original_stays(desk: Desk) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, row, b"an im\0\0\0")
    rewrite(desk, row)
    assert restart(desk) is State.VOID
    assert source.read_bytes() == CONTENT
    assert target.read_bytes() == b"an im\0\0\0", "perhaps somebody works on it; it is not ours to delete"


@pytest.mark.parametrize("state", [State.INTENT, State.COPIED])
def test_a_copy_alone_is_done(desk: Desk, state: State) -> None:
    row, source, target = crashed(desk, state=state)
    make_copy(target, row)
    rewrite(desk, row)
    source.unlink()
    assert restart(desk) is State.DONE
    assert desk.filed() == {"cat/cat.jpg": CONTENT}


def test_a_claimed_original_goes_when_its_copy_is_there(desk: Desk) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, row)
    rewrite(desk, row)
    source.rename(hidden(desk.inbox, "claim", row))
    assert restart(desk) is State.DONE
    assert images(desk.inbox) == []
    assert desk.filed() == {"cat/cat.jpg": CONTENT}


@pytest.mark.parametrize("taken", [False, True])
def test_a_claimed_original_without_a_copy_gets_its_name_back(desk: Desk, taken: bool) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, row)
    rewrite(desk, row)
    target.unlink()
    source.rename(hidden(desk.inbox, "claim", row))
    if taken:
        source.write_bytes(b"a new one")
    assert restart(desk) is State.VOID
    there = {path.name: path.read_bytes() for path in images(desk.inbox)}
    assert there == ({"cat.jpg": b"a new one", "cat_2.jpg": CONTENT} if taken else {"cat.jpg": CONTENT})


def test_a_move_by_link_ends_with_one_name(desk: Desk) -> None:
    """Both names stand for one file: the link was made, the old name not yet taken away."""
    _, source, target = crashed(desk)
    target.hardlink_to(source)
    assert restart(desk) is State.DONE
    assert images(desk.inbox) == []
    assert target.stat().st_nlink == 1


def test_a_new_image_under_the_old_name_is_not_dropped(desk: Desk) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, row)
    rewrite(desk, row)
    desk.put(".new", b"new").rename(source)
    assert restart(desk) is State.DONE
    assert source.read_bytes() == b"new"
    assert desk.contents() == Counter([CONTENT, b"new"])


@pytest.mark.parametrize("original_there", [True, False])
def test_a_copy_that_was_being_taken_back(desk: Desk, original_there: bool) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(hidden(target.parent, "drop", row), row)
    rewrite(desk, row)
    if not original_there:
        source.unlink()
    assert restart(desk) is (State.VOID if original_there else State.DONE)
    assert desk.contents() == Counter([CONTENT])
    assert source.exists() is original_there
    assert target.exists() is not original_there


@pytest.mark.parametrize("written", [CONTENT, CONTENT[:3], b""])
def test_a_copy_written_directly_under_its_final_name(desk: Desk, written: bytes) -> None:
    row, source, target = crashed(desk)
    hidden(target.parent, "part", row).write_bytes(CONTENT)
    make_copy(target, row, written)
    rewrite(desk, row)
    complete = written == CONTENT
    assert restart(desk) is (State.DONE if complete else State.VOID)
    assert desk.contents() == Counter([CONTENT])
    assert source.exists() is not complete


def test_a_copy_that_was_about_to_be_written_under_its_final_name(desk: Desk) -> None:
    row, source, target = crashed(desk, copy_ino=NOT_MADE_YET)
    hidden(target.parent, "part", row).write_bytes(CONTENT)
    target.touch()
    assert restart(desk) is State.VOID
    assert desk.contents() == Counter([CONTENT])
    assert source.exists()


@pytest.mark.parametrize("action", ["copy", "link"])
@pytest.mark.parametrize("arrived", [True, False])
def test_copies_and_links_leave_the_original(desk: Desk, action: str, arrived: bool) -> None:
    row, source, target = crashed(desk, action=action)
    if arrived and action == "copy":
        make_copy(target, row)
    elif arrived:
        target.hardlink_to(source)
    rewrite(desk, row)
    assert restart(desk) is (State.DONE if arrived else State.VOID)
    assert source.read_bytes() == CONTENT
    journal = desk.journal()
    assert journal.filed_before(row.identity, source, None) is arrived


def test_neither_here_nor_there_is_said_loudly_and_nothing_is_guessed(desk: Desk, log: list[str]) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(hidden(target.parent, "part", row), row)
    rewrite(desk, row)
    source.unlink()
    assert restart(desk) is State.ORPHAN
    assert len(log) == 1
    assert repr(str(source)) in log[0]
    assert repr(str(target)) in log[0]
    assert desk.contents() == Counter([CONTENT]), "the last bytes there are, though under a hidden name"
    (orphan,) = read_history(desk.journal_path)
    assert orphan.detail is not None
    assert orphan.detail.endswith(f"a copy is kept as {hidden(target.parent, 'part', row).name}")
    assert log[0].endswith(orphan.detail)


def test_of_an_orphan_no_torn_copy_is_kept(desk: Desk, log: list[str]) -> None:
    row, source, target = crashed(desk)
    hidden(target.parent, "part", row).write_bytes(CONTENT[:3])
    source.rename(desk.inbox / "renamed.jpg")
    assert restart(desk) is State.ORPHAN
    assert len(log) == 1
    assert desk.contents() == Counter([CONTENT])


def test_what_cannot_be_seen_waits_for_the_next_start(desk: Desk, log: list[str]) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, row)
    rewrite(desk, row)
    source.unlink()
    away = desk.output.with_name("not mounted")
    desk.output.rename(away)
    assert restart(desk) is State.COPIED
    assert log == []
    away.rename(desk.output)
    assert restart(desk) is State.DONE


def test_an_error_with_one_filing_leaves_the_others_to_be_settled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, first)
    rewrite(desk, first)
    row = Filing(
        state=State.INTENT,
        action="move",
        source=desk.put("dog.jpg", b"dog"),
        identity=Identity.from_stat((desk.inbox / "dog.jpg").stat()),
        folder=desk.output / "cat",
        filed_name="dog.jpg",
    )
    rewrite(desk, row)

    def fail(*_: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("daemon.filing.identity.sha256_of", fail)
    journal = desk.journal()
    assert recover(journal) == Counter([State.COPIED, State.VOID])
    assert source.exists()
    monkeypatch.undo()
    assert recover(journal) == Counter([State.DONE])


def test_a_copy_that_cannot_be_flushed_is_made_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, row)
    rewrite(desk, row)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    assert restart(desk) is State.VOID
    assert source.read_bytes() == CONTENT
    assert desk.filed() == {}


def test_the_machine_was_started_anew_and_device_numbers_differ(desk: Desk) -> None:
    row, _, target = crashed(desk, state=State.COPIED)
    make_copy(target, row)
    row.identity = row.identity._replace(dev=row.identity.dev + 7)
    rewrite(desk, row)
    assert restart(desk) is State.DONE
    assert images(desk.inbox) == []


def test_a_quarantined_image_gets_its_note_after_all(desk: Desk) -> None:
    _, source, target = crashed(desk, reason="truncated", detail="It ends early.", label=None)
    source.rename(target)
    assert restart(desk) is State.DONE
    assert json.loads(target.with_name("cat.jpg.json").read_text())["detail"] == "It ends early."
    assert len(list(target.parent.iterdir())) == 2


@pytest.mark.parametrize("state", [State.INTENT, State.DONE])
@pytest.mark.parametrize("note", [None, ""])
def test_a_note_is_written_that_a_kill_came_before(desk: Desk, state: State, note: str | None) -> None:
    _, source, target = crashed(desk, state=state, reason="truncated", detail="It ends early.", label=None)
    source.rename(target)
    beside = target.with_name("cat.jpg.json")
    if note is not None:
        beside.write_text(note)
    journal = desk.journal()
    recover(journal)
    assert json.loads(beside.read_text())["detail"] == "It ends early."
    beside.write_text("a person's own")
    recover(journal)
    journal.close()
    assert beside.read_text() == "a person's own"
    assert len(list(target.parent.iterdir())) == 2


def test_a_quarantined_image_with_the_longest_name_gets_its_note_too(desk: Desk) -> None:
    row, source, target = crashed(desk, reason="truncated", label=None)
    longest = target.with_name("x" * 251 + ".jpg")
    source.rename(longest)
    row.filed_name = longest.name
    rewrite(desk, row)
    assert restart(desk) is State.DONE
    assert restart_does_nothing(desk)
    assert sorted(path.suffix for path in longest.parent.iterdir()) == [".jpg", ".json"]


def restart_does_nothing(desk: Desk) -> bool:
    journal = desk.journal()
    return not recover(journal)


def test_a_source_that_is_now_something_else_is_left_alone(desk: Desk) -> None:
    row, source, target = crashed(desk, state=State.COPIED)
    make_copy(target, row)
    rewrite(desk, row)
    source.rename(desk.inbox / "kept.jpg")
    source.symlink_to("kept.jpg")
    assert restart(desk) is State.DONE
    assert source.is_symlink()
    assert (desk.inbox / "kept.jpg").read_bytes() == CONTENT
