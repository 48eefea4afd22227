"""Commands that ask the running daemon for something and need no parameters: ``rescan`` and ``reload``."""

from __future__ import annotations

from daemon import config
from daemon.commands.calling import running_daemon
from daemon.commands.options import add_settings, given
from models.text.commandline import Parser
from models.text.language import tr


def ask_daemon(method: str, description: str, arguments: list[str]) -> tuple[dict[str, object], bool]:
    """Call a method of the same name as the command; returns the answer, and whether it is to be printed as JSON.

    Raises `UserError`, with exit code 3 where no daemon runs.
    """
    parser = Parser(prog=f"python -m daemon {method}", description=description)
    parser.add_argument("--json", action="store_true", help=tr("print JSON"))
    add_settings(parser, ("output", "state_dir"))
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    flags, file = given(options)
    with running_daemon(config.load(flags, file), named="output" in flags) as client:
        return client.ask(method), as_json
