"""The unit as a person installs it, under a real systemd: start, reload, a hang, restart, stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import Publish
from tests.hazards.manager import Manager, manager
from tests.pictures import KINDS, save
from tests.processes import wait_for

USER = "imagesortd"
LOG = "daemon.log"
#: What a test cannot wait for, and a log in place of the journal.
IN_A_HURRY = """
[Service]
WatchdogSec=2
TimeoutAbortSec=1
RestartSec=0.2
StandardError=append:{log}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def place(tmp_path: Path, publish: Publish) -> Path:
    """What the service files by and from, and a settings file, where its user can reach it."""
    tmp_path.chmod(0o755)
    publish(tmp_path / "checkpoints" / "run")
    (tmp_path / "config.toml").write_text('watch = ["inbox"]\nthreshold = 0.0\n')
    for name in ("inbox", "sorted"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, 64990, 64990)
    return tmp_path


@pytest.fixture
def systemd(place: Path) -> Iterator[Manager]:
    with manager(place, USER) as made:
        yield made


def file_one(place: Path, name: str) -> None:
    """A picture that comes is filed."""
    made = save(KINDS[0], sum(name.encode()), place / "outside" / name)
    os.chown(made, 64990, 64990)
    made.rename(place / "inbox" / name)
    wait_for((place / "sorted" / KINDS[0] / name).exists, f"{name} is filed:\n{(place / LOG).read_text()[-2000:]}")


def test_the_installed_unit_starts_reloads_survives_a_hang_and_stops(systemd: Manager, place: Path) -> None:
    installed = systemd.run(sys.executable, "-m", "daemon", "unit", "--install", "--run-as", USER)
    assert installed.returncode == 0, installed.stderr
    assert "before that" not in installed.stderr
    drop_in = (
        "mkdir -p /etc/systemd/system/imagesortd.service.d && cat > /etc/systemd/system/imagesortd.service.d/t.conf"
    )
    hurry = IN_A_HURRY.format(log=place / LOG)
    systemd.run("sh", "-c", f"{drop_in} <<'E'\n{hurry}E", check=True)
    _, reload, enable = installed.stdout.splitlines()
    assert (reload, enable) == ("systemctl daemon-reload", "systemctl enable --now imagesortd.service")
    systemd.systemctl(*reload.split()[1:])
    assert systemd.run(*enable.split()).returncode == 0, (systemd.show("ExecMainStatus"), (place / LOG).read_text())
    assert systemd.show("ActiveState") == "active"  # which waits for READY=1
    wait_for(lambda: systemd.show("StatusText") == "0 waiting", "the first status")
    first = systemd.show("MainPID")
    file_one(place, "one.png")
    wait_for(lambda: systemd.show("StatusText").startswith("0 waiting, 1 filed"), "the status says so")

    (place / "config.toml").write_text('watch = ["inbox"]\nthreshold = 0.0\nbatch_size = 2\n')
    systemd.systemctl("reload", "imagesortd")
    wait_for(lambda: "took over new settings: batch_size" in (place / LOG).read_text(), "the new settings")
    assert (systemd.show("MainPID"), systemd.show("NRestarts")) == (first, "0")

    systemd.systemctl("kill", "--kill-who=main", "--signal=STOP", "imagesortd")
    wait_for(lambda: systemd.show("NRestarts") == "1", "the watchdog has it restarted")
    wait_for(lambda: systemd.show("ActiveState") == "active", "it is up again")
    assert systemd.show("MainPID") != first
    file_one(place, "two.png")

    systemd.systemctl("kill", "--kill-who=main", "--signal=SEGV", "imagesortd")
    wait_for(lambda: systemd.show("NRestarts") == "2", "it is restarted")
    wait_for(lambda: systemd.show("ActiveState") == "active", "it is up again")
    file_one(place, "three.png")

    systemd.systemctl("restart", "imagesortd")
    file_one(place, "four.png")
    systemd.systemctl("stop", "imagesortd")
    assert (systemd.show("ActiveState"), systemd.show("Result")) == ("inactive", "success")
    assert "stopped: 1 filed" in (place / LOG).read_text()

    (place / "config.toml").write_text('watch = ["inbox"]\nthreshold = 7\n')
    assert systemd.run("systemctl", "start", "imagesortd").returncode != 0
    wait_for(lambda: systemd.show("ActiveState") == "failed", "a mistake in the settings ends it")
    assert "threshold" in (place / LOG).read_text().splitlines()[-1]
