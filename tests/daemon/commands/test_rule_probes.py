"""What ``doctor`` says of outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from daemon import config, state
from daemon.commands.rule_probes import output_findings
from daemon.config import Settings
from daemon.files.output_mark import REMEMBERED, OutputMark


def states(settings: Settings) -> list[str]:
    return [finding.state for finding in output_findings(settings)]


def test_an_output_that_the_unit_files_into_is_known_by_the_state_folder_of_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(state, "SYSTEM_STATE", tmp_path / "system")
    settings = config.load({})
    settings.output.mkdir()
    journal = state.journal_path(tmp_path / "system", settings.output)
    mark = OutputMark(settings.output, journal.parent)
    with mark.at_work():
        journal.touch()
    mark.release()
    assert "wrong" not in states(settings)
    memory = journal.parent / REMEMBERED
    memory.write_text(json.dumps({**json.loads(memory.read_bytes()), "number": "that of another folder"}))
    assert states(settings) == ["wrong"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_class_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load({})
    closed = settings.output / "고양이"
    closed.mkdir(parents=True)
    (settings.output / "dog").mkdir()
    (settings.output / "lost+found").mkdir(mode=0)
    closed.chmod(0o500)
    (finding,) = [finding for finding in output_findings(settings) if finding.state == "wrong"]
    assert finding.text == f"{closed} cannot be written: images that belong there stay in the inbox"
