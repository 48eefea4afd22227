"""``python -m daemon status``: show the state of the running daemon.

The daemon is asked, or else the small file beside its journal is read: what a daemon has left, or one that is stuck.
"""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from daemon import config
from daemon.commands.calling import EXIT_NOT_RUNNING, NoDaemon, find_daemon, find_only_daemon
from daemon.commands.learning_rows import learning_rows
from daemon.commands.options import add_settings, given
from daemon.config import Settings
from daemon.files.processes import process_began
from daemon.monitoring.audits import found
from daemon.monitoring.counted import counted, counted_labels
from daemon.monitoring.health import Health, ThresholdHealth
from daemon.monitoring.messages import some
from daemon.reloading.threshold import Threshold
from daemon.state import STATUS_FILE, is_locked, state_folders, status_path
from models.checkpoints.promises import percent
from models.deciding.rule import DecisionRule
from models.errors import UserError
from models.text.commandline import Parser, print_json
from models.text.language import mark, tr, trn
from models.text.printable import columns, padded, shown
from models.text.retelling import retold

#: Seconds that a daemon has to answer, before its file is read.
_GREETING_SECONDS = 3.0
#: Columns of the names of rows, at least.
_NARROWEST = 11

#: How an inbox is watched; inotify is a name.
_MODES = {"polling": mark("polling")}


def main(arguments: list[str]) -> int:
    """Print the status; returns the exit code: 0 when the daemon runs, else 3."""
    parser = Parser(
        prog="python -m daemon status",
        description=tr(
            "Show the state of the daemon that files into the output folder. Exit code 3: it is not running."
        ),
    )
    parser.add_argument("--json", action="store_true", help=tr("print JSON"))
    add_settings(parser)
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    flags, file = given(options)
    settings, named = config.load(flags, file), "output" in flags
    health, running = look(settings, named=named)
    if as_json:
        print_json({"running": running, **health.model_dump()})
    else:
        print(as_text(health, running, time.time()))
    return 0 if running else EXIT_NOT_RUNNING


def look(settings: Settings, *, named: bool) -> tuple[Health, bool]:
    """Ask the daemon how it is, or else find out from its file; returns also whether it runs. Raises `UserError`."""
    refused = None
    try:
        if (health := _ask(settings, named=named)) is not None:
            return health, True
    except UserError as error:
        refused = error
    try:
        health = read(find(settings, named=named))
    except UserError as error:
        raise refused or error from None
    running = is_running(health)
    if refused is not None and not running:
        raise refused  # the file is that of an earlier one
    return health, running


def _ask(settings: Settings, *, named: bool) -> Health | None:
    """Ask the daemon for these settings, or the only one, unless one of these settings has left its file."""
    has_file = any(status_path(state, settings.output).is_file() for state in state_folders(settings.state_dir))
    find = find_daemon if named or has_file else find_only_daemon
    client = find(settings, patience=_GREETING_SECONDS)
    if client is None:
        return None
    with client:
        return Health.model_validate(client.ask("status"))


def find(settings: Settings, *, named: bool) -> Path:
    """Find the status file of the daemon for these settings, or the only one there is. Raises `UserError`.

    ``named``: the output was given on the command line.
    """
    states = state_folders(settings.state_dir)
    for state in states:
        path = status_path(state, settings.output)
        if path.is_file():
            return path
    places = ", ".join(map(str, states))
    paths = [path for state in states for path in sorted(state.glob(f"*/{STATUS_FILE}"))]
    if (named or not paths) and any(is_locked(state, settings.output if named else None) for state in states):
        raise NoDaemon(tr("the daemon is just starting: ask again in a moment"))
    if named:
        raise NoDaemon(
            tr(
                "no daemon that files into {output} left a status file in {places}: give the --output "
                "and the --state-dir of the daemon",
                output=settings.output,
                places=places,
            )
        )
    if len(paths) == 1:
        return paths[0]
    if paths:
        outputs = ", ".join(read(path).output for path in paths)
        raise UserError(
            tr(
                "several daemons left a status file in {places}: say whose with --output, one of {outputs}",
                places=places,
                outputs=outputs,
            )
        )
    raise NoDaemon(
        tr("no daemon left a status file in {places}: start one, or say where with --state-dir", places=places)
    )


def read(path: Path) -> Health:
    """Read what the daemon wrote last. Raises `UserError`."""
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
    """Describe the status for people."""
    rows = [(tr("daemon"), _state(health, running, now)), *_stall(health, now)]
    for inbox in health.inboxes:
        how = tr("MISSING: {why}", why=retold(inbox.missing)) if inbox.missing else _MODES.get(inbox.mode, inbox.mode)
        others = ""
        if inbox.other_files:
            others = trn(", 1 other file, not looked at", ", {count} other files, not looked at", inbox.other_files)
        if inbox.apart:
            others += trn(
                ", 1 folder not entered: another file system, a link or a class folder (see doctor)",
                ", {count} folders not entered: other file systems, links or class folders (see doctor)",
                inbox.apart,
            )
        rows.append(
            (tr("inbox"), f"{inbox.path} ({tr(how)}{f': {retold(inbox.polled)}' if inbox.polled else ''}){others}")
        )
    model = health.model
    which = tr("the starter model") if model.starter else tr("checkpoint {digest}", digest=model.digest[:12])
    away = None if health.output_away is None else retold(health.output_away)
    queue = {"waiting": health.waiting, "in_flight": health.in_flight}
    oldest = tr("nothing is waiting")
    threshold = _threshold(health.threshold)
    if health.oldest is not None:
        oldest = tr("waiting for {duration}", duration=_duration(now - health.oldest))
    rows += [
        (
            tr("output"),
            tr("{output} (NOT THERE: {why})", output=health.output, why=away) if away else health.output,
        ),
        *(
            (
                tr("output of classes"),
                tr("{output} (NOT THERE: {why})", output=output, why=retold(why)) if why else output,
            )
            for output, why in health.other_outputs.items()
        ),
        (
            tr("model"),
            tr(
                "{mode}, {which}; classes: {classes}, reloads: {reloads}",
                mode=model.mode,
                which=which,
                classes=model.classes,
                reloads=health.reloads,
            ),
        ),
        (tr("threshold"), str(threshold)),
        *([(tr("rolled up"), threshold.rolled_up)] if threshold.rolled_up else []),
        *([(tr("of classes"), _own(health.threshold))] if health.threshold.own else []),
        (
            tr("queue"),
            tr("about {waiting} waiting, {in_flight} in flight", **queue)
            if health.about
            else tr("{waiting} waiting, {in_flight} in flight", **queue),
        ),
        (tr("oldest"), oldest),
        *_unfinished(health, now),
        *_held(health),
        *_bursts(health),
        *_audit(health, now),
        *_alarms(health, now),
        (tr("images"), counted(health.images) or tr("none yet")),
        *([(tr("labels"), labels)] if (labels := counted_labels(health.labels)) else []),
        *learning_rows(health.learning, now, _duration),
        (tr("speed"), tr("{speed:.1f} images/s over the last minute", speed=health.images_per_second)),
        (
            tr("watching"),
            tr(
                "folders: {folders}, overflows: {overflows}, event reader restarts: {restarts}",
                folders=health.watched_folders,
                overflows=health.overflows,
                restarts=health.restarts,
            ),
        ),
        (tr("last error"), _error(health, now)),
    ]
    width = max(_NARROWEST, *(columns(name) for name, _ in rows))
    return "\n".join(f"{padded(name, width)} {value}" for name, value in rows)


def _state(health: Health, running: bool, now: float) -> str:
    if running:
        return tr("running, process {pid}, for {duration}", pid=health.pid, duration=_duration(now - health.started))
    if health.stopped:
        return tr("stopped")
    return tr("GONE: process {pid} ended without saying so; what follows is out of date", pid=health.pid)


def _stall(health: Health, now: float) -> list[tuple[str, str]]:
    stall = health.stall
    if stall is None:
        return []
    duration = _duration(now - stall.since)
    if stall.inbox is None:
        text = tr("for {duration}: perhaps a drive or a server does not answer", duration=duration)
        return [(tr("NO PROGRESS"), text)]
    text = tr(
        "{inbox} has not answered for {duration}, and blocks all work: look at its server or drive",
        inbox=stall.inbox,
        duration=duration,
    )
    return [(tr("NO ANSWER"), text)]


def _unfinished(health: Health, now: float) -> list[tuple[str, str]]:
    unfinished = health.unfinished
    if unfinished is None:
        return []
    text = trn(
        "1 image, for {duration}: {example}",
        "{count} images, for up to {duration}: such as {example}",
        unfinished.count,
        duration=_duration(now - unfinished.since),
        example=unfinished.example,
    )
    return [(tr("unfinished"), text)]


def _held(health: Health) -> list[tuple[str, str]]:
    held = health.held
    if held is None:
        return []
    text = trn(
        "1 image, not filed until it is released: {example} (python -m daemon release)",
        "{count} images, not filed until they are released: such as {example} (python -m daemon release)",
        held.count,
        example=held.example,
    )
    return [(tr("held"), text)]


def _bursts(health: Health) -> list[tuple[str, str]]:
    bursts = health.bursts
    if bursts is None:
        return []
    text = trn(
        "images of one camera within {seconds:g} s are decided together; 1 waits for others",
        "images of one camera within {seconds:g} s are decided together; {count} wait for others",
        bursts.waiting,
        seconds=bursts.seconds,
    )
    return [(tr("bursts"), text)]


def _audit(health: Health, now: float) -> list[tuple[str, str]]:
    audit = health.audit
    if audit is None:
        return []
    text = tr("{found} ({duration} ago)", found=found(audit), duration=_duration(now - audit.time))
    return [(tr("audit"), text)]


def _alarms(health: Health, now: float) -> list[tuple[str, str]]:
    return [
        (tr("ALARM"), tr("{what} ({duration} ago)", what=alarm.sentence, duration=_duration(now - alarm.since)))
        for alarm in health.alarms.now
    ]


def _threshold(health: ThresholdHealth) -> Threshold:
    rule = DecisionRule(health.value, refuses_unknown=health.unknown_too, levels=health.levels)
    return Threshold(rule, retold(health.why), health.others)


def _own(health: ThresholdHealth) -> str:
    """Describe the thresholds of classes that have one by a rule."""
    rules = (f"{shown(label)} {percent(value)} %" for label, value in sorted(health.own.items()))
    return tr("images of these need at least, by their rules: {rules}", rules=some(list(rules)))


def _error(health: Health, now: float) -> str:
    last = health.last_error
    if last is None:
        return tr("none")
    return tr(
        "{duration} ago (of {errors}): {text}",
        duration=_duration(now - last.time),
        errors=health.errors,
        text=retold(last.text),
    )


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return tr("{count} s", count=whole)
    return tr("{count} min", count=whole // 60) if whole < 7200 else tr("{count} h", count=whole // 3600)
