"""The plug-ins that may be imported, in this process and its children: only those that the user names.

A plug-in is never imported just because its package is installed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from loguru import logger

from models.text.language import mark, tr

#: The environment variable with the allowed plug-ins, joined by commas; users set it, and child processes get it.
PLUGINS_VARIABLE = "IMAGESORTD_PLUGINS"

#: The group of entry points for backbones of other packages: the name is that of the plug-in, the value a module.
ENTRY_POINTS = "imagesortd.backbones"

#: What to do about a plug-in that `missing_plugins` names.
INSTALL_IT = mark("install its package, or take its name out")

_named: tuple[str, ...] | None = None


def allow_plugins(names: Sequence[str] | None) -> None:
    """Allow these installed plug-ins to register their backbones, and no others; None: those in the environment.

    Backbones of modules that were imported before stay registered. The environment of this process is not changed,
    because settings are read from it.
    """
    global _named
    _named = None if names is None else tuple(names)


def allowed_plugins() -> tuple[str, ...]:
    """Return the names given to `allow_plugins`, else those in the environment."""
    if _named is not None:
        return _named
    return tuple(split_names(os.environ.get(PLUGINS_VARIABLE, "")))


def missing_plugins() -> list[str]:
    """Return the allowed plug-ins that are not installed, without importing any."""
    if not (allowed := allowed_plugins()):
        return []
    from importlib.metadata import entry_points  # slow to import, and few users have plug-ins

    return [name for name in allowed if not entry_points(group=ENTRY_POINTS, name=name)]


@cache
def report_missing(name: str) -> str:
    """Log, once per process, that an allowed plug-in is not installed; return the sentence about it."""
    problem = tr("it is allowed but not installed: install its package, or take its name out")
    logger.warning(tr("the plug-in {name}: {problem}", name=name, problem=problem))
    return problem


def split_names(text: str) -> list[str]:
    """Split names that are joined by commas, with or without spaces."""
    return [name for part in text.split(",") if (name := part.strip())]
