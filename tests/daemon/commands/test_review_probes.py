"""What `doctor` says of the review page."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.commands import review_probes
from daemon.config import Settings
from daemon.review.keys import KEY_FILE, Keys, set_password
from daemon.state import journal_path


def _settings(tmp_path: Path) -> tuple[Settings, Path]:
    settings = Settings(output=tmp_path / "sorted", state_dir=tmp_path / "state")
    return settings, journal_path(tmp_path / "state", settings.output).parent


def test_a_page_that_was_never_used_is_no_finding(tmp_path: Path) -> None:
    assert list(review_probes.review_findings(_settings(tmp_path)[0])) == []


def test_a_key_that_others_may_read_is_wrong(tmp_path: Path) -> None:
    settings, state = _settings(tmp_path)
    Keys.load(state)
    set_password(state, "a long password")
    Keys.load(state)
    assert [finding.state for finding in review_probes.review_findings(settings)] == ["fine"]
    (state / KEY_FILE).chmod(0o644)
    (finding,) = [finding for finding in review_probes.review_findings(settings) if finding.state == "wrong"]
    assert KEY_FILE in finding.text


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_probes, "find_spec", lambda name: None if name == "uvicorn" else name)
    (finding,) = review_probes.review_findings(_settings(tmp_path)[0])
    assert "uvicorn" in finding.text
