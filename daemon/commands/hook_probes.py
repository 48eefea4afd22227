"""Check the command of on_filed: whether it is there, and whether it has the network that it seems to need."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence

from daemon.commands import unit
from daemon.commands.probes import Finding, fine, note, wrong
from daemon.config import Settings
from models.text.language import tr

#: Programs that speak to other machines.
_OF_THE_NETWORK = frozenset(
    {"curl", "wget", "ssh", "scp", "sftp", "rsync", "rclone", "nc", "ncat", "mail", "mailx", "sendmail", "msmtp",
     "ntfy", "mosquitto_pub", "apprise", "http", "https", "ftp", "lftp", "smbclient", "telegram-send", "s-nail"}
)  # fmt: skip
_ADDRESS = re.compile(r"\b(https?|ftp|mqtts?|smtps?|wss?)://")


def needs_network(command: Sequence[str]) -> bool:
    """Whether a command names a program of the network or an address; a script may need it all the same."""
    words = [word for argument in command for word in re.split(r"[\s;|&()]+", argument)]
    return any(os.path.basename(word) in _OF_THE_NETWORK or _ADDRESS.search(word) for word in words)  # noqa: PTH119


def hook_findings(settings: Settings) -> Iterator[Finding]:
    """Check the commands, if there are any; those of classes, too."""
    for command in settings.class_rules.commands:
        program = command[0]
        if shutil.which(program) is None:
            text = tr("there is no program {program}", program=program)
            yield wrong("on_filed", text, tr("install it, or give its whole path"))
        else:
            yield fine("on_filed", tr("{program} is there", program=program))
        yield from _network_findings(command)


def _network_findings(command: Sequence[str]) -> Iterator[Finding]:
    """Tell where the unit keeps the command from the network."""
    try:
        text = (unit.SYSTEM_FOLDER / unit.NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # it runs in a terminal, or as a user's own service
    if not unit.has_no_network(text):
        return
    advice = tr(
        "give the unit's options again: python -m daemon unit --install --network; for alarms, python -m daemon alerts "
        "has a unit of its own"
    )
    if needs_network(command):
        yield wrong("on_filed", tr("the command reaches nobody: the installed unit gives it no network"), advice)
    else:
        yield note("on_filed", tr("the installed unit gives it no network"), advice)
