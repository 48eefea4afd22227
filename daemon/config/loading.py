"""Settings from the command line over the environment over config.toml; a mistake names its key and its place."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from daemon.config.class_rules import ClassRule
from daemon.config.settings import OPTIONS, PREFIX, RULES_KEY, Settings
from daemon.config.values import EMPTY, EMPTY_ENTRY, OF_WINDOWS
from models.errors import UserError
from models.text.language import mark, tr
from models.text.spelling import closest

DEFAULT_FILE = Path("config.toml")


def load(flags: Mapping[str, object], file: Path | None = None) -> Settings:
    """Load the settings from ``flags`` (those given), the environment and ``file`` (default: ./config.toml, if there).

    Raises `UserError` naming the key, and whether the flag, the variable or the file is wrong.
    """
    used = used_file(file)
    from_file = {} if used is None else _read_file(used)
    file = file or DEFAULT_FILE
    environment = _environment()
    merged = {key: value for key, value in from_file.items() if key not in environment} | dict(flags)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise UserError(_sentence(error, flags, environment, file)) from error
    return settings


_RULE_EXAMPLE = f'[{RULES_KEY}."receipt"]'


def used_file(file: Path | None) -> Path | None:
    """Return the configuration file that `load` reads: the one that is named, else ./config.toml if there."""
    return DEFAULT_FILE if file is None and DEFAULT_FILE.is_file() else file


def _read_file(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # Windows' editors put a mark at its start
    except FileNotFoundError as error:
        raise UserError(
            tr("there is no configuration file {file}: create it or leave --config out", file=file)
        ) from error
    except OSError as error:
        raise UserError(
            tr("the configuration file {file} cannot be read: {reason}", file=file, reason=error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(tr("the configuration file {file} is not valid UTF-8: save it as UTF-8", file=file)) from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            tr(
                "the configuration file {file} is not valid TOML: {error}: "
                "fix that line (text, such as a path, goes between quotes, and so does the name of a class: {example})",
                file=file,
                error=_of_toml(str(error)),
                example=_RULE_EXAMPLE,
            )
        ) from error
    if "rules" in content:
        raise UserError(_not_a_setting(tr("{key} in {file}", key="rules", file=file), "rules"))
    return {"rules" if key == RULES_KEY else key: value for key, value in content.items()}


def _of_toml(complaint: str) -> str:
    """Word an error of the TOML parser, with its position."""
    what, _, place = complaint.rpartition(" (at ")
    if place == "end of document)":
        return tr("{what} (at end of document)", what=tr(what))
    match = re.fullmatch(r"line (\d+), column (\d+)\)", place)
    if match is None:
        return complaint
    line, column = match.groups()
    return tr("{what} (at line {line}, column {column})", what=tr(what), line=line, column=column)


def _environment() -> dict[str, str]:
    """Our variables by key. An unknown one is most likely misspelled, so it is an error."""
    ours = {name.removeprefix(PREFIX).lower(): name for name in os.environ if name.upper().startswith(PREFIX)}
    for key, name in ours.items():
        if key not in OPTIONS:
            raise UserError(_not_a_setting(tr("the environment variable {name}", name=name), key))
    return ours


def _sentence(error: ValidationError, flags: Mapping[str, object], environment: Mapping[str, str], file: Path) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if key == "rules":
        return _sentence_of_rule(first, file)
    if key in flags:
        place = f"--{key.replace('_', '-')}"
    elif key in environment:
        place = tr("the environment variable {name}", name=environment[key])
    else:
        place = tr("{key} in {file}", key=key, file=file)
    if first["type"] == "extra_forbidden":
        return _not_a_setting(place, key, RULES_KEY)
    if key in _SECRET:
        return tr("{place} is not valid: {requirement}", place=place, requirement=tr(_REQUIREMENTS[key]))
    return _complaint(place, first, _choices(Settings, key), _REQUIREMENTS.get(key))


def _sentence_of_rule(first: ErrorDetails, file: Path) -> str:
    """Word what is wrong with the rule of a class, or with all of them."""
    path = [RULES_KEY, *map(str, first["loc"][1:3])]
    place = tr("{key} in {file}", key=".".join([path[0], *(f'"{name}"' for name in path[1:2]), *path[2:]]), file=file)
    if len(path) < 3:
        if first["type"] == "value_error":
            return _complaint(place, first, [], None)
        return tr(
            "{place} is not a table: the rule of a class is written below {example}", place=place, example=_RULE_EXAMPLE
        )
    if first["type"] == "extra_forbidden":
        near = closest(path[2], ClassRule.model_fields)
        keys = ", ".join(ClassRule.model_fields)
        if near:
            return tr(
                "{place} is not a setting of a rule (did you mean {near}?): a rule may have {keys}",
                place=place,
                near=near,
                keys=keys,
            )
        return tr("{place} is not a setting of a rule: a rule may have {keys}", place=place, keys=keys)
    requirement = mark('give a number from 0 to 1, or a share such as "70%"') if path[2] == "threshold" else None
    return _complaint(place, first, _choices(ClassRule, path[2]), requirement)


def _complaint(place: str, first: ErrorDetails, choices: Sequence[str], requirement: str | None) -> str:
    """Say what is wrong with a value, and what it should be."""
    if first["type"] == EMPTY.type:
        return tr("{place} is empty: name a folder", place=place)
    if first["type"] == EMPTY_ENTRY.type:
        return tr("{place} has an entry that is empty: name a folder", place=place)
    value = str(first["input"]).lower() if isinstance(first["input"], bool) else repr(first["input"])
    near = closest(str(first["input"]), choices) if first["type"] == "literal_error" else None
    values = {"place": place, "value": value, "requirement": _requirement(first, choices, requirement)}
    if near:
        return tr("{place} is {value}, which is not valid (did you mean {near}?): {requirement}", near=near, **values)
    return tr("{place} is {value}, which is not valid: {requirement}", **values)


def _choices(model: type[BaseModel], key: str) -> list[str]:
    """Return the values of a setting that is one of a few words."""
    field = model.model_fields.get(key)
    alternatives = [] if field is None else [field.annotation, *get_args(field.annotation)]
    return [str(choice) for one in alternatives if get_origin(one) is Literal for choice in get_args(one)]


def _not_a_setting(place: str, key: str, *others: str) -> str:
    near = closest(key, [*OPTIONS, *others])
    if near:
        return tr(
            "{place} is not a setting (did you mean {near}?): python -m daemon --help names them all",
            place=place,
            near=near,
        )
    return tr("{place} is not a setting: python -m daemon --help names them all", place=place)


#: What a value should have been, where pydantic speaks of types or makes one complaint per alternative.
_REQUIREMENTS = {
    "threshold": mark('give a number from 0 to 1, a share such as "70%", or "auto"'),
    "watch": mark("give a list of folders"),
    "quiet_after_close_seconds": mark("give a number of seconds, \"auto\", or a number for each inbox: './scans' = 10"),
    "plugins": mark("give a list of names"),
    "alerts": mark("give a list of addresses such as 'ntfy://SERVER/TOPIC'"),
    "alarm_free_mb": mark('give a number of megabytes, or "auto"'),
}
#: Settings whose values are shown to nobody.
_SECRET = frozenset({"alerts"})

#: What pydantic requires, by its name of the complaint; the fields are those of the complaint's context.
_OF_PYDANTIC = {
    "greater_than": mark("should be greater than {gt:g}"),
    "greater_than_equal": mark("should be greater than or equal to {ge:g}"),
    "less_than_equal": mark("should be less than or equal to {le:g}"),
    "finite_number": mark("should be a finite number"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), mark("should be a whole number")),
    **dict.fromkeys(("float_type", "float_parsing"), mark("should be a number")),
    **dict.fromkeys(("bool_type", "bool_parsing"), mark("should be true or false")),
    "string_type": mark("should be a text between quotes"),
    "path_type": mark("give a path between quotes"),
    "list_type": mark("should be a list"),
}


def _requirement(complaint: ErrorDetails, choices: Sequence[str], requirement: str | None) -> str:
    kind, message = complaint["type"], complaint["msg"]
    if kind == OF_WINDOWS.type:
        return tr("it is a Windows path: give the folder's path on this machine")
    if requirement is not None:
        return tr(requirement)
    if kind == "literal_error":
        return tr("give one of {choices}", choices=", ".join(choices))
    if kind in _OF_PYDANTIC:
        return tr(_OF_PYDANTIC[kind], **complaint.get("ctx", {}))
    return message.removeprefix("Value error, ").removeprefix("Input ")
