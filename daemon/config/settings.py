"""Every setting: its type, its default, its bounds and its help. config.toml says them to people.

To add one, write an entry here and in config.toml, and the translation of its help in messages.ko.toml. Besides, where

- a value of it can be refused, `loading` may need a sentence;
- a running daemon can take it over, `daemon.reconfigure` needs its name;
- the pipeline goes by it, `daemon.reloading.pipeline_settings.PipelineSettings` needs a field;
- `sort` has it, too, the list of that command needs its name.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.config.addresses import check_address
from daemon.config.class_rules import ClassRule, ClassRules, Handling, by_class
from daemon.config.values import (
    EMPTY,
    EMPTY_ENTRY,
    as_share,
    as_words,
    at_home,
    check_layout,
    is_empty,
    one_name,
    refuse_empty,
    refuse_windows,
)
from daemon.files.layout import FLAT
from models.allowed import split_names
from models.deciding.class_names import check_class_name
from models.errors import CheckpointError
from models.files.leftovers import is_leftover
from models.inference.devices import Device, Precision
from models.text.language import mark, tr

PREFIX = "IMAGESORTD_"

#: See `daemon.alarms.causes`.
AlarmCause = Literal["silence", "others", "quarantine", "disk", "promise", "probation"]
_Quiet = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)]


def setting(default: object, help: str, *, metavar: str | None = None, usual: str | None = None, **bounds: Any) -> Any:
    """Define a setting with its help text, as in ``--help``, and the placeholder for its value.

    ``usual`` stands for the default where that says nothing by itself. ``bounds`` are pydantic's.
    """
    return Field(default=default, description=help, json_schema_extra={"metavar": metavar, "usual": usual}, **bounds)


class Settings(BaseSettings):
    """Settings of the daemon; config.toml explains each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    watch: Annotated[list[Path], NoDecode] = setting(
        [Path("./inbox")], mark("a folder to watch; may be repeated"), metavar="INBOX", min_length=1
    )
    output: Path = setting(Path("./sorted"), mark("where class folders appear"), metavar="DIR")
    checkpoint: Path = setting(
        Path("checkpoints"), mark("checkpoint file, run folder, or folder the trainer publishes to"), metavar="PATH"
    )
    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = setting(
        "auto", mark('less probable images go to others/: 0 to 1, or "auto"'), metavar="P"
    )
    probation_images: int = setting(
        100, mark("images that a new model is on probation for; 0: no probation"), metavar="N", ge=0, le=10_000
    )
    others_dir: str = setting("others", mark("folder for unsure and unknown images"), metavar="NAME")
    quarantine_dir: str = setting("quarantine", mark("folder for unreadable files"), metavar="NAME")
    duplicates: Literal["keep", "folder", "leave"] = setting(
        "keep",
        mark(
            "what becomes of an image with the same bytes as a filed one: it is filed, too, goes to a folder for "
            "duplicates, or stays"
        ),
        metavar="keep|folder|leave",
    )
    duplicates_dir: str = setting("duplicates", mark("folder for duplicates"), metavar="NAME")
    burst_seconds: float = setting(
        0.0,
        mark("images that one camera took within so many seconds, and that look alike, are decided together; 0: none"),
        metavar="S",
        ge=0,
        le=600,
        allow_inf_nan=False,
    )
    layout: str = setting(
        FLAT, mark("folders inside those of the classes; config.toml explains it"), metavar="TEMPLATE"
    )
    action: Literal["move", "copy", "link", "tag"] = setting(
        "move", mark("what filing does"), metavar="move|copy|link|tag"
    )
    metadata: Literal["none", "xmp"] = setting(
        "none", mark("whether filed images are also tagged, in XMP sidecars"), metavar="none|xmp"
    )
    language: Literal["auto", "en", "ko"] = "auto"
    recursive: bool = setting(True, mark("also watch the folders inside"))
    cross_mounts: bool = setting(False, mark("also watch folders inside that are on other file systems"))
    poll: bool = setting(False, mark("look through the inboxes again and again, instead of waiting for events"))
    settle_seconds: float = setting(
        2.0,
        mark("time without a change after which a file is complete"),
        metavar="S",
        gt=0,
        le=3600,
        allow_inf_nan=False,
    )
    quiet_after_close_seconds: Annotated[_Quiet | dict[Path, _Quiet] | Literal["auto"], NoDecode] = setting(
        "auto",
        mark(
            "how long a file is left alone after it was closed, for scanners that open it again for the next page; "
            "by inbox: ./scans=10,./letters=5"
        ),
        metavar="S",
        usual=mark("auto: 10 for TIFF"),
    )
    writer_patience_seconds: float = setting(
        300.0,
        mark("how long a file that grew, is empty or has gaps is unfinished, where nobody can say whether it is open"),
        metavar="S",
        ge=0,
        le=604800,
        allow_inf_nan=False,
    )
    rescan_seconds: float = setting(
        60.0, mark("time between looks at the whole inbox"), metavar="S", gt=0, le=86400, allow_inf_nan=False
    )
    batch_size: int = setting(16, mark("images per step of the model"), metavar="N", ge=1, le=256)
    threads: int = setting(0, mark("threads that decode and compute; 0 is one per core"), metavar="N", ge=0, le=1024)
    device: Device = setting("cpu", mark("where the model computes"), metavar="cpu|cuda")
    precision: Precision = setting(
        "float32", mark("precision that transformers such as CLIP compute with"), metavar="float32|int8"
    )
    max_megapixels: int = setting(200, mark("larger images go to the quarantine"), metavar="N", ge=1)
    max_file_mb: int = setting(512, mark("larger files go to the quarantine"), metavar="N", ge=1)
    decode_memory_mb: int = setting(
        2048, mark("images that need more to be decoded go to the quarantine"), metavar="N", ge=256
    )
    decode_seconds: float = setting(
        60.0,
        mark("images that need longer to be decoded go to the quarantine"),
        metavar="S",
        gt=0,
        le=86400,
        allow_inf_nan=False,
    )
    plugins: Annotated[list[str], NoDecode] = setting(
        [], mark("packages that may bring backbones, joined with commas"), metavar="NAMES"
    )
    cache_dir: Path | None = setting(None, mark("for weights and graphs"), metavar="DIR", usual="~/.cache/imagesortd")
    state_dir: Path | None = setting(None, mark("for the journal"), metavar="DIR", usual="~/.local/state/imagesortd")
    journal_days: int = setting(
        400, mark("what was filed longer ago is forgotten; 0 keeps it all"), metavar="N", ge=0, le=36500
    )
    learn: Literal["on", "ask", "off"] = setting(
        "on", mark('learn from what people correct: "on", "ask" (only when told to) or "off"'), metavar="on|ask|off"
    )
    learn_quiet_seconds: float = setting(
        3.0,
        mark("time without a correction after which a lesson begins"),
        metavar="S",
        ge=0,
        le=86400,
        allow_inf_nan=False,
    )
    learn_every_seconds: float = setting(
        60.0, mark("time between the starts of two lessons"), metavar="S", ge=0, le=604800, allow_inf_nan=False
    )
    learn_seconds: float = setting(
        900.0, mark("time that a lesson may take"), metavar="S", gt=0, le=86400, allow_inf_nan=False
    )
    learn_memory_mb: int = setting(2048, mark("memory that a lesson may use"), metavar="N", ge=256)
    alarms: Annotated[list[AlarmCause], NoDecode] = setting(
        list(get_args(AlarmCause)), mark("what to give an alarm for, joined with commas"), metavar="CAUSES"
    )
    alarm_free_mb: Annotated[int, Field(ge=0)] | Literal["auto"] = setting(
        "auto",
        mark("room on a drive below which there is an alarm"),
        metavar="N",
        usual=mark("auto: 1024, or a twentieth of the drive"),
    )
    alerts: Annotated[list[SecretStr], NoDecode] = setting(
        [], mark("addresses that alarms are sent to, by `python -m daemon alerts`"), metavar="URLS"
    )
    alerts_file: Path | None = setting(
        None, mark("file with addresses that alarms are sent to, one a line, which others cannot read"), metavar="FILE"
    )
    on_filed: Annotated[list[str], NoDecode] = setting(
        [],
        mark("command to run after images were filed; it reads a line with a JSON object for each image"),
        metavar="COMMAND",
    )
    on_filed_seconds: float = setting(
        30.0, mark("time that the command of --on-filed may take"), metavar="S", gt=0, le=3600, allow_inf_nan=False
    )
    metrics_file: Path | None = setting(
        None, mark("Prometheus metrics for node_exporter's textfile collector"), metavar="FILE"
    )
    metrics_listen: str = setting(
        "", mark("127.0.0.1:PORT or a UNIX socket's path, for Prometheus to ask"), metavar="ADDRESS"
    )
    control_group: str = setting(
        "", mark("group whose members may speak to the running daemon, beside its user and root"), metavar="GROUP"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "INFO", mark("DEBUG, INFO, WARNING or ERROR"), metavar="LEVEL"
    )
    log_json: bool = setting(False, mark("one JSON object per line"))
    rules: Annotated[dict[str, ClassRule], NoDecode] = setting({}, mark("what is done differently for a class"))

    @property
    def class_rules(self) -> ClassRules:
        """Return what is done with the images of each class; keep it to ask for many of them."""
        usual = Handling(
            output=self.output,
            action=self.action,
            layout=self.layout,
            threshold=None,
            on_filed=tuple(self.on_filed),
        )
        return ClassRules(usual, self.rules)

    @property
    def outputs(self) -> list[Path]:
        """The folders of class folders: ``output``, and those of the rules of classes."""
        return self.class_rules.outputs

    @field_validator("rules", mode="before")
    @classmethod
    def _by_class(cls, value: object) -> object:
        return by_class(value)

    @property
    def other_folders(self) -> tuple[str, ...]:
        """Return the names of the folders below the output that are no class folders."""
        names = (self.others_dir, self.quarantine_dir)
        return (*names, self.duplicates_dir) if self.are_duplicates_moved else names

    @property
    def are_duplicates_moved(self) -> bool:
        """Whether duplicates go to a folder of their own; else a class may have its name."""
        return self.duplicates == "folder"

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
        return as_share(value)

    @field_validator(
        "watch", "output", "checkpoint", "cache_dir", "state_dir", "metrics_file", "alerts_file", mode="before"
    )
    @classmethod
    def _no_drive(cls, value: object) -> object:
        return refuse_windows(value)

    @field_validator("watch", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        folders = value.split(os.pathsep) if isinstance(value, str) else value
        if isinstance(folders, list) and any(is_empty(folder) for folder in folders):
            raise EMPTY if len(folders) == 1 else EMPTY_ENTRY
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
        return {one_name(inbox): seconds for inbox, seconds in value.items()} if isinstance(value, dict) else value

    @field_validator("output", "checkpoint", mode="before")
    @classmethod
    def _somewhere(cls, value: object) -> object:
        return refuse_empty(value)

    @field_validator("plugins", "alarms", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return split_names(value) if isinstance(value, str) else value

    @field_validator("alerts", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        """Text holds several with spaces or commas between them; an address may have commas inside."""
        return re.split(r"\s*,\s*(?=\w+://)|\s+", value.strip()) if isinstance(value, str) and value.strip() else value

    @field_validator("on_filed", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return as_words(value)

    @field_validator("watch", "output")
    @classmethod
    def _resolved(cls, value: Path | list[Path]) -> Path | list[Path]:
        """Resolve folders, so that two spellings of one folder are equal."""
        if isinstance(value, list):
            return list(dict.fromkeys(map(one_name, value)))
        return one_name(value)

    @field_validator("checkpoint", "cache_dir", "state_dir", "metrics_file", "alerts_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """With its links: one in ``checkpoint`` may be what publishes another checkpoint."""
        return None if value is None else at_home(value).absolute()

    @field_validator("cache_dir", "state_dir", "metrics_file", "alerts_file", mode="before")
    @classmethod
    def _empty_is_usual(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("metrics_file")
    @classmethod
    def _collected(cls, value: Path | None) -> Path | None:
        """Require the ending ``.prom``: the textfile collector ignores all other names without a word."""
        if value is not None and value.suffix != ".prom":
            raise ValueError(tr("its name must end in .prom: node_exporter reads no other files"))
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _local(cls, address: str) -> str:
        return check_address(address)

    @field_validator("others_dir", "quarantine_dir", "duplicates_dir")
    @classmethod
    def _folder_name(cls, name: str) -> str:
        if is_leftover(name):
            raise ValueError(tr("a system or a program has folders of that name, which are left alone"))
        try:
            return check_class_name(name)
        except CheckpointError as error:
            raise ValueError(tr("it must be the name of one folder")) from error

    @field_validator("layout")
    @classmethod
    def _layout(cls, template: str) -> str:
        return check_layout(template)

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
    "alarm_free_mb",
}


#: What the tables of rules are called in config.toml: ``[class."receipt"]``. They are given nowhere else.
RULES_KEY = "class"
#: The settings that the command line and the environment have, too.
OPTIONS = tuple(key for key in Settings.model_fields if key != "rules")


def watches_inside(settings: Settings) -> bool:
    """Whether the folders inside the inboxes are watched, too.

    Not where images are filed into an inbox: what is in its folders has been sorted, by us or by somebody else.
    """
    return settings.recursive and settings.output not in settings.watch
