"""The history of a folder of runs: every publication and every rollback."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ValidationError

#: The history file beside the runs, with one JSON object on each line.
HISTORY = "published.jsonl"


class Publication(BaseModel):
    """One line of the history."""

    run: str
    sha256: str
    published: str
    rollback: bool = False


def append_publication(folder: Path, entry: Publication) -> None:
    """Append a line to the history of ``folder`` and flush it. Raises `OSError`."""
    with (folder / HISTORY).open("a+b") as file:
        file.write(_end_of_torn_line(file) + entry.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _end_of_torn_line(history: BinaryIO) -> bytes:
    """Return the newline that a truncated last line lacks, so that the next line stands alone."""
    if history.seek(0, os.SEEK_END) == 0:
        return b""
    history.seek(-1, os.SEEK_END)
    return b"" if history.read(1) == b"\n" else b"\n"


def publications(folder: Path) -> list[Publication]:
    """Return the history, oldest first. A truncated line is skipped, and only that one."""
    try:
        lines = (folder / HISTORY).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        with contextlib.suppress(ValidationError):
            entries.append(Publication.model_validate_json(line))
    return entries


def active_publications(folder: Path) -> list[Publication]:
    """Return the publications that were not rolled back since, oldest first."""
    stack: list[Publication] = []
    for entry in publications(folder):
        if entry.rollback:
            while stack and stack[-1].run != entry.run:
                stack.pop()
        else:
            stack = [earlier for earlier in stack if earlier.run != entry.run] + [entry]
    return stack
