"""The unit of the review page."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.commands import unit
from daemon.commands.review_unit import REVIEW_NAME
from daemon.review.serving import listen, parse_address
from daemon.state import journal_path
from models.errors import UserError
from tests.filing_desk import make_desk


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


PROXY = ["--host", "photos.example", "--prefix", "/photos", "--listen"]


def test_it_listens_at_a_socket_for_a_proxy_and_then_needs_no_network(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = ["--output", str(tmp_path / "sorted")]
    assert main(["unit", "--review", *output, *PROXY, "unix:/var/lib/page/page.socket"]) == 0
    text, steps = capsys.readouterr()
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    door = '--listen "unix:/var/lib/page/page.socket" --host "photos.example" --prefix "/photos"'
    assert command.endswith(door)
    assert 'ReadWritePaths="/var/lib/page"' in text
    assert "RestrictAddressFamilies=AF_UNIX\n" in text
    assert "IPAddressAllow" not in text
    assert "install -d -o imagesortd -g www-data -m 2750 /var/lib/page" in steps
    assert "--link" in steps
    assert "unix:/var/lib/page/page.socket" in steps.rpartition("--link")[2]
    hidden = _printed(capsys, *output, *PROXY, "unix:/home/me/page/page.socket")
    assert 'BindPaths="/home/me/page"' in hidden
    assert "BindPaths=" not in _printed(capsys, "--user", *output, *PROXY, "unix:/home/me/page/page.socket")


def test_the_command_for_a_link_is_of_the_same_output_and_journal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is printed to be pasted: from any folder, it lets a browser in."""
    desk = replace(make_desk(tmp_path), journal_path=journal_path(tmp_path / "my state", tmp_path / "sorted"))
    desk.output.mkdir()
    desk.file_one(desk.put())
    config = tmp_path / "my config.toml"
    config.write_text(f'output = "{desk.output}"\nstate_dir = "{tmp_path / "my state"}"\n')
    with listen(parse_address("127.0.0.1:0")) as listener:
        at = f"127.0.0.1:{listener.getsockname()[1]}"
        assert main(["unit", "--user", "--review", "--config", str(config), "--listen", at]) == 0
        command = shlex.split(capsys.readouterr().err.splitlines()[-1])
        assert main(command[command.index("review") :]) == 0
    assert capsys.readouterr().out.startswith(f"http://{at}/enter/")


def test_where_it_is_reached_is_checked_before_the_unit_is_written(tmp_path: Path) -> None:
    output = ["--output", str(tmp_path / "sorted")]
    with pytest.raises(UserError, match="--host photos.example"):
        main(["unit", "--review", *output, "--listen", "unix:/run/page.socket"])
    with pytest.raises(UserError, match="give --review, too"):
        main(["unit", *output, *PROXY, "unix:/run/page.socket"])
    with pytest.raises(UserError, match="is not an address to listen on"):
        main(["unit", "--review", *output, *PROXY, "nonsense"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("more", [[], ["--user"], [*PROXY, "unix:/var/lib/page/page.socket"]])
def test_systemd_understands_it(capsys: pytest.CaptureFixture[str], tmp_path: Path, more: list[str]) -> None:
    file = tmp_path / REVIEW_NAME
    file.write_text(_printed(capsys, *more, "--output", str(tmp_path / "a b"), "--run-as", "root"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    problems = [line for line in done.stderr.splitlines() if REVIEW_NAME in line and "Unknown" in line]
    assert problems == []
