"""The options that are settings, for every command that looks at the daemon's configuration."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from daemon.config import Settings
from models.text.completion import offer
from models.text.language import tr

#: The command line of every command has this one anyway.
_EVERYWHERE = frozenset({"language"})


def add_settings(parser: argparse.ArgumentParser, only: Collection[str] = Settings.model_fields) -> None:
    """Add settings as options, all or ``only`` some. Only what is given appears among the parsed ones: see `given`."""
    for name, field in Settings.model_fields.items():
        if name in only and name not in _EVERYWHERE:
            action = parser.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, **_options(field))
            if get_origin(field.annotation) is Literal:
                offer(action, partial(_values, field))
    config = parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE")
    config.help = tr("settings file (./config.toml where there is one)")


def _options(field: FieldInfo) -> dict[str, Any]:
    said = field.json_schema_extra
    assert isinstance(said, dict)
    assert field.description is not None
    usual = tr(str(said["usual"])) if said["usual"] else _usual(field.default)
    options: dict[str, Any] = {"help": tr(field.description) + (f" ({usual})" if usual else "")}
    if field.annotation is bool:
        return options | {"action": argparse.BooleanOptionalAction}
    if field.annotation == list[Path]:
        options["action"] = "append"
    return options | {"metavar": said["metavar"]}


def _values(field: FieldInfo, _: argparse.Namespace) -> list[str]:
    return list(get_args(field.annotation))


def _usual(default: object) -> str:
    """The default for people; "" where it says nothing."""
    if isinstance(default, list):
        return ", ".join(map(_usual, default))
    if isinstance(default, Path):
        return f"./{default}"
    if isinstance(default, bool) or default in (None, "auto"):
        return ""
    return f"{default:g}" if isinstance(default, int | float) else str(default)


def given(options: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """Parsed options apart: the settings that were given, and the configuration file."""
    flags = dict(options)
    return flags, flags.pop("config", None)
