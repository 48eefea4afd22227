"""An image that cannot be read goes into quarantine with a note beside it, or stays where images are copied."""

from __future__ import annotations

import errno
import json
import os

import pytest

from daemon.filing.filer import Action, Status
from tests.filing_desk import Desk


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

    monkeypatch.setattr("daemon.filing.quarantine_notes.create", full)
    assert desk.file_one(desk.put(), "quarantine/corrupt", reason="corrupt").status is Status.FILED
