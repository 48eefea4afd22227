"""Small files by which the daemon tells the trainer the kind of a folder, and which names no class may have.

The daemon writes a marker into every folder that it files into; its one line is the kind of the folder. Beside the
pointer of published checkpoints it records the names of its folders for other images, which are reserved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from models.files.atomic import atomic_file

#: The name of the marker.
MARKER = ".imagesortd"
#: The kind of a folder: for a class, for unsure and unknown images, for files that cannot be read, or for duplicates of
#: filed images. No two words have the same length: the daemon checks a marker by its size.
Kind = Literal["class", "others", "quarantine", "duplicate"]
#: The kinds of folders that hold no images of a class.
NOT_CLASSES = ("others", "quarantine", "duplicate")
#: The default names of the folders for other images.
USUAL_NAMES = ("others", "quarantine")
#: Lies beside the pointer, with the names of those folders by the output folder of each daemon.
NAMES_FILE = "daemon-folders.json"

_MAX_BYTES = 1 << 16


def marker_content(kind: Kind) -> bytes:
    """Return the content of the marker of such a folder."""
    return f"{kind}\n".encode()


def read_kind(folder: Path) -> Kind | Literal[""] | None:
    """Read the kind of a folder; "" if its marker is unreadable or too old to tell, None without a marker."""
    try:
        descriptor = os.open(folder / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    try:
        marker = os.read(descriptor, 64)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return next((kind for kind in get_args(Kind) if marker == marker_content(kind)), "")


def record_names(checkpoints: Path, output: Path, names: Sequence[str]) -> None:
    """Record the names of a daemon's folders for other images, by its ``output`` folder. Raises OSError."""
    if not checkpoints.is_dir() or (checkpoints / "checkpoint.safetensors").exists():  # not a folder of runs
        return
    recorded = _read_names(checkpoints)
    if recorded.get(str(output)) == list(names):
        return
    with atomic_file(checkpoints / NAMES_FILE) as file:
        file.write(json.dumps(recorded | {str(output): list(names)}, indent=1).encode() + b"\n")


def reserved_names(checkpoints: Path) -> list[str]:
    """Return the names that no class may have: those that daemons have recorded, else the defaults."""
    recorded = _read_names(checkpoints)
    return sorted({name for names in recorded.values() for name in names}) if recorded else list(USUAL_NAMES)


def first_reserved(classes: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first class in a folder with one of the names, ignoring case; None if there is none."""
    folded = {name.casefold() for name in names}
    return next((name for name in classes if name.partition("/")[0].casefold() in folded), None)


def _read_names(checkpoints: Path) -> dict[str, list[str]]:
    with suppress(OSError, ValueError, RecursionError):
        with (checkpoints / NAMES_FILE).open("rb") as file:
            names_by_output = json.loads(file.read(_MAX_BYTES))
        if isinstance(names_by_output, dict):
            return {
                output: names
                for output, names in names_by_output.items()
                if isinstance(names, list) and all(isinstance(name, str) for name in names)
            }
    return {}
