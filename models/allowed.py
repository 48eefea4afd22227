"""Which plug-ins may be imported, in this process and in its children: those that whoever runs the program names.

An installed package is not imported for being there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from loguru import logger

from models.text.language import mark, tr

#: The plug-ins that may be imported, joined by commas: what a person sets, and how they reach child processes.
PLUGINS_VARIABLE = "IMAGESORTD_PLUGINS"

#: Where other packages announce backbones: the entry point's name is the plug-in's, its value a module.
ENTRY_POINTS = "imagesortd.backbones"

#: What to do about a plug-in that `missing_plugins` names.
INSTALL_IT = mark("install its package, or take its name out")

_named: tuple[str, ...] | None = None


def allow_plugins(names: Sequence[str] | None) -> None:
    """Let these installed plug-ins register their backbones from now on, and no others.

    None: those that the environment names, as at the start.
    What was imported before stays registered: a module cannot be taken back. This process's own environment is left as
    it is, since settings are read from it.
    """
    global _named
    _named = None if names is None else tuple(names)


def allowed_plugins() -> tuple[str, ...]:
    """The names given to `allow_plugins`, else those in the environment."""
    if _named is not None:
        return _named
    return tuple(split_names(os.environ.get(PLUGINS_VARIABLE, "")))


def missing_plugins() -> list[str]:
    """The allowed ones that no installed package brings; nothing is imported for that."""
    if not (allowed := allowed_plugins()):
        return []
    from importlib.metadata import entry_points  # takes a while, and few have plug-ins

    return [name for name in allowed if not entry_points(group=ENTRY_POINTS, name=name)]


@cache
def report_missing(name: str) -> str:
    """Log, once in a process, that an allowed plug-in is not installed; returns the sentence about it."""
    trouble = tr("it is allowed but not installed: install its package, or take its name out")
    logger.warning(tr("the plug-in {name}: {trouble}", name=name, trouble=trouble))
    return trouble


def split_names(text: str) -> list[str]:
    """The names of plug-ins that are joined by commas, with or without spaces."""
    return [name for part in text.split(",") if (name := part.strip())]
