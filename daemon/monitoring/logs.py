"""Logging to standard error: a line for each image, for people, as JSON, or for systemd's journal."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, TextIO

from loguru import logger

from models.text.jsontext import json_text
from models.text.language import in_own_language

if TYPE_CHECKING:
    from loguru import FormatFunction, Record

_PLAIN = "<green>{time:YYYY-MM-DD HH:mm:ss}</green> <level>{level: <7}</level> {message}"

#: What a line of JSON says of an image, where it is about one; see `daemon.monitoring.messages.fields`.
IMAGE_FIELDS = ("file", "class", "confidence", "destination", "reason")

#: The numbers of syslog(3) that the journal takes at the start of a line, by the least level of ours that has each.
_PRIORITIES = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))


def start_logging(level: str, *, as_json: bool) -> None:
    """Log to standard error; tracebacks never show the values of variables, which may be anybody's file names."""
    logger.remove()
    logger.configure(patcher=_translate_back)
    layout: str | FormatFunction = _PLAIN
    if as_json:
        layout = _json_line
    elif is_journal(sys.stderr):
        layout = _journal_lines
    if sys.stderr.isatty():
        logger.add(_above_a_bar, level=level, format=layout, colorize=True, diagnose=False, backtrace=False)
    else:
        logger.add(sys.stderr, level=level, format=layout, diagnose=False, backtrace=False)


def _translate_back(record: Record) -> None:
    """Log in the daemon's own language what is said while it works for a client, who may have another one."""
    record["message"] = in_own_language(record["message"])


def _above_a_bar(message: str) -> None:
    """Write to a terminal on which `daemon.monitoring.progress` may show a bar: tqdm knows, where it is in use."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(message, file=sys.stderr, end="")
    else:
        sys.stderr.write(message)
        sys.stderr.flush()


def is_journal(stream: TextIO) -> bool:
    """Whether what is written to a stream goes to systemd's journal, which has levels and times of its own.

    ``$JOURNAL_STREAM`` alone says nothing: a child inherits it, and may write elsewhere.
    """
    try:
        status = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _json_line(record: Record) -> str:
    """Format a record as one JSON object on a line, behind the priority that the journal removes."""
    extra = record["extra"]
    values: dict[str, Any] = {
        "time": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "message": record["message"],
    }
    values |= {key: extra[key] for key in IMAGE_FIELDS if extra.get(key) is not None}
    if error := _traceback(record):
        values["traceback"] = error
    prefix = f"<{_priority(record)}>" if is_journal(sys.stderr) else ""
    extra["line"] = prefix + json_text(values, encoding=getattr(sys.stderr, "encoding", None))
    return "{extra[line]}\n"


def _journal_lines(record: Record) -> str:
    """Without a time, and with a priority before each line, of a traceback too: the journal has a time for each."""
    lines = (record["message"] + "\n" + _traceback(record)).strip("\n").split("\n")
    record["extra"]["line"] = "\n".join(f"<{_priority(record)}>{line}" for line in lines)
    return "{extra[line]}\n"


def _priority(record: Record) -> int:
    return next(number for least, number in _PRIORITIES if record["level"].no >= least)


def _traceback(record: Record) -> str:
    error = record["exception"]
    return "" if error is None else "".join(traceback.format_exception(error.type, error.value, error.traceback))
