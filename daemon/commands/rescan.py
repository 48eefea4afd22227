"""``python -m daemon rescan``: let the running daemon walk its inboxes now."""

from __future__ import annotations

from daemon import config
from daemon.commands.calling import running_daemon
from daemon.commands.options import add_settings, given
from models.text.commandline import EXIT_LEFT_BEHIND, Parser, print_json
from models.text.language import tr
from models.text.printable import shown


def main(arguments: list[str]) -> int:
    """Have the inboxes walked; returns the exit code: 3 where one of them is missing, or no daemon runs."""
    parser = Parser(
        prog="python -m daemon rescan",
        description=tr(
            "Let the running daemon look through its inboxes now, instead of at its next rescan. Exit code 3: an inbox "
            "is missing, or no daemon runs."
        ),
    )
    parser.add_argument("--json", action="store_true", help=tr("print JSON"))
    add_settings(parser, ("output", "state_dir"))
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    flags, file = given(options)
    with running_daemon(config.load(flags, file), named="output" in flags) as client:
        result = client.ask("rescan")
    inboxes = result["inboxes"]
    assert isinstance(inboxes, list)
    if as_json:
        print_json(result)
    else:
        for inbox in inboxes:
            print(shown(str(inbox["says"])))
    return EXIT_LEFT_BEHIND if any(inbox["missing"] for inbox in inboxes) else 0
