"""The unit of the review page."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.commands import unit
from daemon.commands.review_unit import REVIEW_NAME


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["unit", "--review", *arguments]) == 0
    return capsys.readouterr().out


def test_it_serves_the_page_on_this_machine_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = _printed(capsys, "--watch", str(tmp_path / "in box"), "--output", str(tmp_path / 'a $100% "sort"'))
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert " -m daemon review --output " in command
    assert '$$100%% \\"sort\\"' in command
    assert "IPAddressDeny=any" in text
    assert "IPAddressAllow=localhost" in text
    assert "Type=exec" in text
    assert "WatchdogSec" not in text
    assert "CAP_LEASE" not in text
    assert "NoNewPrivileges=yes" in text
    assert f"IMAGESORTD_WATCH={tmp_path / 'in box'}" in text


def test_it_is_installed_beside_that_of_the_daemon(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "SYSTEM_FOLDER", tmp_path)
    says = _printed(capsys, "--install", "--output", str(tmp_path / "sorted"))
    assert (tmp_path / REVIEW_NAME).exists()
    assert not (tmp_path / unit.NAME).exists()
    assert f"enable --now {REVIEW_NAME}" in says
    assert "review --link" in says


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("more", [[], ["--user"]])
def test_systemd_understands_it(capsys: pytest.CaptureFixture[str], tmp_path: Path, more: list[str]) -> None:
    file = tmp_path / REVIEW_NAME
    file.write_text(_printed(capsys, *more, "--output", str(tmp_path / "a b"), "--run-as", "root"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    problems = [line for line in done.stderr.splitlines() if REVIEW_NAME in line and "Unknown" in line]
    assert problems == []
