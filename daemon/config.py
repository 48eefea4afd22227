"""Settings: command line over environment over config.toml over defaults; a mistake names its key and its place."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.addresses import check_address
from daemon.files.marker import marked_folder
from models.allowed import split_names
from models.checkpoint import check_class_name
from models.engines import Device
from models.errors import CheckpointError, UserError
from models.leftovers import is_leftover
from models.runtime import Precision
from models.text.language import mark, tr
from models.text.shares import read_share
from models.text.spelling import closest

PREFIX = "IMAGESORTD_"
DEFAULT_FILE = Path("config.toml")


_Quiet = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Every setting of the daemon; config.toml explains each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    watch: Annotated[list[Path], NoDecode] = Field(default=[Path("./inbox")], min_length=1)
    output: Path = Path("./sorted")
    checkpoint: Path = Path("checkpoints")
    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    probation_images: int = Field(default=100, ge=0, le=10_000)
    others_dir: str = "others"
    quarantine_dir: str = "quarantine"
    action: Literal["move", "copy", "link"] = "move"
    language: Literal["auto", "en", "ko"] = "auto"
    recursive: bool = True
    cross_mounts: bool = False
    poll: bool = False
    settle_seconds: float = Field(default=2.0, gt=0, le=3600, allow_inf_nan=False)
    quiet_after_close_seconds: Annotated[_Quiet | dict[Path, _Quiet] | Literal["auto"], NoDecode] = "auto"
    writer_patience_seconds: float = Field(default=300.0, ge=0, le=604800, allow_inf_nan=False)
    rescan_seconds: float = Field(default=60.0, gt=0, le=86400, allow_inf_nan=False)
    batch_size: int = Field(default=16, ge=1, le=256)
    threads: int = Field(default=0, ge=0, le=1024)
    device: Device = "cpu"
    precision: Precision = "float32"
    max_megapixels: int = Field(default=200, ge=1)
    max_file_mb: int = Field(default=512, ge=1)
    decode_memory_mb: int = Field(default=2048, ge=256)
    decode_seconds: float = Field(default=60.0, gt=0, le=86400, allow_inf_nan=False)
    plugins: Annotated[list[str], NoDecode] = []
    cache_dir: Path | None = None
    state_dir: Path | None = None
    journal_days: int = Field(default=400, ge=0, le=36500)
    on_filed: Annotated[list[str], NoDecode] = []
    on_filed_seconds: float = Field(default=30.0, gt=0, le=3600, allow_inf_nan=False)
    metrics_file: Path | None = None
    metrics_listen: str = ""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_json: bool = False

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """True counts as 1 in Python, which nobody means who writes ``threads = true``."""
        if isinstance(value, bool) and info.field_name in _NUMBERS:
            raise ValueError(tr("it must be a number"))
        return value

    @field_validator("threshold", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        """``70%`` and ``7/10`` are 0.7; what is no share is left as it is, for the complaint about it."""
        with suppress(ValueError):
            if isinstance(value, str) and 0 <= (share := read_share(value)) <= 1:
                return share
        return value

    @field_validator("watch", "output", "checkpoint", "cache_dir", "state_dir", "metrics_file", mode="before")
    @classmethod
    def _no_drive(cls, value: object) -> object:
        r"""``D:\photos`` would be a folder of that name here, in the one that the daemon happens to be started in."""
        paths = value if isinstance(value, list) else [value]
        if any(isinstance(path, str) and _DRIVE.match(path) for path in paths):
            raise _OF_WINDOWS
        return value

    @field_validator("watch", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        folders = value.split(os.pathsep) if isinstance(value, str) else value
        if isinstance(folders, list) and any(_is_empty(folder) for folder in folders):
            raise _EMPTY if len(folders) == 1 else _EMPTY_ENTRY
        return folders

    @field_validator("quiet_after_close_seconds", mode="before")
    @classmethod
    def _by_inbox(cls, value: object) -> object:
        """``10``, or ``./scans=10,./letters=5`` where it is text."""
        if isinstance(value, dict) and any(isinstance(seconds, bool) for seconds in value.values()):
            raise ValueError(tr("it must be a number"))
        if not isinstance(value, str) or "=" not in value:
            return value
        return {inbox: seconds for inbox, _, seconds in (part.rpartition("=") for part in value.split(","))}

    @field_validator("quiet_after_close_seconds")
    @classmethod
    def _by_their_one_name(cls, value: float | str | dict[Path, float]) -> float | str | dict[Path, float]:
        return {_one_name(inbox): seconds for inbox, seconds in value.items()} if isinstance(value, dict) else value

    @field_validator("output", "checkpoint", mode="before")
    @classmethod
    def _somewhere(cls, value: object) -> object:
        if _is_empty(value):
            raise _EMPTY
        return value

    @field_validator("plugins", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return split_names(value) if isinstance(value, str) else value

    @field_validator("on_filed", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        try:
            return shlex.split(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(tr(_OF_SHLEX.get(str(error), str(error)))) from error

    @field_validator("watch", "output")
    @classmethod
    def _resolved(cls, value: Path | list[Path]) -> Path | list[Path]:
        """The one name of each folder, so that two spellings of it are seen to be one."""
        if isinstance(value, list):
            return list(dict.fromkeys(map(_one_name, value)))
        return _one_name(value)

    @field_validator("checkpoint", "cache_dir", "state_dir", "metrics_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """With its links: one in ``checkpoint`` may be what publishes another checkpoint."""
        return None if value is None else _at_home(value).absolute()

    @field_validator("cache_dir", "state_dir", "metrics_file", mode="before")
    @classmethod
    def _empty_is_usual(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("metrics_file")
    @classmethod
    def _collected(cls, value: Path | None) -> Path | None:
        """The textfile collector passes over every other name in silence."""
        if value is not None and value.suffix != ".prom":
            raise ValueError(tr("its name must end in .prom, for node_exporter reads no other file"))
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _local(cls, address: str) -> str:
        return check_address(address)

    @field_validator("others_dir", "quarantine_dir")
    @classmethod
    def _folder_name(cls, name: str) -> str:
        if is_leftover(name):
            raise ValueError(tr("a system or a program has folders of that name, which are left alone"))
        try:
            return check_class_name(name)
        except CheckpointError as error:
            raise ValueError(tr("it must be the name of one folder")) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line and the file come merged in ``init_settings``; see `load`."""
        return init_settings, env_settings


#: The settings that are numbers.
_NUMBERS = frozenset(key for key, field in Settings.model_fields.items() if field.annotation in (int, float)) | {
    "threshold",
    "quiet_after_close_seconds",
}
#: What is said of a command that cannot be taken apart.
_OF_SHLEX = {
    "No closing quotation": mark("No closing quotation"),
    "No escaped character": mark("No escaped character"),
}
#: What a path of Windows begins with; in TOML the backslash may have made a control character of the next letter.
_DRIVE = re.compile(r"[A-Za-z]:[\\/\x00-\x1f]")
_OF_WINDOWS = PydanticCustomError("of_windows", "a path of Windows")
#: An empty path would mean the folder that the daemon happens to be started in.
_EMPTY = PydanticCustomError("empty_folder", "an empty path")
_EMPTY_ENTRY = PydanticCustomError("empty_entry", "an empty path among others")


def _is_empty(path: object) -> bool:
    return isinstance(path, str) and not path.strip()


def _one_name(path: Path) -> Path:
    """``path`` without links and ``..``; what does not exist yet keeps its name."""
    return Path(os.path.realpath(_at_home(path)))


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(tr("there is no such home folder")) from error


def watches_inside(settings: Settings) -> bool:
    """Whether the folders inside the inboxes are watched, too.

    Not where images are filed into an inbox: what is in its folders has been sorted, by us or by somebody else.
    """
    return settings.recursive and settings.output not in settings.watch


def load(flags: Mapping[str, object], file: Path | None = None) -> Settings:
    """The settings from ``flags`` (those given), the environment, and ``file`` (or ./config.toml if there is one).

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


def used_file(file: Path | None) -> Path | None:
    """The configuration file that `load` reads: the one that is named, else ./config.toml if there is one."""
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
        raise UserError(tr("the configuration file {file} is no text in UTF-8: save it as UTF-8", file=file)) from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            tr(
                "the configuration file {file} is not valid TOML: {error}: "
                "mend that line (text, such as a path, goes between 'quotes')",
                file=file,
                error=_of_toml(str(error)),
            )
        ) from error
    return content


def _of_toml(complaint: str) -> str:
    """What the reader of TOML says, and where."""
    what, _, place = complaint.rpartition(" (at ")
    if place == "end of document)":
        return tr("{what} (at end of document)", what=tr(what))
    found = re.fullmatch(r"line (\d+), column (\d+)\)", place)
    if found is None:
        return complaint
    line, column = found.groups()
    return tr("{what} (at line {line}, column {column})", what=tr(what), line=line, column=column)


def _environment() -> dict[str, str]:
    """Our variables by key. An unknown one is most likely misspelled, so it is an error."""
    ours = {name.removeprefix(PREFIX).lower(): name for name in os.environ if name.upper().startswith(PREFIX)}
    for key, name in ours.items():
        if key not in Settings.model_fields:
            raise UserError(_not_a_setting(tr("the environment variable {name}", name=name), key))
    return ours


def _sentence(error: ValidationError, flags: Mapping[str, object], environment: Mapping[str, str], file: Path) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if key in flags:
        place = f"--{key.replace('_', '-')}"
    elif key in environment:
        place = tr("the environment variable {name}", name=environment[key])
    else:
        place = tr("{key} in {file}", key=key, file=file)
    if first["type"] == "extra_forbidden":
        return _not_a_setting(place, key)
    if first["type"] == _EMPTY.type:
        return tr("{place} is empty: name a folder", place=place)
    if first["type"] == _EMPTY_ENTRY.type:
        return tr("{place} has an entry that is empty: name a folder", place=place)
    value = str(first["input"]).lower() if isinstance(first["input"], bool) else repr(first["input"])
    near = closest(str(first["input"]), _choices(key)) if first["type"] == "literal_error" else None
    said = {"place": place, "value": value, "requirement": _requirement(key, first)}
    if near:
        return tr("{place} is {value}, which is not valid (did you mean {near}?): {requirement}", near=near, **said)
    return tr("{place} is {value}, which is not valid: {requirement}", **said)


def _choices(key: str) -> list[str]:
    """The values of a setting that is one of a few words."""
    return [str(each) for each in get_args(Settings.model_fields[key].annotation)]


def _not_a_setting(place: str, key: str) -> str:
    near = closest(key, Settings.model_fields)
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
}

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


def _requirement(key: str, complaint: ErrorDetails) -> str:
    kind, message = complaint["type"], complaint["msg"]
    if kind == _OF_WINDOWS.type:
        return tr("it is a path of Windows: give the folder's path on this machine")
    if key in _REQUIREMENTS:
        return tr(_REQUIREMENTS[key])
    if kind == "literal_error":
        return tr("give one of {choices}", choices=", ".join(_choices(key)))
    if kind in _OF_PYDANTIC:
        return tr(_OF_PYDANTIC[kind], **complaint.get("ctx", {}))
    return message.removeprefix("Value error, ").removeprefix("Input ")


def check_folders(settings: Settings) -> None:
    """Refuse what would file images for ever: an inbox inside the output. Raises `UserError`."""
    check_output(settings)
    if settings.others_dir.casefold() == settings.quarantine_dir.casefold():
        raise UserError(tr("others_dir and quarantine_dir are the same folder: give them different names"))
    if isinstance(settings.quiet_after_close_seconds, dict):
        for inbox in settings.quiet_after_close_seconds:
            if inbox not in settings.watch:
                raise UserError(
                    tr("quiet_after_close_seconds: {inbox} is not an inbox: name one of watch", inbox=inbox)
                )
    for inbox in settings.watch:
        if _is_no_folder(inbox):
            raise UserError(tr("watch: {inbox} is not a folder: give one", inbox=inbox))
        if settings.output in inbox.parents:
            raise UserError(
                tr(
                    "watch: the inbox {inbox} lies inside the output {output}, so what is filed would come "
                    "in again: move one of them elsewhere",
                    inbox=inbox,
                    output=settings.output,
                )
            )


def check_output(settings: Settings) -> None:
    """Refuse an output that is a file, or that lies inside a class folder. Raises `UserError`."""
    output = settings.output
    if _is_no_folder(output):
        raise UserError(tr("output: {output} is not a folder: give one", output=output))
    if (folder := marked_folder(output)) is not None:
        raise UserError(
            tr(
                "output: {output} lies inside the class folder {folder}: give a folder outside it",
                output=output,
                folder=folder,
            )
        )


def _is_no_folder(path: Path) -> bool:
    """Whether something else than a folder lies there, as far as that can be seen: its mount may be dead now."""
    try:
        return path.exists() and not path.is_dir()
    except OSError:
        return False
