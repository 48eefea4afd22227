"""Write the systemd unit of the review page: that of the daemon, with another command and only this machine's network.

It has the same user and the same rights to folders: without a running daemon it moves images itself.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.commands.unit_steps import Setup
from daemon.config import PREFIX, Settings
from models.text.language import tr

REVIEW_NAME = "imagesortd-review.service"
#: Directives that only the daemon needs: it says when it is ready, reads its settings again and has a watchdog.
_OF_THE_DAEMON = frozenset(
    {"ExecReload", "WatchdogSec", "RuntimeDirectory", "RuntimeDirectoryMode", "PrivateNetwork", "IPAddressDeny",
     "IPAddressAllow", "RestrictAddressFamilies", "TimeoutStartSec", "TimeoutStopSec", "MemoryMax",
     "CapabilityBoundingSet",
     "AmbientCapabilities", "CPUSchedulingPolicy"}
)  # fmt: skip
#: What the page takes, and a look at the pile by a model beside it.
_MEMORY_MB = 2048


@dataclass(frozen=True)
class ReviewDoor:
    """Where the page is reached, where that was said: the ``options`` that say it to `review`.

    ``folder``: that of its UNIX socket, which ``is_hidden`` where the unit hides what is around it. ``is_local``:
    only this machine reaches it.
    """

    options: Sequence[str] = ()
    folder: Path | None = None
    is_hidden: bool = False
    is_local: bool = True


def review_unit(daemon_unit: str, settings: Settings, file: Path | None, daemon_name: str, door: ReviewDoor) -> str:
    """Turn the text of the daemon's unit into that of the page. ``file``: the configuration file that was read."""
    return "".join(f"{line}\n" for line in _lines(daemon_unit, settings, file, daemon_name, door))


def _lines(
    daemon_unit: str, settings: Settings, file: Path | None, daemon_name: str, door: ReviewDoor
) -> Iterator[str]:
    is_confined = "ProtectSystem=" in daemon_unit
    for line in daemon_unit.splitlines():
        name, _, value = line.partition("=")
        if name in _OF_THE_DAEMON or line.startswith("#"):
            continue
        match name:
            case "Description":
                yield f"Description={tr('Review page of imagesortd')}"
                yield f"After={daemon_name}"
            case "Type":
                yield "Type=exec"
            case "ExecStart":
                command = value.partition(" -m daemon")[0]
                yield f"ExecStart={command} -m daemon review{_options(settings, file, door)}"
                for variable, content in _environment(settings, file).items():
                    yield f'Environment="{variable}={escaped(content)}"'
            case "[Install]":
                yield f"MemoryMax={_memory_mb(settings)}M"
                yield from _network(door)
                if door.folder is not None and is_confined:
                    yield f'{"BindPaths" if door.is_hidden else "ReadWritePaths"}="{escaped(str(door.folder))}"'
                yield ""
                yield line
            case _:
                yield line


def _network(door: ReviewDoor) -> Iterator[str]:
    """Yield what the page needs of the network: none at a UNIX socket."""
    if door.is_local:
        yield "IPAddressDeny=any"
    if door.folder is not None:
        yield "RestrictAddressFamilies=AF_UNIX"
        return
    if door.is_local:
        yield "IPAddressAllow=localhost"
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"


def _words(settings: Settings, file: Path | None, door: ReviewDoor) -> list[str]:
    """Return the options by which `review` means the same output, journal and address."""
    words = ["--output", str(settings.output)]
    words += [] if settings.state_dir is None else ["--state-dir", str(settings.state_dir)]
    words += [] if file is None else ["--config", str(file.absolute())]
    return [*words, *door.options]


def _options(settings: Settings, file: Path | None, door: ReviewDoor) -> str:
    words = _words(settings, file, door)
    return "".join(f" {word}" if word.startswith("--") else f' "{escaped(word, command=True)}"' for word in words)


def _environment(settings: Settings, file: Path | None) -> Mapping[str, str]:
    """Say by the environment what the command has no option for; a configuration file has it."""
    if file is not None:
        return {}
    given = {"WATCH": os.pathsep.join(map(str, settings.watch)), "CHECKPOINT": str(settings.checkpoint)}
    if settings.cache_dir is not None:
        given["CACHE_DIR"] = str(settings.cache_dir)
    return {f"{PREFIX}{name}": value for name, value in given.items()}


def _memory_mb(settings: Settings) -> int:
    return _MEMORY_MB + 3 * settings.decode_memory_mb


def escaped(text: str, *, command: bool = False) -> str:
    """Escape a text between double quotes of a unit; in a ``command``, also double each dollar."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return text.replace("$", "$$") if command else text


def review_steps(setup: Setup, file: Path | None, door: ReviewDoor, *, written: bool) -> str:
    """Say how to start the page's service, and how to get a link."""
    user = " --user" if setup.run_as is None else ""
    lines = [] if written else [f"# {tr('Write it to its place with --install.')}"]
    if door.folder is not None:
        lines.append(f"# {tr('A folder that only the group of the proxy may enter, such as www-data:')}")
        owner = setup.run_as or '"$USER"'
        lines.append(f"sudo install -d -o {owner} -g www-data -m 2750 {shlex.quote(str(door.folder))}")
    lines += [
        f"{setup.sudo}systemctl{user} daemon-reload",
        f"{setup.sudo}systemctl{user} enable --now {REVIEW_NAME}",
        f"# {tr('A link that lets one browser in:')}",
        setup.command("python -m daemon review --link", _words(setup.settings, file, door)),
    ]
    return "".join(f"{line}\n" for line in lines)
