"""The commands undo and retry, on real folders."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from daemon.filing.duplicates import Duplicates
from daemon.filing.filer import Filer, Status
from daemon.journal.journal import Journal, JournalBusy, read_history
from daemon.journal.records import Filing, State
from daemon.monitoring.messages import shown
from daemon.state import lock
from models.errors import UserError
from tests.command_desk import Office, make_office
from tests.filing_desk import images, tree

#: Another folder would be no help, which a daemon would be told of.
BUSY = r"^a daemon is at work on .*sorted and does not answer this command: try again in a moment, or stop it first"


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    return make_office(tmp_path, capsys)


def file(office: Office, *names: str, **more: str) -> None:
    desk = office.desk
    desk.file([desk.decide(desk.put(name, os.fsencode(name)), **more) for name in names])


def inbox(office: Office) -> list[str]:
    return [path.name for path in images(office.desk.inbox)]


def test_a_left_duplicate_is_looked_at_again_where_its_path_is_given(office: Office) -> None:
    file(office, "a.jpg")
    path = office.desk.put("b.jpg", b"a.jpg")

    def look() -> Status | None:
        return office.desk.file([office.desk.decide(path)], duplicates=Duplicates("leave"))[0].status

    assert [look(), look()] == [Status.LEFT, Status.ALREADY]
    nothing = f"nothing that is filed matches; to have the duplicate {path} looked at again, give its path: "
    assert office.run("undo", "--file", "b.jpg") == (0, f"{nothing}python -m daemon undo --file {path}\n")
    assert office.run("undo", "--file", "inbox/b.jpg") == (0, f"{path} will be classified again\n1 went back\n")
    assert look() is Status.LEFT, "the other one is still there"
    assert office.run("undo", "--last", "1")[0] == 0
    assert inbox(office) == ["a.jpg", "b.jpg"], "the last image that was filed"
    office.run("undo", "--file", str(path))
    assert look() is Status.FILED


def test_the_last_go_back(office: Office) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        file(office, name)
    code, text = office.run("undo", "--last", "2")
    assert code == 0
    assert inbox(office) == ["b.jpg", "c.jpg"]
    assert text.splitlines() == [
        f"{office.desk.output}/cat/c.jpg -> {office.desk.inbox}/c.jpg",
        f"{office.desk.output}/cat/b.jpg -> {office.desk.inbox}/b.jpg",
        "2 went back",
        "What is back in an inbox is held: it is not filed again until it changes, is renamed, or is released by "
        f"python -m daemon release --output {office.desk.output} --state-dir {office.state}.",
    ]
    assert office.run("undo", "--last", "2")[0] == 0
    assert inbox(office) == ["a.jpg", "b.jpg", "c.jpg"], "what is undone does not count again"
    assert {row["state"] for row in office.json("history")} == {"undone"}


@pytest.mark.parametrize("content", [b"a stranger's", b"b.jpg"])
def test_another_file_that_was_given_the_same_inode_number_stays(office: Office, content: bytes) -> None:
    """Its owner deleted the image, and put one there that has its name, and perhaps its size."""
    file(office, "a.jpg")
    there = office.desk.output / "cat" / "a.jpg"
    office.desk.replace_by_stranger(there, content)
    sentence = f"not done: {there} is another file now, and stays"
    assert office.run("undo", "--last", "1", "--dry-run") == (3, f"{sentence}\n0 would go back, 1 would stay\n")
    assert office.run("undo", "--last", "1") == (3, f"{sentence}\n0 went back, 1 stayed\n")
    assert there.read_bytes() == content
    assert inbox(office) == []


def test_chosen_by_file_run_checkpoint_and_time(office: Office) -> None:
    file(office, "a.jpg", "b.jpg", model_digest="1" * 64)
    file(office, "c.jpg", "d.jpg", model_digest="2" * 64)
    (newest,) = {str(row["run"]) for row in office.json("history", "--checkpoint", "2222")}
    assert office.run("undo", "--file", "sorted/cat/c.jpg")[0] == 0
    assert inbox(office) == ["c.jpg"]
    assert office.run("undo", "--run", newest)[0] == 0
    assert inbox(office) == ["c.jpg", "d.jpg"]
    assert office.run("undo", "--since", "2999-01-01") == (0, "nothing that is filed matches\n")
    assert office.run("undo", "--checkpoint", "1111", "--since", "2001-01-01")[0] == 0
    assert inbox(office) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


@pytest.mark.parametrize("folder", ["cat", "고양이", "a%b_c", "a\\b"])
def test_a_file_is_found_by_the_path_that_log_and_history_print(office: Office, folder: str) -> None:
    """``cat/a.jpg``, wherever it is called from; no folder whose name only ends so."""
    desk = office.desk
    for each in (folder, f"not{folder}"):
        desk.file([desk.decide(desk.put("a.jpg", each.encode()), each, label=each)])
    for spelled in (f"{folder}/a.jpg", f"./{normalize('NFD', folder)}/a.jpg", f"sorted/{folder}/a.jpg"):
        assert office.run("undo", "--file", spelled, "--dry-run")[1].count("would go back") == 1, spelled
        assert office.run("undo", "--file", spelled, "--dry-run")[1].startswith(f"{desk.output / folder}/a.jpg")
    assert office.run("undo", "--file", f"{folder}/b.jpg") == (0, "nothing that is filed matches\n")
    assert office.run("undo", "--file", f"/{folder}/a.jpg") == (0, "nothing that is filed matches\n")
    assert office.run("undo", "--file", f"{folder}/a.jpg")[0] == 0
    assert [path.read_bytes() for path in images(desk.inbox)] == [folder.encode()]


def test_the_path_of_a_file_that_is_there_is_that_file_only(office: Office) -> None:
    file(office, "a.jpg")
    other = office.desk.output / "cat" / "sorted" / "cat"
    desk = office.desk
    desk.file([desk.decide(desk.put("a.jpg", b"another"), "cat/sorted/cat")])
    assert (other / "a.jpg").exists()
    assert office.run("undo", "--file", "sorted/cat/a.jpg")[0] == 0
    assert (other / "a.jpg").exists()


def test_a_file_is_found_by_another_name_of_its_folder(office: Office, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(office.desk.output)
    file(office, "a.jpg", "b.jpg")
    assert office.run("undo", "--file", "link/../sorted/cat/a.jpg")[0] == 0
    assert office.run("undo", "--file", str(tmp_path / "link" / "cat" / "b.jpg"))[0] == 0
    assert inbox(office) == ["a.jpg", "b.jpg"]


def test_what_cannot_be_undone_is_said_and_left(office: Office) -> None:
    file(office, "gone.jpg", "corrected.jpg", "replaced.jpg", "fine.jpg")
    cat, dog = office.desk.output / "cat", office.desk.output / "dog"
    dog.mkdir()
    (cat / "gone.jpg").unlink()
    (cat / "corrected.jpg").rename(dog / "renamed.jpg")
    (cat / "other").write_bytes(b"a stranger")
    (cat / "other").rename(cat / "replaced.jpg")
    code, text = office.run("undo", "--run", "last")
    assert code == 3
    assert f"not done: {cat}/gone.jpg is no longer there\n" in text
    assert (
        f"not done: {cat}/corrected.jpg was corrected: somebody moved it to {dog}/renamed.jpg, and there it s" in text
    )
    assert f"not done: {cat}/replaced.jpg is another file now, and stays\n" in text
    assert "1 went back, 3 stayed\n" in text
    assert office.desk.contents() == Counter([b"corrected.jpg", b"a stranger", b"fine.jpg"])
    assert inbox(office) == ["fine.jpg"]


def test_a_file_that_only_has_the_inode_is_no_correction(office: Office) -> None:
    file(office, "a.jpg")
    dog = office.desk.output / "dog"
    dog.mkdir()
    (office.desk.output / "cat/a.jpg").rename(dog / "a.jpg")
    (dog / "a.jpg").write_bytes(b"another picture in the same inode")
    assert "is no longer there" in office.run("undo", "--last", "1")[1]


@pytest.mark.parametrize("action", ["move", "copy"])
def test_a_dry_run_says_the_same_and_touches_nothing(office: Office, tmp_path: Path, action: str) -> None:
    desk = office.desk
    paths = [desk.put(name, os.fsencode(name)) for name in ("a.jpg", "b.jpg", "c.jpg")]
    desk.file([desk.decide(path) for path in paths], action=action)  # type: ignore[arg-type]
    (desk.output / "cat/c.jpg").unlink()
    before = tree(desk.inbox) | tree(desk.output)
    planned = office.json("undo", "--last", "3", "--dry-run")
    assert tree(desk.inbox) | tree(desk.output) == before
    done = office.json("undo", "--last", "3")
    assert [row["back"] for row in planned] == [row["back"] for row in done]
    assert [row["outcome"] for row in planned] == ["gone", "planned", "planned"]
    assert [row["outcome"] for row in done] == ["gone", "undone", "undone"]


def test_a_dry_run_gives_every_name_once(office: Office) -> None:
    for _ in range(2):
        file(office, "a.jpg")
    office.desk.put("a.jpg")
    backs = [Path(str(row["back"])).name for row in office.json("undo", "--last", "2", "--dry-run")]
    assert backs == ["a_2.jpg", "a_3.jpg"]


@pytest.mark.parametrize("command", [["undo", "--last", "1"], ["retry"]])
def test_not_while_a_daemon_would_file_them_again(office: Office, command: list[str]) -> None:
    desk = office.desk
    desk.file([desk.decide(desk.put("torn.jpg"), "quarantine/truncated", reason="truncated", label=None)])
    file(office, "a.jpg")
    with lock(office.state, [office.desk.output]):
        with pytest.raises(UserError, match=BUSY):
            office.run(*command)
        assert office.run(*command, "--dry-run")[0] == 0
    with lock(office.state, [office.desk.inbox]), pytest.raises(UserError, match="at work on .*inbox"):
        office.run(*command)
    assert inbox(office) == []
    assert office.run(*command)[0] == 0


def test_a_daemon_on_another_inbox_is_no_hindrance(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    file(office, "a.jpg")
    elsewhere = office.desk.inbox.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("IMAGESORTD_WATCH", str(elsewhere))
    with lock(office.state, [elsewhere]):
        assert office.run("undo", "--last", "1")[0] == 0
    assert inbox(office) == ["a.jpg"]


@pytest.mark.parametrize("command", [["undo", "--last", "1"], ["retry"]])
def test_a_daemon_with_its_own_state_is_recognised(office: Office, command: list[str], tmp_path: Path) -> None:
    file(office, "a.jpg")
    with (
        lock(tmp_path / "other", [office.desk.output]),
        pytest.raises(UserError, match=BUSY),
    ):
        office.run(*command)


def test_something_must_be_chosen(office: Office) -> None:
    with pytest.raises(UserError, match="say what to undo: --last N"):
        office.run("undo")


def test_a_journal_that_is_held_is_a_sentence(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(self: Journal) -> None:
        raise JournalBusy("database is locked")

    file(office, "a.jpg")
    monkeypatch.setattr(Journal, "interrupted", busy)
    with pytest.raises(UserError, match="cannot be written now"):
        office.run("undo", "--last", "1")


def test_a_journal_that_is_held_in_the_middle_is_a_sentence_and_the_next_undo_does_the_rest(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(self: Journal, image_id: int) -> None:
        raise JournalBusy("database is locked")

    os.utime(office.desk.put("a.xmp", b"stars"), (1e9, 1e9))
    file(office, "a.jpg")
    assert inbox(office) == []
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "sidecars", busy)
        with pytest.raises(UserError, match="run this again for what is left"):
            office.run("undo", "--last", "1")
    assert inbox(office) == []
    assert office.run("undo", "--last", "1")[0] == 0
    assert inbox(office) == ["a.jpg", "a.xmp"]


def test_the_quarantine_is_tried_again(office: Office) -> None:
    desk = office.desk
    for name, reason in (("torn.jpg", "truncated"), ("text.jpg", "not-an-image"), ("fine.jpg", None)):
        folder = f"quarantine/{reason}" if reason else "cat"
        desk.file([desk.decide(desk.put(name, os.fsencode(name)), folder, reason=reason, label=None)])
    (row,) = office.json("retry", "--reason", "truncated", "--dry-run")
    assert (row["reason"], row["outcome"]) == ("truncated", "planned")
    assert office.run("retry", "--reason", "truncated")[0] == 0
    assert inbox(office) == ["torn.jpg"]
    assert not list((desk.output / "quarantine/truncated").glob("*.json"))
    assert office.run("retry")[0] == 0
    assert inbox(office) == ["text.jpg", "torn.jpg"]
    assert desk.filed() == {"cat/fine.jpg": b"fine.jpg"}


def test_a_refused_image_is_looked_at_again(office: Office) -> None:
    desk = office.desk
    path = desk.put("torn.jpg")
    refused = desk.decide(path, "quarantine/truncated", reason="truncated", label=None)
    assert [each.status for each in desk.file([refused], action="copy")] == [Status.REFUSED]
    assert [each.status for each in desk.file([refused], action="copy")] == [Status.ALREADY]
    code, text = office.run("retry")
    assert (code, text.splitlines()[0]) == (0, f"{path} will be classified again")
    assert [each.status for each in desk.file([refused], action="copy")] == [Status.REFUSED]


def test_what_a_crash_left_half_done_is_put_right_first(office: Office) -> None:
    file(office, "a.jpg")
    journal = Journal(office.desk.journal_path)
    (row,) = read_history(office.desk.journal_path)
    row.state = State.INTENT
    journal.write([row])
    journal.close()
    assert office.run("undo", "--last", "1")[0] == 0
    assert inbox(office) == ["a.jpg"]


def test_that_nothing_meets_it_is_said(office: Office) -> None:
    file(office, "a.jpg")
    file(office, "torn.jpg", folder="quarantine/truncated", reason="truncated")
    said = (0, "nothing that is filed matches\n")
    assert office.run("undo", "--file", "b.jpg") == said
    assert office.run("undo", "--file", "b.jpg", "--dry-run") == said
    assert office.run("undo", "--file", "b.jpg", "--json") == (0, "[]\n")
    assert office.run("retry", "--reason", "corrupt") == (
        0,
        "no image is in the quarantine for this reason; the possible reasons are corrupt, crashed-decoder, "
        "empty, not-an-image, sidecar, timeout, too-large, truncated\n",
    )
    assert office.run("retry")[0] == 0
    assert office.run("retry") == (0, "there is no image that could not be read\n")


def test_a_reason_that_does_not_exist_is_a_sentence(office: Office) -> None:
    file(office, "torn.jpg", folder="quarantine/truncated", reason="truncated")
    with pytest.raises(UserError, match="there is no reason 'foo': give one of corrupt, .*, truncated$"):
        office.run("retry", "--reason", "truncated", "--reason", "foo")
    assert inbox(office) == []
    (office.desk.output / "quarantine" / "foo").mkdir()
    assert office.run("retry", "--reason", "foo")[0] == 0, "somebody keeps images there"


@pytest.mark.parametrize("name", ["새\n줄.jpg", "it's\t\\n.jpg", "$'a'\x1b0.jpg", os.fsdecode(b"caf\xe9\r.jpg")])
def test_a_name_can_be_pasted_from_the_history_into_a_shell(office: Office, name: str) -> None:
    file(office, name)
    file(office, shown(name))  # the log would show both alike
    _, text = office.run("history", "--file", name)
    came, placed = re.findall(r"\$'(?:[^'\\]|\\.)*'", text)
    for pasted, command in ((came, "history"), (placed.replace("$'", f"$'{office.desk.output}/"), "undo")):
        done = subprocess.run(["bash", "-c", f"printf %s {pasted}"], capture_output=True, check=True)
        code, said = office.run(command, "--file", os.fsdecode(done.stdout))
        assert code == 0
    assert inbox(office) == [name]
    away, back = re.findall(r"\$'(?:[^'\\]|\\.)*'", said)
    assert said.startswith(f"{away} -> {back}\n"), "undo says it so as well"
    done = subprocess.run(["bash", "-c", f"test ! -e {away} && ls {back}"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_last_is_the_last_that_was_filed_though_the_clock_was_set_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = office.desk
    desk.file_one(desk.put("first.jpg", b"1"))
    journal = desk.journal()
    decision = desk.decide(desk.put("second.jpg", b"2"))
    write = journal.write

    def set_back(filings: list[Filing], **more: Any) -> None:
        for filing in filings:
            filing.time = datetime(2020, 1, 1, tzinfo=UTC)
        write(filings, **more)

    monkeypatch.setattr(journal, "write", set_back)
    Filer(desk.output, journal=journal).file([decision])
    journal.close()
    assert office.run("undo", "--last", "1")[0] == 0
    assert inbox(office) == ["second.jpg"]
