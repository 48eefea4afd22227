"""Read single values of settings: what people write, and what it is to the program."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

from pydantic_core import PydanticCustomError

from daemon.files.layout import Layout
from models.text.language import mark, tr
from models.text.shares import read_share

#: Errors of shlex about a command, to be translated.
_SHLEX_ERRORS = {
    "No closing quotation": mark("No closing quotation"),
    "No escaped character": mark("No escaped character"),
}
#: What a path of Windows begins with; in TOML the backslash may have made a control character of the next letter.
_DRIVE = re.compile(r"[A-Za-z]:[\\/\x00-\x1f]")
OF_WINDOWS = PydanticCustomError("of_windows", "a path of Windows")
#: An empty path would mean the folder that the daemon happens to be started in.
EMPTY = PydanticCustomError("empty_folder", "an empty path")
EMPTY_ENTRY = PydanticCustomError("empty_entry", "an empty path among others")


def as_share(value: object) -> object:
    """Read a share: ``70%`` and ``7/10`` are 0.7. What is none is left as it is, for the complaint about it."""
    with suppress(ValueError):
        if isinstance(value, str) and 0 <= (share := read_share(value)) <= 1:
            return share
    return value


def as_words(value: object) -> object:
    """Split a command that is one text into its words. Raises ValueError."""
    if not isinstance(value, str | list):
        raise ValueError(tr("give a command with its options, as text or as a list of words"))
    try:
        return shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(tr(_SHLEX_ERRORS.get(str(error), str(error)))) from error


def refuse_windows(value: object) -> object:
    r"""Refuse ``D:\photos``: it would be a folder of that name here, in the one that the daemon happens to run in."""
    paths = value if isinstance(value, list) else [value]
    if any(isinstance(path, str) and _DRIVE.match(path) for path in paths):
        raise OF_WINDOWS
    return value


def is_empty(path: object) -> bool:
    """Whether a path is an empty text."""
    return isinstance(path, str) and not path.strip()


def refuse_empty(value: object) -> object:
    """Refuse an empty path."""
    if is_empty(value):
        raise EMPTY
    return value


def one_name(path: Path) -> Path:
    """Return ``path`` without links and ``..``; what does not exist yet keeps its name."""
    return Path(os.path.realpath(at_home(path)))


def at_home(path: Path) -> Path:
    """Replace ``~``. Raises ValueError."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(tr("there is no such home folder")) from error


def check_layout(template: str) -> str:
    """Return a template of folders. Raises ValueError."""
    Layout(template)
    return template
