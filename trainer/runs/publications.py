"""The history of a folder of runs: what was published in it, and every step back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ValidationError

#: Beside the runs: every publication and every step back, one JSON object a line.
HISTORY = "published.jsonl"


class Publication(BaseModel):
    """One line of the history."""

    run: str
    sha256: str
    published: str
    rollback: bool = False


def note(folder: Path, entry: Publication) -> None:
    """Add a line to the history of ``folder``, durably. Raises `OSError`."""
    with (folder / HISTORY).open("a+b") as file:
        file.write(_end_of_torn_line(file) + entry.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _end_of_torn_line(history: BinaryIO) -> bytes:
    """The newline that is missing after a line whose writing was cut short, so that the next one stands alone."""
    if history.seek(0, os.SEEK_END) == 0:
        return b""
    history.seek(-1, os.SEEK_END)
    return b"" if history.read(1) == b"\n" else b"\n"


def publications(folder: Path) -> list[Publication]:
    """The history, oldest first. A line that was cut off is passed over, and only that one."""
    try:
        lines = (folder / HISTORY).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        with contextlib.suppress(ValidationError):
            entries.append(Publication.model_validate_json(line))
    return entries


def standing(folder: Path) -> list[Publication]:
    """What was published and not rolled back since, oldest first."""
    stack: list[Publication] = []
    for entry in publications(folder):
        if entry.rollback:
            while stack and stack[-1].run != entry.run:
                stack.pop()
        else:
            stack = [kept for kept in stack if kept.run != entry.run] + [entry]
    return stack
