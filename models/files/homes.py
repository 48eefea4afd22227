"""Find the user's own folders: the XDG base directories and the home folder."""

from __future__ import annotations

import os
from pathlib import Path

from models.errors import UserError
from models.text.language import tr


def base_folder(variable: str, under_home: str, option: str) -> Path:
    """Return the folder that an XDG variable names, else ``under_home`` in the home folder.

    Raises `UserError` if there is neither, as in a container that runs as an unknown user; ``option``, such as
    ``--state-dir``, is then named as another way to give the folder.
    """
    if base := os.environ.get(variable):
        return Path(base)
    try:
        return Path.home() / under_home
    except RuntimeError as error:
        raise UserError(
            tr(
                "user {user} has no home folder here: set HOME or {variable}, or give {option}",
                user=os.getuid(),
                variable=variable,
                option=option,
            )
        ) from error


def expand_home(given: str | Path) -> Path:
    """Expand the ``~`` of a path. Raises `UserError` if there is no such home folder."""
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UserError(tr("{given}: there is no such home folder: give the whole path", given=given)) from error
