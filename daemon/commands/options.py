"""Options that are settings, for every command that reads the daemon's configuration."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from daemon.config import OPTIONS, Settings
from models.text.completion import offer
from models.text.language import tr

#: Every command has this one anyway.
_EVERYWHERE = frozenset({"language"})


def add_settings(parser: argparse.ArgumentParser, only: Collection[str] = OPTIONS) -> None:
    """Add settings as options, all or ``only`` some; parsing returns only those that were given, see `given`."""
    for name, field in Settings.model_fields.items():
        if name in only and name not in _EVERYWHERE:
            action = parser.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, **_options(field))
            if get_origin(field.annotation) is Literal:
                offer(action, partial(_values, field))
    config = parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE")
    config.help = tr("settings file (./config.toml where there is one)")


def _options(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    assert field.description is not None
    default = tr(str(extra["usual"])) if extra["usual"] else _shown_default(field.default)
    options: dict[str, Any] = {"help": tr(field.description) + (f" ({default})" if default else "")}
    if field.annotation is bool:
        return options | {"action": argparse.BooleanOptionalAction}
    if field.annotation == list[Path]:
        options["action"] = "append"
    return options | {"metavar": extra["metavar"]}


def _values(field: FieldInfo, _: argparse.Namespace) -> list[str]:
    return list(get_args(field.annotation))


def _shown_default(default: object) -> str:
    """Return the default for people; "" where it says nothing."""
    if isinstance(default, list):
        return ", ".join(map(_shown_default, default))
    if isinstance(default, Path):
        return f"./{default}"
    if isinstance(default, bool) or default in (None, "auto"):
        return ""
    return f"{default:g}" if isinstance(default, int | float) else str(default)


def given(options: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """Split parsed options into the settings that were given, and the configuration file."""
    flags = dict(options)
    return flags, flags.pop("config", None)
