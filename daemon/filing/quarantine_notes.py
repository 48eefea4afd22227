"""Write and read the note beside a quarantined image that says why it is there."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from loguru import logger

from daemon.files.copying import create
from daemon.files.names import numbered
from daemon.files.renaming import FileAt
from daemon.files.source import OPEN_FLAGS
from daemon.filing.free_names import free_name
from daemon.journal.records import Filing
from models.files.ownership import hand_over
from models.text.jsontext import json_text
from models.text.language import tr


def reason_name(image: FileAt) -> str:
    """Return the name for the note of an image: the image's name, shortened if needed, and ``.json``."""
    return numbered(f"{image.name}.json", 1, os.fpathconf(image.folder, "PC_NAME_MAX"))


def write_reason(image: FileAt, row: Filing) -> None:
    """Write the note, under a name that is free. If that fails, it is only logged: the image is filed."""
    note = {
        "reason": row.reason,
        "detail": row.detail,
        "source": str(row.source),
        "sha256": row.sha256,
        "size": row.identity.size,
        "time": row.time.isoformat(timespec="seconds"),
    }
    try:
        entry = FileAt(image.folder, free_name(image.folder, reason_name(image)))
        with os.fdopen(create(entry, 0o666), "w", encoding="utf-8") as file:
            hand_over(file.fileno(), image.folder)
            file.write(json_text(note, indent=2))
    except OSError as error:
        logger.warning(
            tr(
                "the note beside '{destination}' cannot be written: {error}",
                destination=str(row.destination),
                error=error,
            )
        )


def lacks_reason(image: FileAt) -> bool:
    """Whether an image has no note, or an empty one: the process that wrote it was killed. Raises OSError."""
    try:
        return FileAt(image.folder, reason_name(image)).stat().st_size == 0
    except FileNotFoundError:
        return True


def complete_reason(image: FileAt, row: Filing) -> None:
    """Write the note of an image that lacks it. Raises OSError."""
    with suppress(FileNotFoundError):
        FileAt(image.folder, reason_name(image)).unlink()  # an empty one
    write_reason(image, row)


def read_reason(image: FileAt) -> dict[str, Any]:
    """Read the note of an image; empty where there is none that can be read."""
    try:
        note = os.open(reason_name(image), OPEN_FLAGS, dir_fd=image.folder)
        with os.fdopen(note, encoding="utf-8") as file:
            written = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


def remove_reason(image: FileAt, filing: Filing) -> None:
    """Take away the note that was written beside a quarantined image, if it is that note."""
    note = read_reason(image)
    same = filing.sha256 is not None and note.get("sha256") == filing.sha256
    if same or note.get("source") == str(filing.source):
        with suppress(OSError):
            FileAt(image.folder, reason_name(image)).unlink()
