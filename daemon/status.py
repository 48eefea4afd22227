"""``python -m daemon status``: how the running daemon is, from the small file it keeps beside its journal."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from daemon import config
from daemon.config import Settings
from daemon.health import Health, counted
from daemon.options import add_settings, given
from daemon.processes import process_began
from daemon.state import journal_path, state_folder
from daemon.threshold import Threshold
from models.commandline import Parser, print_json
from models.errors import UserError
from models.language import tr

FILE_NAME = "status.json"
EXIT_NOT_RUNNING = 3

#: Where the unit's StateDirectory= is; looked into when the user's own state folder has nothing.
SYSTEM_STATE = Path("/var/lib/imagesortd")


def main(arguments: list[str]) -> int:
    """Print the status; returns the exit code: 0 when the daemon runs, else 3."""
    parser = Parser(
        prog="python -m daemon status",
        description=tr("How the daemon that files into the output folder is. Exit code 3: it does not run."),
    )
    parser.add_argument("--json", action="store_true", help=tr("print JSON"))
    add_settings(parser)
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    flags, file = given(options)
    health = read(find(config.load(flags, file), named="output" in flags))
    running = is_running(health)
    if as_json:
        print_json({"running": running, **health.model_dump()})
    else:
        print(as_text(health, running, time.time()))
    return 0 if running else EXIT_NOT_RUNNING


def status_path(state: Path, output: Path) -> Path:
    """Where the daemon that files into ``output`` says how it is."""
    return journal_path(state, output).with_name(FILE_NAME)


def find(settings: Settings, *, named: bool) -> Path:
    """The status file of the daemon for these settings, or the only one there is. Raises `UserError`.

    ``named``: somebody asks for this very output.
    """
    states = [state_folder(settings.state_dir)]
    if settings.state_dir is None and states != [SYSTEM_STATE]:
        states.append(SYSTEM_STATE)
    for state in states:
        path = status_path(state, settings.output)
        if path.is_file():
            return path
    places = ", ".join(map(str, states))
    if named:
        raise UserError(
            tr(
                "no daemon that files into {output} left a status file in {places}: give the --output "
                "and the --state-dir of the daemon",
                output=settings.output,
                places=places,
            )
        )
    found = [path for state in states for path in sorted(state.glob(f"*/{FILE_NAME}"))]
    if len(found) == 1:
        return found[0]
    if found:
        outputs = ", ".join(read(path).output for path in found)
        raise UserError(
            tr(
                "several daemons left a status file in {places}: say whose with --output, one of {outputs}",
                places=places,
                outputs=outputs,
            )
        )
    raise UserError(
        tr("no daemon left a status file in {places}: start one, or say where with --state-dir", places=places)
    )


def read(path: Path) -> Health:
    """What the daemon wrote last. Raises `UserError`."""
    try:
        return Health.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(
            tr("{path} cannot be read ({reason}): ask as its owner, or as root", path=path, reason=error.strerror)
        ) from error
    except ValidationError as error:
        raise UserError(
            tr("{path} is damaged: a running daemon writes it again within a second of work", path=path)
        ) from error


def is_running(health: Health) -> bool:
    """Whether the daemon that wrote this is still there."""
    return not health.stopped and health.process is not None and process_began(health.pid) == health.process


def as_text(health: Health, running: bool, now: float) -> str:
    """The status for people."""
    rows = [("daemon", _state(health, running, now))]
    for inbox in health.inboxes:
        how = f"MISSING: {inbox.missing}" if inbox.missing else inbox.mode
        plural = "" if inbox.other_files == 1 else "s"
        others = f", {inbox.other_files} other file{plural}, not looked at" if inbox.other_files else ""
        if inbox.apart:
            apart = "1 folder" if inbox.apart == 1 else f"{inbox.apart} folders"
            others += f", {apart} on other file systems, links or filed into, not entered (see doctor)"
        rows.append(("inbox", f"{inbox.path} ({how}{f': {inbox.polled}' if inbox.polled else ''}){others}"))
    model = health.model
    which = "the starter model" if model.starter else f"checkpoint {model.digest[:12]}"
    rows += [
        ("output", f"{health.output} (NOT THERE: {health.output_away})" if health.output_away else health.output),
        ("model", f"{model.mode}, {which}, {model.classes} classes, {health.reloads} reloads"),
        ("threshold", str(Threshold(**health.threshold.model_dump()))),
        ("queue", f"{'about ' if health.about else ''}{health.waiting} waiting, {health.in_flight} in flight"),
        ("oldest", f"waits for {_duration(now - health.oldest)}" if health.oldest is not None else "nothing waits"),
        *_unfinished(health, now),
        ("images", counted(health.images) or "none yet"),
        ("speed", f"{health.images_per_second:.1f} images/s over the last minute"),
        ("watching", f"{health.watched_folders} folders, {health.overflows} overflows, {health.restarts} restarts"),
        ("last error", _error(health, now)),
    ]
    return "\n".join(f"{name:<11} {value}" for name, value in rows)


def _state(health: Health, running: bool, now: float) -> str:
    if running:
        return f"running, process {health.pid}, for {_duration(now - health.started)}"
    if health.stopped:
        return "stopped"
    return f"GONE: process {health.pid} ended without saying so; what follows is out of date"


def _unfinished(health: Health, now: float) -> list[tuple[str, str]]:
    waiting = health.unfinished
    if waiting is None:
        return []
    duration = _duration(now - waiting.since)
    if waiting.count == 1:
        text = f"1 image waits for its writer, for {duration}: {waiting.example}"
    else:
        text = f"{waiting.count} images wait for their writers, for up to {duration}: such as {waiting.example}"
    return [("unfinished", text)]


def _error(health: Health, now: float) -> str:
    last = health.last_error
    return "none" if last is None else f"{_duration(now - last.time)} ago (of {health.errors}): {last.text}"


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
