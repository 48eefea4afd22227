"""``python -m daemon rescan``: let the running daemon walk its inboxes now."""

from __future__ import annotations

from daemon.commands.asking import ask_daemon
from models.text.commandline import EXIT_LEFT_BEHIND, print_json
from models.text.language import tr
from models.text.printable import shown


def main(arguments: list[str]) -> int:
    """Have the inboxes walked; returns the exit code: 3 where one of them is missing, or no daemon runs."""
    description = tr(
        "Let the running daemon look through its inboxes now, instead of at its next rescan. Exit code 3: an inbox "
        "is missing, or no daemon runs."
    )
    result, as_json = ask_daemon("rescan", description, arguments)
    inboxes = result["inboxes"]
    assert isinstance(inboxes, list)
    if as_json:
        print_json(result)
    else:
        for inbox in inboxes:
            print(shown(str(inbox["says"])))
    return EXIT_LEFT_BEHIND if any(inbox["missing"] for inbox in inboxes) else 0
