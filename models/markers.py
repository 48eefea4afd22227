"""What the daemon and the trainer tell each other by small files: what a folder is for, and which names are taken.

The daemon leaves a marker in every folder that it files into; its one line says what goes there. Beside the pointer of
published checkpoints it leaves the names of its folders for other images, which no class may have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from models.atomic import atomic_file

#: In every folder that the daemon files into.
MARKER = ".imagesortd"
#: What a folder is for: a class, images that are unsure or unknown, or files that cannot be read. No two words of one
#: length: the daemon tells by the size of a marker whether it says the right one.
Kind = Literal["class", "others", "quarantine"]
#: What these folders are called where no setting says otherwise.
USUAL_NAMES = ("others", "quarantine")
#: Beside the pointer: the names of those folders, by the output folder of each daemon.
NAMES_FILE = "daemon-folders.json"

_LONGEST = 1 << 16


def content(kind: Kind) -> bytes:
    """What the marker of such a folder holds."""
    return f"{kind}\n".encode()


def read_kind(folder: Path) -> Kind | Literal[""] | None:
    """What a folder is for; "" where an older marker does not say, None where there is no marker."""
    try:
        descriptor = os.open(folder / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    try:
        found = os.read(descriptor, 64)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return next((kind for kind in get_args(Kind) if found == content(kind)), "")


def leave_names(checkpoints: Path, output: Path, names: Sequence[str]) -> None:
    """Note which folders a daemon that files into ``output`` has for other images. Raises OSError."""
    if not checkpoints.is_dir() or (checkpoints / "checkpoint.safetensors").exists():  # no folder of runs
        return
    known = _names(checkpoints)
    if known.get(str(output)) == list(names):
        return
    with atomic_file(checkpoints / NAMES_FILE) as file:
        file.write(json.dumps(known | {str(output): list(names)}, indent=1).encode() + b"\n")


def taken_names(checkpoints: Path) -> list[str]:
    """The names that no class may have: those of the daemons that were there, else the usual ones."""
    known = _names(checkpoints)
    return sorted({name for names in known.values() for name in names}) if known else list(USUAL_NAMES)


def taken(classes: Sequence[str], names: Sequence[str]) -> str | None:
    """The first class that has one of the names, where upper and lower case are the same."""
    folded = {name.casefold() for name in names}
    return next((name for name in classes if name.casefold() in folded), None)


def _names(checkpoints: Path) -> dict[str, list[str]]:
    with suppress(OSError, ValueError, RecursionError):
        with (checkpoints / NAMES_FILE).open("rb") as file:
            found = json.loads(file.read(_LONGEST))
        if isinstance(found, dict):
            return {
                output: names
                for output, names in found.items()
                if isinstance(names, list) and all(isinstance(name, str) for name in names)
            }
    return {}
