"""Write the steps that set the service up, as comments and commands that can be pasted into a terminal.

Whoever brings pictures is in the group of the service: the inbox, the output and the checkpoints belong to that group,
and so does all that is made in them.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Settings
from models.text.invocation import spelled
from models.text.language import tr

#: Anybody may read it, the group may write, and what is made inside belongs to the group.
_SHARED_MODE = 0o2775
_FOR_THE_GROUP = stat.S_ISGID | stat.S_IRWXG

_CACHE = Path("/var/cache/imagesortd")


@dataclass(frozen=True)
class Setup:
    """Setup that `unit` is asked for.

    ``run_as``: the user and group of the service, None for a user's own. ``options``: what the daemon's commands need
    to mean the same settings, and ``environment`` what they need beside them; ``unit_options`` are those of the unit.
    """

    settings: Settings
    unit: str
    run_as: str | None
    options: Sequence[str]
    unit_options: Sequence[str]
    environment: Mapping[str, str]

    @property
    def sudo(self) -> str:
        """Return what stands before a command that needs root; with sudo, it is pasted into a terminal without root."""
        return "" if self.run_as is None or (os.geteuid() == 0 and "SUDO_USER" not in os.environ) else "sudo "

    def command(self, command: str, options: Sequence[str]) -> str:
        """Return a command of ours, for the same settings."""
        environment = [f"{name}={value}" for name, value in self.environment.items()] if self.sudo else []
        words = [spelled(command), *map(shlex.quote, options)]
        return self.sudo + " ".join([*(["env", *map(shlex.quote, environment)] if environment else []), *words])


def steps(setup: Setup, *, written: bool) -> str:
    """Return all the steps, numbered; ``written``: the unit is in its place already."""
    lines = []
    for number, (text, *commands) in enumerate(_steps(setup, written=written), 1):
        lines += [f"# {number}. {text}", *commands]
    return "\n".join(lines) + "\n"


def _steps(setup: Setup, *, written: bool) -> Iterator[list[str]]:
    if setup.run_as is not None:
        yield from _account_steps(setup, setup.run_as)
    else:
        yield from _own_folder_steps(setup)
    systemctl = "systemctl --user" if setup.run_as is None else f"{setup.sudo}systemctl"
    if not written:
        yield [tr("Write the unit."), setup.command("python -m daemon unit", ["--install", *setup.unit_options])]
    if setup.run_as is None:
        start = tr("Start it, now and whenever you log in.")
    else:
        start = tr("Start it, now and whenever the machine starts.")
    yield [start, f"{systemctl} daemon-reload", f"{systemctl} enable --now {setup.unit}"]
    if setup.run_as is None:
        yield [tr("Only if it is to run from the machine's start on, without a login."), "# loginctl enable-linger"]
    status, doctor = (setup.command(f"python -m daemon {name}", setup.options) for name in ("status", "doctor"))
    yield [tr("Check how it is, and what it lacks."), status, doctor]


def _account_steps(setup: Setup, name: str) -> Iterator[list[str]]:
    sudo = setup.sudo
    if not _is_user(name):
        command = f"{sudo}useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}"
        yield [tr("Make the user and the group of the service."), command]
    folders = shared_folders(setup.settings)
    if missing := [folder for folder in folders if _is_missing(folder)]:
        command = f"{sudo}install -d -m {_SHARED_MODE:o} -o {name} -g {name} {_quoted(missing)}"
        yield [tr("Make the folders; everybody in the group may write there."), command]
    if closed := [folder for folder in folders if folder not in missing and not _is_shared(folder, name)]:
        command = f"{sudo}find {_quoted(closed)} -type d -exec chgrp {name} {{}} + -exec chmod g+rwxs {{}} +"
        yield [tr("Open the folders that are there already, and those inside, to the group."), command]
    if sudo:
        text = tr("Join the group, then log out and in again: you may bring images, and see and remove what was filed.")
        yield [text, f'sudo usermod -aG {name} "$USER"']
    else:
        text = tr("Let people (NAME) join the group: they may bring images, and see and remove what was filed.")
        yield [text, f"# usermod -aG {name} NAME"]
    pull = spelled("python -m models pull")
    cache = shlex.quote(str(setup.settings.cache_dir or _CACHE))
    text = tr("Only for a mode whose weights do not install with the program: fetch them (here those of hybrid).")
    yield [text, f"# {sudo}{pull} hybrid --to {cache}"]


def _own_folder_steps(setup: Setup) -> Iterator[list[str]]:
    if missing := [folder for folder in shared_folders(setup.settings) if _is_missing(folder)]:
        yield [tr("Make the folders."), f"install -d {_quoted(missing)}"]


def shared_folders(settings: Settings) -> list[Path]:
    """List the folders that the service shares with people."""
    checkpoints = [] if settings.checkpoint.suffix else [settings.checkpoint]
    return list(dict.fromkeys([*settings.watch, *settings.outputs, *checkpoints]))


def about_network(settings: Settings, *, network: bool) -> str | None:
    """Say what to know of the network of a system unit; None where there is nothing."""
    if network:
        return tr(
            "With --network, an image that breaks into its decoder reaches the network from there: give it "
            "only for an on_filed that needs it."
        )
    if not settings.on_filed:
        return None
    return tr(
        "The service has no network, and neither has the command of on_filed: if it needs one, write the unit with "
        "--network. Alarms need none: unit --alerts writes a unit for what sends them."
    )


def about_learning(settings: Settings, run_as: str | None) -> str | None:
    """Say whose the folder is that lessons publish to, where that may keep the service from it; None otherwise.

    ``run_as``: the user of the service, None for a user's own.
    """
    folder = settings.checkpoint
    if settings.learn == "off" or folder.suffix or _is_missing(folder):
        return None
    try:
        owner = folder.owner()
    except (KeyError, OSError):
        owner = tr("somebody else")
    if run_as is None:
        if os.access(folder, os.W_OK | os.X_OK):
            return None
        return tr(
            "The service learns from what people correct and publishes in {folder}, which belongs to {owner}: "
            "get the right to write there, or write the unit with --learn off.",
            folder=folder,
            owner=owner,
        )
    if owner == run_as or _is_shared(folder, run_as):
        return None
    return tr(
        "The service learns from what people correct and publishes in {folder}, which belongs to {owner}: open it to "
        "the group as the steps say, or write the unit with --learn off.",
        folder=folder,
        owner=owner,
    )


def _quoted(folders: Sequence[Path]) -> str:
    return " ".join(shlex.quote(str(folder)) for folder in folders)


def _is_missing(folder: Path) -> bool:
    """Whether nothing is there; what this user may not look at counts as there."""
    try:
        return not folder.exists()
    except OSError:
        return False


def _is_shared(folder: Path, name: str) -> bool:
    """Whether the group may write there, and owns what is made inside; what cannot be known counts as well kept."""
    try:
        status, group = folder.stat(), grp.getgrnam(name).gr_gid
    except KeyError:  # there is no such group yet
        return False
    except OSError:
        return True
    return status.st_gid == group and status.st_mode & _FOR_THE_GROUP == _FOR_THE_GROUP


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
