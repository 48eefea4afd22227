"""``python -m daemon alarms``: what was wrong, since when, and when it was over."""

from __future__ import annotations

from daemon.alarms.causes import sentence
from daemon.commands.filters import FiledOutput, add_place, count, instant
from daemon.journal.alarms import AlarmEvent, read_alarms
from models.text.commandline import Parser, print_json_list
from models.text.language import tr


def main(arguments: list[str]) -> int:
    """Print the alarms; returns the exit code."""
    parser = Parser(
        prog="python -m daemon alarms",
        description=tr("List alarms: what was wrong, and when it was over; newest first."),
    )
    parser.add_argument(
        "--since",
        type=instant,
        metavar="DAY",
        help=tr("only from that day on (2026-11-23, today, yesterday, or 2026-11-23T14:30)"),
    )
    parser.add_argument("--limit", type=count, metavar="N", help=tr("only the newest N"))
    parser.add_argument("--json", action="store_true", help=tr("print a list of objects as JSON"))
    add_place(parser)
    options = parser.parse_args(arguments)
    place = FiledOutput(options)
    events = read_alarms(place.journal, options.since, options.limit)
    if options.json:
        print_json_list(record(event) for event in events)
        return 0
    for event in events:
        print(f"{event.time.astimezone():%Y-%m-%d %H:%M:%S}  {_said(event)}")
    if not events:
        print(tr("there was no alarm"))
    return 0


def _said(event: AlarmEvent) -> str:
    what = sentence(event)
    return tr("over: {what}", what=what) if event.over else tr("ALARM: {what}", what=what)


def record(event: AlarmEvent) -> dict[str, object]:
    """Return an event as it is printed as JSON."""
    return {
        "id": event.id,
        "time": event.time.isoformat(timespec="milliseconds"),
        "cause": event.cause,
        "subject": event.subject,
        "over": event.over,
        "details": dict(event.details),
        "says": sentence(event),
    }
