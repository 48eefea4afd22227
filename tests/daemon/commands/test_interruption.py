"""Ctrl-C while a command carries out an operation itself: it ends between two steps, and says all that was done."""

from __future__ import annotations

import json
import os
import signal
from itertools import count
from pathlib import Path

import pytest

from daemon.journal.journal import Journal
from daemon.journal.records import Filing
from daemon.operations import desk as operation_desk
from tests.command_desk import make_office
from tests.filing_desk import images


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_was_done_before_an_interruption_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(operation_desk, "STEP", 4)
    office = make_office(tmp_path, capsys)
    desk = office.desk
    desk.file([desk.decide(desk.put(f"{number}.jpg", b"%d" % number)) for number in range(10)])
    sidecars, images_begun = Journal.sidecars, count(1)

    def interrupting(self: Journal, image_id: int) -> list[Filing]:
        if next(images_begun) == 6:  # in the midst of the second step
            os.kill(os.getpid(), signal.SIGINT)
        return sidecars(self, image_id)

    monkeypatch.setattr(Journal, "sidecars", interrupting)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            office.run("undo", "--last", "10", *options)
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().out
    assert len(images(desk.inbox)) == 8
    if options:
        assert len(json.loads(said)) == 8
    else:
        assert said.count(" -> ") == 8
        assert "8 went back\n" in said
    journal = desk.journal()
    assert len(journal.held()) == 8
    assert journal.interrupted() == []
    journal.close()
