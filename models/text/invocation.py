"""How a user calls our commands: ``imagesortd fit`` where that script is installed, ``python -m trainer fit`` anyhow.

Sentences are written with the second form, which always exists; `spelled` puts the first one in its place. That one
works from any folder, whatever modules lie there, and is given with its whole path where the shell would not find it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

SCRIPT = "imagesortd"

#: The commands of each package, in the order of the overview.
COMMANDS: dict[str, tuple[str, ...]] = {
    "daemon": ("watch", "sort", "history", "undo", "retry", "resort", "status", "doctor", "unit"),
    "trainer": ("fit", "evaluate", "zero-shot", "list", "publish", "rollback"),
    "models": ("models",),
}

_MODULE = re.compile(rf"python -m (?:(daemon) ({'|'.join(COMMANDS['daemon'])})\b|(daemon|trainer|models)(?![\w.]))")

_is_script = False


def use_script() -> None:
    """Note that this process was started as the script, and not with ``python -m``."""
    global _is_script
    _is_script = True


def started_as_script() -> bool:
    """Whether this process was started as the script."""
    return _is_script


def spelled(text: str) -> str:
    """A sentence in which the commands of ours are those that the user can give, from any folder."""
    return respelled(text, script_words()) if "python -m " in text else text


def respelled(text: str, script: str | None) -> str:
    """A sentence with its ``python -m daemon`` and so on as commands of a script; None leaves it as it is."""
    if script is None:
        return text

    def command(match: re.Match[str]) -> str:
        if match[2]:
            return f"{script} {match[2]}"
        return {"daemon": f"{script} watch", "trainer": script, "models": f"{script} models"}[match[3]]

    return _MODULE.sub(command, text)


@cache
def script_words() -> str | None:
    """What the shell takes for the script that lies beside our Python; None where there is none."""
    script = Path(sys.executable).with_name(SCRIPT)
    if not script.is_file():
        return None
    on_path = shutil.which(SCRIPT)
    return SCRIPT if on_path and Path(on_path) == script else shlex.quote(str(script))
