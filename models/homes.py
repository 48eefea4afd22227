"""The user's own folders by the XDG base directories, where there is a user and a home."""

from __future__ import annotations

import os
from pathlib import Path

from models.errors import UserError
from models.text.language import tr


def base_folder(variable: str, under_home: str, option: str) -> Path:
    """The folder that an XDG variable names, else its place in the home folder.

    Raises `UserError` where there is neither, which is so in a container that runs as a user unknown to it; ``option``
    says what else would name the folder, such as ``--state-dir``.
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


def expanded(given: str | Path) -> Path:
    """A path with its ``~``. Raises `UserError` where there is no such home folder."""
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UserError(tr("{given}: there is no such home folder: give the whole path", given=given)) from error
