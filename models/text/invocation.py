"""Spell commands as the user can type them: ``imagesortd fit`` if it is installed, else ``python -m trainer fit``.

Messages are written with the second form, which always works in the folder of the clone; `spelled` replaces it by the
first, which works in any folder. It gets its full path if the shell would not find it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

SCRIPT = "imagesortd"

#: The commands of each package, in the order of the help.
COMMANDS: dict[str, tuple[str, ...]] = {
    "daemon": (
        "watch",
        "sort",
        "archive",
        "history",
        "undo",
        "retry",
        "release",
        "resort",
        "relabel",
        "labels",
        "review",
        "learn",
        "status",
        "rescan",
        "reload",
        "alarms",
        "alerts",
        "doctor",
        "unit",
    ),
    "trainer": ("fit", "evaluate", "zero-shot", "learn", "list", "publish", "rollback"),
    "models": ("models",),
}

#: Korean appends particles to a command.
_OF_THE_DAEMON = rf"(daemon) ({'|'.join(COMMANDS['daemon'])})(?![a-z])"
_MODULE = re.compile(rf"python -m (?:{_OF_THE_DAEMON}|(daemon|trainer|models)(?![\w.]))")

_is_script = False


def use_script() -> None:
    """Record that this process was started as the script, not with ``python -m``."""
    global _is_script
    _is_script = True


def started_as_script() -> bool:
    """Return whether this process was started as the script."""
    return _is_script


def spelled(text: str) -> str:
    """Spell the commands in a message so that the user can type them."""
    return respelled(text, script_words()) if "python -m " in text else text


def respelled(text: str, script: str | None) -> str:
    """Replace ``python -m daemon`` and the like in a message by commands of a script; None leaves it as it is."""
    if script is None:
        return text

    def command(match: re.Match[str]) -> str:
        if match[2]:
            return f"{script} {match[2]}"
        return {"daemon": f"{script} watch", "trainer": script, "models": f"{script} models"}[match[3]]

    return _MODULE.sub(command, text)


@cache
def script_words() -> str | None:
    """Return how to type the script beside our Python in a shell; None if there is no script."""
    script = Path(sys.executable).with_name(SCRIPT)
    if not script.is_file():
        return None
    on_path = shutil.which(SCRIPT)
    return SCRIPT if on_path and Path(on_path) == script else shlex.quote(str(script))
