"""The quarantine is tried again even when the journal of it is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from models.errors import UserError
from tests.command_desk import Office, make_office
from tests.filing_desk import images, tree


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Office:
    """Two images in quarantine, one of them from a folder in the inbox, and one that is filed; no journal."""
    monkeypatch.chdir(tmp_path)
    office = make_office(tmp_path, capsys)
    desk = office.desk
    (desk.inbox / "camera").mkdir()
    for name, reason in (("camera/torn.jpg", "truncated"), ("text.jpg", "not-an-image"), ("fine.jpg", None)):
        folder = f"quarantine/{reason}" if reason else "cat"
        desk.file([desk.decide(desk.put(name, name.encode()), folder, reason=reason, label=None)])
    shutil.rmtree(office.state)
    return office


def inbox(office: Office) -> list[str]:
    return [str(path.relative_to(office.desk.inbox)) for path in images(office.desk.inbox)]


def note(office: Office, name: str) -> Path:
    return next(office.desk.output.glob(f"quarantine/*/{name}.json"))


def test_they_go_back_to_where_they_came_from(office: Office) -> None:
    code, text = office.run("retry")
    assert code == 0
    assert "2 went back" in text
    assert inbox(office) == ["camera/torn.jpg", "text.jpg"]
    assert list(office.desk.output.glob("quarantine/*/*.j*")) == []
    assert office.desk.filed() == {"cat/fine.jpg": b"fine.jpg"}
    assert {(row["state"], row["reason"]) for row in office.json("history")} == {
        ("undone", "truncated"),
        ("undone", "not-an-image"),
    }
    assert office.run("retry")[1] == "there is no image that could not be read\n"


def test_a_dry_run_says_so_and_touches_nothing(office: Office, tmp_path: Path) -> None:
    before = tree(tmp_path)
    rows = office.json("retry", "--dry-run", "--reason", "truncated")
    assert [(row["outcome"], row["back"]) for row in rows] == [
        ("planned", str(office.desk.inbox / "camera" / "torn.jpg"))
    ]
    assert tree(tmp_path) == before


def test_a_new_journal_that_knows_some_of_them(office: Office) -> None:
    desk = office.desk
    desk.file([desk.decide(desk.put("new.jpg"), "quarantine/truncated", reason="truncated", label=None)])
    assert len(office.json("retry", "--dry-run")) == 3
    assert office.run("retry")[0] == 0
    assert inbox(office) == ["camera/torn.jpg", "new.jpg", "text.jpg"]


@pytest.mark.parametrize("said", ["/etc/torn.jpg", "inbox/../elsewhere/torn.jpg", "inbox/gone/torn.jpg", "..", 7, None])
def test_a_note_cannot_send_them_elsewhere(office: Office, tmp_path: Path, said: object) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = note(office, "torn.jpg")
    written = json.loads(path.read_text()) | {"source": said}
    path.write_text(json.dumps(written))
    assert office.run("retry", "--reason", "truncated")[0] == 0
    assert inbox(office) == ["torn.jpg"]
    assert not path.exists(), "it is known by the content"


@pytest.mark.parametrize("damage", ["", "[]", "[" * 100_000])
def test_without_a_note_they_go_to_the_inbox(office: Office, damage: str) -> None:
    path = note(office, "torn.jpg")
    path.write_text(damage)
    assert office.run("retry", "--reason", "truncated")[0] == 0
    assert inbox(office) == ["torn.jpg"]
    assert path.exists(), "whose it is cannot be seen"


def test_what_is_no_image_of_ours_stays(office: Office) -> None:
    folder = office.desk.output / "quarantine" / "truncated"
    (folder / "more").mkdir()
    (folder / "link.jpg").symlink_to(folder / "torn.jpg")
    (folder / ".hidden.jpg").write_bytes(b"hidden")
    (folder.parent / "file").write_bytes(b"")
    assert [Path(str(row["destination"])).name for row in office.json("retry", "--dry-run")] == ["text.jpg", "torn.jpg"]


def test_without_an_inbox_it_is_a_sentence(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESORTD_WATCH", "/nowhere/at/all")
    with pytest.raises(UserError, match="the inbox to bring them back to, /nowhere/at/all, is not there"):
        office.run("retry")
    assert len(list(office.desk.output.glob("quarantine/*/*.jpg"))) == 2


def test_without_quarantine_and_journal_it_is_a_sentence(office: Office) -> None:
    shutil.rmtree(office.desk.output / "quarantine")
    with pytest.raises(UserError, match="no journal"):
        office.run("retry")
