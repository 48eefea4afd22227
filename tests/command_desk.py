"""A desk whose journal lies where the commands look for it, and the commands run in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from daemon.__main__ import main
from daemon.state import journal_path
from models.text.commandline import normalise
from tests.filing_desk import Desk, make_desk


@dataclass
class Office:
    """``run("history", "--limit", "2")`` returns the exit code and what was printed."""

    desk: Desk
    state: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, command: str, *options: str) -> tuple[int, str]:
        place = ["--output", str(self.desk.output), "--state-dir", str(self.state)]
        self.capsys.readouterr()
        code = main(normalise([command, *options, *place]))
        return code, self.capsys.readouterr().out

    def json(self, command: str, *options: str) -> list[dict[str, Any]]:
        found = json.loads(self.run(command, *options, "--json")[1])
        assert isinstance(found, list)
        return found


def make_office(folder: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """An empty desk."""
    desk = make_desk(folder)
    desk.output.mkdir()
    state = folder / "state"
    return Office(replace(desk, journal_path=journal_path(state, desk.output)), state, capsys)
