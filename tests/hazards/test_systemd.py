"""The unit as it is installed, under the machine's systemd and under a person's own: start, reload, a hang, restart."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.conftest import Publish
from tests.hazards.manager import UID, USER, Manager, manager
from tests.pictures import KINDS, save
from tests.processes import wait_for

LOG = "daemon.log"
#: What a test cannot wait for, and a log in place of the journal.
IN_A_HURRY = """
[Service]
WatchdogSec=2
TimeoutAbortSec=1
RestartSec=0.2
StandardError=append:{log}
"""

CAP_LEASE = 28

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def place(tmp_path: Path, publish: Publish) -> Path:
    """What the service files by and from, and a settings file, where its user can reach it."""
    tmp_path.chmod(0o755)
    publish(tmp_path / "checkpoints" / "run")
    (tmp_path / "config.toml").write_text('watch = ["inbox"]\nthreshold = 0.0\n')
    for name in ("inbox", "sorted"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, UID, UID)
    return tmp_path


@pytest.fixture
def systemd(place: Path) -> Iterator[Manager]:
    with manager(place) as made:
        yield made


@pytest.fixture
def own(systemd: Manager, place: Path) -> Manager:
    """The one of somebody whose home the place is."""
    os.chown(place, UID, UID)
    return systemd.log_in()


def file_one(place: Path, name: str) -> None:
    """A picture that comes is filed."""
    made = save(KINDS[0], sum(name.encode()), place / "outside" / name)
    os.chown(made, UID, UID)
    made.rename(place / "inbox" / name)
    wait_for((place / "sorted" / KINDS[0] / name).exists, f"{name} is filed:\n{(place / LOG).read_text()[-2000:]}")


def install(systemd: Manager, *arguments: str) -> list[str]:
    """Install the unit, run the commands that are to start it, and so start it; returns all that was said."""
    installed = systemd.run(sys.executable, "-m", "daemon", "unit", "--install", *systemd.flags, *arguments)
    assert installed.returncode == 0, installed.stderr
    said = installed.stdout.splitlines()
    unit = said[0].split()[0]
    systemd.write(f"{unit}.d/hurry.conf", IN_A_HURRY.format(log=systemd.folder / LOG))
    systemctl = ["systemctl", *systemd.flags]
    commands = [line for line in said if line.startswith("systemctl")]
    assert [line.split() for line in commands] == [
        [*systemctl, "daemon-reload"],
        [*systemctl, "enable", "--now", "imagesortd.service"],
    ]
    for command in commands:
        done = systemd.run(*command.split())
        assert done.returncode == 0, (done.stderr, systemd.show("ExecMainStatus"), systemd.run("cat", LOG).stdout)
    return said


def live_through_it_all(systemd: Manager, place: Path) -> None:
    """Start, reload, a hang, a crash, restart, stop, and a mistake in the settings."""
    assert systemd.show("ActiveState") == "active"  # which waits for READY=1
    wait_for(lambda: systemd.show("StatusText") == "0 waiting", "the first status")
    first = systemd.show("MainPID")
    file_one(place, "one.png")
    wait_for(lambda: systemd.show("StatusText").startswith("0 waiting, 1 in its class"), "the status says so")

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
    assert "stopped: 1 in its class" in (place / LOG).read_text()

    (place / "config.toml").write_text('watch = ["inbox"]\nthreshold = 7\n')
    assert systemd.run("systemctl", *systemd.flags, "start", "imagesortd").returncode != 0
    wait_for(lambda: systemd.show("ActiveState") == "failed", "a mistake in the settings ends it")
    assert "threshold" in (place / LOG).read_text().splitlines()[-1]


def test_the_installed_unit_starts_reloads_survives_a_hang_and_stops(systemd: Manager, place: Path) -> None:
    install(systemd, "--run-as", USER)
    live_through_it_all(systemd, place)


def capabilities(systemd: Manager, pid: str | int) -> set[str]:
    """What a process may do now, and what a program that it starts could."""
    lines = systemd.run("cat", f"/proc/{pid}/status", check=True).stdout.splitlines()
    return {line.partition(":")[2].strip() for line in lines if line.startswith(("CapEff", "CapAmb"))}


def test_the_service_knows_of_an_open_file_of_another_user(systemd: Manager, place: Path) -> None:
    """Without events and without patience; and no decoder nor command has the capability that it takes."""
    told = place / "sorted" / "told"
    (place / "config.toml").write_text(
        'watch = ["inbox"]\nthreshold = 0.0\npoll = true\nsettle_seconds = 0.2\nwriter_patience_seconds = 0\n'
        f"on_filed = \"sh -c 'grep Cap /proc/self/status > {told}'\"\n"
    )
    install(systemd, "--run-as", USER)
    main = systemd.show("MainPID")
    assert capabilities(systemd, main) == {f"{1 << CAP_LEASE:016x}", f"{0:016x}"}
    below = systemd.run("pgrep", "--parent", main, check=True).stdout.split()
    assert below
    assert all(capabilities(systemd, pid) == {f"{0:016x}"} for pid in below)
    made, target = save(KINDS[0], 1, place / "outside" / "one.png"), place / "inbox" / "one.png"
    with target.open("wb") as file:
        file.write(made.read_bytes())
        file.flush()
        wait_for(lambda: "a program has it open for writing" in (place / LOG).read_text(), "it waits for its writer")
        assert target.exists()
    wait_for((place / "sorted" / KINDS[0] / "one.png").exists, f"it is filed:\n{(place / LOG).read_text()[-2000:]}")
    wait_for(lambda: told.exists() and "CapAmb" in told.read_text(), "the command is told")
    said = dict(line.split() for line in told.read_text().splitlines())
    assert {said[name] for name in ("CapPrm:", "CapEff:", "CapAmb:")} == {f"{0:016x}"}


def test_so_does_the_unit_of_somebody_without_rights(systemd: Manager, own: Manager, place: Path) -> None:
    said = install(own)
    verified = own.run("systemd-analyze", "--user", "verify", "imagesortd.service")
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    process = own.run("cat", f"/proc/{own.show('MainPID')}/status", check=True).stdout.splitlines()
    assert "\t".join(["Uid:", *4 * [str(UID)]]) in process
    assert {"CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} <= set(process)
    live_through_it_all(own, place)
    made = [place / ".local" / "state" / "imagesortd", place / ".cache" / "imagesortd"]
    assert [(path.is_dir(), path.stat().st_uid) for path in made] == [(True, UID)] * 2

    (place / "config.toml").write_text('watch = ["inbox"]\nthreshold = 0.0\n')
    systemd.systemctl("restart", "session.service")  # with all that runs in it
    wait_for(lambda: own.show("ActiveState") == "active", "it starts with the next session")
    file_one(place, "five.png")
    systemd.systemctl("stop", "session.service")
    assert "stopped: 1 in its class" in (place / LOG).read_text().splitlines()[-1]
    assert "# loginctl enable-linger" in said
