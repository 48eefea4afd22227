"""``python -m daemon unit``: print or install a hardened systemd unit for the present configuration."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon import config
from daemon.commands.alerts_unit import ALERTS_NAME, about_addresses, alerts_steps, alerts_unit
from daemon.commands.options import add_settings, given
from daemon.commands.review import DEFAULT_ADDRESS, add_door, check_door
from daemon.commands.review_unit import REVIEW_NAME, ReviewDoor, review_steps, review_unit
from daemon.commands.unit_steps import Setup, about_learning, about_network, steps
from daemon.commands.unit_words import quoted_words, specifier_free
from daemon.config import Settings
from models.errors import UserError
from models.files.atomic import atomic_file
from models.files.homes import base_folder
from models.inference.runtime import cores
from models.text.commandline import Parser
from models.text.language import tr

NAME = "imagesortd.service"
DEFAULT_USER = "imagesortd"

#: Where the units of the machine lie.
SYSTEM_FOLDER = Path("/etc/systemd/system")
#: What ProtectHome= and PrivateTmp= hide. Only what is bound there again is to be seen.
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_HIDDEN = (*_HOMES, Path("/tmp"), Path("/var/tmp"))

#: The settings that are paths.
_PATHS = ("watch", "output", "checkpoint", "cache_dir", "state_dir", "metrics_file")

#: Where the program looks for folders of its user's, as far as the environment says so. A shell's is not systemd's.
_USERS_FOLDERS = ("XDG_CACHE_HOME", "XDG_STATE_HOME", "HF_HOME")

#: What filing the images that are decoded already may take.
_STOP_SECONDS = 60

_MODEL_MB, _GPU_MB = 1536, 8192

# What a process that only reads images and renames files can do without. MemoryDenyWriteExecute= is not among it:
# convolutions are compiled in memory.
_ANYWHERE = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @mount @debug @cpu-emulation @obsolete
SystemCallErrorNumber=EPERM
"""
# CAP_LEASE is there to learn whether an upload of another user is still open, and for nothing else; decoders and the
# command of on_filed do not have it. The kernel asks for it outside of user namespaces: so there is no PrivateUsers=.
_AS_ROOT_ONLY = """\
ProtectSystem=strict
PrivateTmp=yes
PrivateMounts=yes
PrivateIPC=yes
CapabilityBoundingSet=CAP_LEASE
AmbientCapabilities=CAP_LEASE
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RemoveIPC=yes
"""
# A process cannot choose how it is scheduled without @resources: the unit does, as decoders do for themselves.
_CPU_ONLY = """\
PrivateDevices=yes
SystemCallFilter=~@resources
CPUSchedulingPolicy=batch
"""
_GPU_ONLY = """\
DevicePolicy=closed
DeviceAllow=char-nvidia* rw
DeviceAllow=/dev/nvidiactl rw
DeviceAllow=/dev/nvidia-uvm rw
DeviceAllow=/dev/nvidia-uvm-tools rw
"""

#: Directives that a unit has or has not by the settings that it was written for.
_BY_SETTINGS = frozenset({"WorkingDirectory", "Environment", "DeviceAllow", "ReadOnlyPaths", "BindReadOnlyPaths"})


def main(arguments: list[str]) -> int:
    """Print the unit, or install it; returns the exit code."""
    parser = Parser(
        prog="python -m daemon unit",
        description=tr(
            "Print the systemd unit for the options given here, the environment and the configuration file."
        ),
    )
    parser.add_argument("--install", action="store_true", help=tr("write it to its place, and say what to do next"))
    parser.add_argument("--user", action="store_true", help=tr("for a user's own systemd, instead of the machine's"))
    parser.add_argument("--run-as", default=DEFAULT_USER, metavar="NAME", help=tr("user and group (imagesortd)"))
    parser.add_argument(
        "--network", action="store_true", help=tr("let it use the network, for an on_filed that needs it")
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--review", action="store_true", help=tr("the unit of the review page, beside that of the daemon")
    )
    other.add_argument(
        "--alerts", action="store_true", dest="sends_alerts", help=tr("the unit that sends alarms, beside the daemon's")
    )
    add_door(parser, default=None)
    add_settings(parser, {*config.OPTIONS} - {"alerts"})
    options = vars(parser.parse_args(arguments))
    door = _review_door(options)
    install, user, network = options.pop("install"), options.pop("user"), options.pop("network")
    run_as, review, sends_alerts = options.pop("run_as"), options.pop("review"), options.pop("sends_alerts")
    flags, file = given(options)
    settings = config.load(flags, file)
    config.check_together(settings)
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", run_as):
        raise UserError(tr("--run-as '{run_as}' is not a user name: give one such as imagesortd", run_as=run_as))
    used = config.used_file(file)
    text = render(settings, flags, used, user=user, run_as=run_as, network=network)
    setup = _setup(settings, flags, used, user=user, run_as=run_as, network=network)
    name = NAME
    if review:
        name, text = REVIEW_NAME, review_unit(text, settings, used, NAME, door)
        further = review_steps(setup, used, door, written=install)
    elif sends_alerts:
        name, text = ALERTS_NAME, alerts_unit(text, settings, used, NAME)
        further = alerts_steps(setup, written=install)
    else:
        further = steps(setup, written=install)
    if install:
        path = write(text, user_folder() if user else SYSTEM_FOLDER, name)
        print(tr("{path} is written. Next:", path=path))
        print(further, end="")
    else:
        print(text, end="", flush=True)
        print(tr("To set it up:"), further, sep="\n", end="", file=sys.stderr)
    if sends_alerts and (hint := about_addresses(settings)):
        print(hint, file=sys.stderr)
    if review or sends_alerts:
        return 0
    if not user and (hint := about_network(settings, network=network)):
        print(hint, file=sys.stderr)
    if hint := about_learning(settings, None if user else run_as):
        print(hint, file=sys.stderr)
    return 0


def _review_door(options: dict[str, Any]) -> ReviewDoor:
    """Take the options out that say where the review page is reached. Raises `UserError`."""
    listen, hosts, prefix = options.pop("listen"), options.pop("host"), options.pop("prefix")
    if listen is None and not hosts and not prefix:
        return ReviewDoor()
    if not options["review"]:
        raise UserError(tr("--listen, --host and --prefix are for the review page: give --review, too"))
    listen = listen or DEFAULT_ADDRESS
    address, names = check_door(Namespace(listen=listen, host=hosts, prefix=prefix))
    folder = None if address.path is None else address.path.parent
    words = ["--listen", listen if address.path is None else f"unix:{address.path}"]
    words += [word for name in names for word in ("--host", name)]
    words += ["--prefix", prefix] if prefix else []
    return ReviewDoor(words, folder, folder is not None and _is_below(folder, _HIDDEN), address.is_local)


def _setup(
    settings: Settings, flags: Mapping[str, object], file: Path | None, *, user: bool, run_as: str, network: bool
) -> Setup:
    options = arguments(settings, flags if file is not None else _with_absolute_paths(settings, flags), file)
    own = (["--user"] if user else []) + (["--network"] if network else [])
    own += [] if user or run_as == DEFAULT_USER else ["--run-as", run_as]
    environment = {name: value for name, value in sorted(os.environ.items()) if _is_passed_on(name, user=False)}
    return Setup(settings, NAME, None if user else run_as, options, [*own, *options], environment)


def user_folder() -> Path:
    """Return the folder of a user's own units."""
    return base_folder("XDG_CONFIG_HOME", ".config", "no --user") / "systemd" / "user"


def write(text: str, folder: Path, name: str = NAME) -> Path:
    """Write the unit into its folder, in one step; returns its path. Raises `UserError`."""
    path = folder / name
    try:
        with atomic_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise UserError(
            tr(
                "{path} cannot be written ({reason}): run this as root, or give --user for a unit of your own",
                path=path,
                reason=error.strerror,
            )
        ) from error
    return path


def learns(settings: Settings) -> bool:
    """Whether lessons may be given, which publish into a folder."""
    return settings.learn != "off" and not settings.checkpoint.suffix


def writable(settings: Settings) -> list[Path]:
    """List the folders the daemon writes to, beside its own for state and cache."""
    folders = [*settings.watch, *settings.outputs]
    if learns(settings):
        folders.append(settings.checkpoint)
    folders += [folder for folder in (settings.state_dir, settings.cache_dir) if folder]
    if settings.metrics_file is not None:
        folders.append(settings.metrics_file.parent)
    if settings.metrics_listen.startswith("/"):
        folders.append(Path(settings.metrics_listen).parent)
    return list(dict.fromkeys(folders))


def render(
    settings: Settings,
    flags: Mapping[str, object],
    file: Path | None,
    *,
    user: bool,
    run_as: str,
    network: bool = False,
) -> str:
    """Return the unit's text. ``flags`` are the settings given on the command line, ``file`` the one that was read."""
    source = Path(__file__).resolve().parents[2]
    installed = source.is_relative_to(sys.prefix)
    folder = Path.cwd() if file is not None else (None if installed else source)
    words = arguments(settings, flags if file is not None else _with_absolute_paths(settings, flags), file)
    environment = {name: value for name, value in sorted(os.environ.items()) if _is_passed_on(name, user=user)}
    if not installed:  # -P takes no modules from the working folder
        environment["PYTHONPATH"] = str(source)
    if not user:
        environment["HF_HUB_OFFLINE"] = "1"  # there is no network in there: do not try it
    readable = [Path(sys.prefix), Path(sys.base_prefix), source, settings.checkpoint]
    readable += [path for path in (folder, file) if path is not None]
    lines = [
        "[Unit]",
        f"Description={specifier_free(_description(settings))}",
        *([] if user else [f"RequiresMountsFor={quoted_words([*settings.watch, *settings.outputs])}"]),
        "StartLimitIntervalSec=300",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={quoted_words([sys.executable, '-P', '-m', 'daemon', *words], command=True)}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        *([f"WorkingDirectory={specifier_free(str(folder))}"] if folder else []),
        *(f"Environment={quoted_words([f'{name}={value}'])}" for name, value in environment.items()),
        "Restart=on-failure",
        "RestartSec=5",
        "RestartPreventExitStatus=2",  # a mistake in the settings is still there after a restart
        "TimeoutStartSec=600",  # the first start prepares the weights
        f"TimeoutStopSec={_stop_seconds(settings)}",
        "WatchdogSec=180",
        "KillMode=mixed",
        "OOMPolicy=continue",
        "Nice=10",  # whoever works at the machine comes first, at its processor and at its disk
        "IOSchedulingClass=best-effort",
        "IOSchedulingPriority=7",
        f"MemoryMax={memory_mb(settings)}M",
        "TasksMax=256",
        *_runtime_lines(settings),
        *(_ANYWHERE.splitlines() if user else _hardening(settings, readable, run_as, network=network)),
        *(["RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"] if user else []),
        "",
        "[Install]",
        f"WantedBy={'default.target' if user else 'multi-user.target'}",
    ]
    return "\n".join(lines) + "\n"


def _stop_seconds(settings: Settings) -> int:
    """Return what a stop may take: each command is told of the rest, and may take the time of two runs."""
    commands = max(1, len(settings.class_rules.commands))
    return _STOP_SECONDS + math.ceil(2 * commands * settings.on_filed_seconds)


def _description(settings: Settings) -> str:
    """Return the description that systemd shows for the service."""
    return tr("Sort the images that arrive in {inboxes}", inboxes=", ".join(map(str, settings.watch)))


def _is_passed_on(name: str, *, user: bool) -> bool:
    if name == f"{config.PREFIX}ALERTS":
        return False  # it is secret, and everybody may read a unit
    return name.startswith(config.PREFIX) or (user and name in _USERS_FOLDERS)


def memory_mb(settings: Settings) -> int:
    """Return the memory that the daemon may use: for the model, and what the settings grant decoders and a lesson."""
    images = (settings.threads or cores()) * settings.decode_memory_mb
    lesson = settings.learn_memory_mb if learns(settings) else 0
    return images + lesson + _MODEL_MB + (_GPU_MB if settings.device == "cuda" else 0)


def _hardening(settings: Settings, readable: Sequence[Path], run_as: str, *, network: bool) -> list[str]:
    writes = writable(settings)
    lines = [
        f"User={run_as}",
        f"Group={run_as}",
        "UMask=0007",  # the group works in the folders, too
        "StateDirectory=imagesortd",
        "CacheDirectory=imagesortd",
    ]
    lines += _ANYWHERE.splitlines() + _AS_ROOT_ONLY.splitlines()
    lines += (_GPU_ONLY if settings.device == "cuda" else _CPU_ONLY).splitlines()
    lines += _network_lines(settings, network=network)
    if outside := [path for path in writes if not _is_below(path, _HIDDEN)]:
        lines.append(f"ReadWritePaths={quoted_words(map(_if_there(settings), outside))}")
    inside = [path for path in writes if _is_below(path, _HIDDEN)]
    only_read = [path for path in dict.fromkeys(readable) if _is_below(path, _HIDDEN) and path not in inside]
    needs_home = any(_is_below(path, _HOMES) for path in (*inside, *only_read))
    lines.append("ProtectHome=tmpfs" if needs_home else "ProtectHome=yes")
    lines += [f"BindReadOnlyPaths={quoted_words([path])}" for path in only_read]
    lines += [f"BindPaths={quoted_words([_if_there(settings)(path)])}" for path in inside]
    return lines


def _if_there(settings: Settings) -> Callable[[Path], str]:
    """Return what spells a path for systemd; without the folder of checkpoints the service files all the same."""
    return lambda path: f"-{path}" if path == settings.checkpoint else str(path)


def _runtime_lines(settings: Settings) -> list[str]:
    """Return the folder of the control socket; a group that may use that must be able to enter it."""
    return ["RuntimeDirectory=imagesortd", f"RuntimeDirectoryMode={'0711' if settings.control_group else '0700'}"]


def _network_lines(settings: Settings, *, network: bool) -> list[str]:
    if network:
        lines = [tr("# unit --network: the daemon and the command of on_filed may use the network.")]
        return [*lines, "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"]
    lines = [tr("# No network, for the command of on_filed neither; unit --network allows it.")]
    if settings.metrics_listen and not settings.metrics_listen.startswith("/"):
        lines += ["IPAddressDeny=any", "IPAddressAllow=localhost"]
        return [*lines, "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"]
    return [*lines, "PrivateNetwork=yes", "IPAddressDeny=any", "RestrictAddressFamilies=AF_UNIX"]


def missing(text: str, rendered: str) -> list[str]:
    """List the directives that a unit written now would have and the installed one (``text``) lacks.

    Those that come and go with the settings are left out.
    """
    return [name for name in dict.fromkeys(_directives(rendered)) if name not in {*_directives(text), *_BY_SETTINGS}]


def _directives(text: str) -> list[str]:
    return re.findall(r"^([A-Z]\w*)=", text, flags=re.MULTILINE)


def has_no_network(text: str) -> bool:
    """Whether a unit with this text keeps its processes from the network."""
    return bool(re.search(r"^(?:PrivateNetwork=(?:yes|true|on|1)|IPAddressDeny=any)\s*$", text, flags=re.MULTILINE))


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _with_absolute_paths(settings: Settings, flags: Mapping[str, object]) -> Mapping[str, object]:
    """Return the flags, and with them every setting that is a path: the service is started in another folder."""
    return dict(flags) | {key: value for key in _PATHS if (value := getattr(settings, key)) is not None}


def arguments(settings: Settings, flags: Mapping[str, object], file: Path | None) -> list[str]:
    """Return the daemon's command line: the file that was read, and the flags that were given, with absolute paths."""
    words = [] if file is None else ["--config", str(file.absolute())]
    for key in flags:
        name, value = f"--{key.replace('_', '-')}", getattr(settings, key)
        match value:
            case bool():
                words.append(name if value else f"--no-{name[2:]}")
            case list() if key == "watch":
                words += [word for path in value for word in (name, str(path))]
            case list():
                words += [name, shlex.join(value) if key == "on_filed" else ",".join(value)]
            case dict():
                words += [name, ",".join(f"{inbox.absolute()}={seconds:g}" for inbox, seconds in value.items())]
            case _:
                words += [name, str(value)]
    return words
