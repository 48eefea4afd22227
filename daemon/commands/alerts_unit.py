"""Write the systemd unit of the process that sends alarms: the daemon's, with the network and without the pictures.

It has the same user, so that it may read the journal, and writes nothing but to the state folder. It needs no right to
the inboxes, the output and the checkpoints, and decodes nothing that comes from outside.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from daemon.alerts.addresses import CREDENTIAL
from daemon.commands.review_unit import escaped
from daemon.commands.unit_steps import Setup
from daemon.commands.unit_words import specifier_free
from daemon.config import PREFIX, Settings
from models.text.language import tr

ALERTS_NAME = "imagesortd-alerts.service"
_MEMORY_MB, _TASKS = 256, 64
#: Directives of the daemon's unit that are left out, or replaced.
_OF_THE_DAEMON = frozenset(
    {"ExecReload", "WatchdogSec", "RuntimeDirectory", "RuntimeDirectoryMode", "PrivateNetwork", "IPAddressDeny",
     "IPAddressAllow", "RestrictAddressFamilies", "TimeoutStartSec", "TimeoutStopSec", "MemoryMax", "TasksMax",
     "CapabilityBoundingSet", "AmbientCapabilities", "CPUSchedulingPolicy", "ReadWritePaths", "BindPaths",
     "RequiresMountsFor", "DevicePolicy", "DeviceAllow", "CacheDirectory"}
)  # fmt: skip


def alerts_unit(daemon_unit: str, settings: Settings, file: Path | None, daemon_name: str) -> str:
    """Turn the text of the daemon's unit into that of the sender. ``file``: the configuration file that was read."""
    return "".join(f"{line}\n" for line in _lines(daemon_unit, settings, file, daemon_name))


def _lines(daemon_unit: str, settings: Settings, file: Path | None, daemon_name: str) -> Iterator[str]:
    is_users = "User=" not in daemon_unit
    state = "" if settings.state_dir is None else str(settings.state_dir)
    for line in daemon_unit.splitlines():
        name, _, value = line.partition("=")
        if state and name in ("ReadWritePaths", "BindPaths") and state in shlex.split(value):
            yield f'{name}="{escaped(state)}"'
        if name in _OF_THE_DAEMON or line.startswith("#"):
            continue
        match name:
            case "Description":
                yield f"Description={tr('Send the alarms of imagesortd')}"
                yield f"After={daemon_name} network-online.target"
                yield "Wants=network-online.target"
            case "Type":
                yield "Type=exec"
            case "ExecStart":
                command = value.partition(" -m daemon")[0]
                yield f"ExecStart={command} -m daemon alerts{_options(settings, file, is_users=is_users)}"
                if settings.alerts_file is not None and not is_users:
                    yield f"LoadCredential={CREDENTIAL}:{specifier_free(str(settings.alerts_file))}"
            case "[Install]":
                yield from _confinement(is_users=is_users)
                yield ""
                yield line
            case _:
                yield line


def _confinement(*, is_users: bool) -> Iterator[str]:
    yield f"MemoryMax={_MEMORY_MB}M"
    yield f"TasksMax={_TASKS}"
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    if not is_users:
        yield "CapabilityBoundingSet="
        yield "PrivateUsers=yes"


def _options(settings: Settings, file: Path | None, *, is_users: bool) -> str:
    words = ["--output", str(settings.output)]
    words += [] if settings.state_dir is None else ["--state-dir", str(settings.state_dir)]
    words += [] if file is None else ["--config", str(file.absolute())]
    if is_users and settings.alerts_file is not None:
        words += ["--alerts-file", str(settings.alerts_file)]
    return "".join(f" {word}" if word.startswith("--") else f' "{escaped(word, command=True)}"' for word in words)


def about_addresses(settings: Settings) -> str | None:
    """Say what to know of the addresses of a unit; None where there is nothing."""
    if f"{PREFIX}ALERTS" in os.environ:
        return tr(
            "The addresses in the environment are not written into the unit, which everybody may read: write them into "
            "a file, one a line, and give its path with --alerts-file."
        )
    if not settings.alerts and settings.alerts_file is None:
        return tr(
            "There is no address to send alarms to yet: name some as alerts in config.toml, or in a file, one a line, "
            "and give its path with --alerts-file."
        )
    return None


def alerts_steps(setup: Setup, *, written: bool) -> str:
    """Say how to start the service, and how to try it."""
    user = " --user" if setup.run_as is None else ""
    lines = [] if written else [f"# {tr('Write it to its place with --install.')}"]
    lines += [
        f"# {tr('What sends alarms, if it is not installed yet (in the folder of the clone):')}",
        f"{setup.sudo}.venv/bin/pip install '.[alerts]'",
        f"{setup.sudo}systemctl{user} daemon-reload",
        f"{setup.sudo}systemctl{user} enable --now {ALERTS_NAME}",
        f"# {tr('A test message to each address:')}",
        setup.command("python -m daemon alerts", ["--test", *_place(setup)]),
    ]
    return "".join(f"{line}\n" for line in lines)


def _place(setup: Setup) -> list[str]:
    """Return the options that say where addresses are; those in config.toml are found by it."""
    file = setup.settings.alerts_file
    words = list(setup.options)
    config = words[words.index("--config") : words.index("--config") + 2] if "--config" in words else []
    return [*config, *([] if file is None else ["--alerts-file", str(file)])]
