"""What a class may be called: its name is that of a folder, on whatever file system."""

from __future__ import annotations

import unicodedata

from models.errors import CheckpointError
from models.text.language import tr

_RESERVED_NAMES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}


def check_class_name(name: str) -> str:
    """Return a class name in NFC. Raises `CheckpointError` unless it can be a folder's name on every system."""
    name = unicodedata.normalize("NFC", name)
    problem = None
    if not name or name in {".", ".."} or name != name.strip() or name.endswith("."):
        problem = tr("is empty, a dot, or begins or ends with a space or ends with a dot")
    elif any(unicodedata.category(character) == "Cs" for character in name):
        problem = tr("is not in UTF-8, as names in archives from Windows often are not")
    elif any(character in '/\\<>:"|?*' or _is_invisible(character) for character in name):
        problem = tr('holds a control character or one of / \\ < > : " | ? *')
    elif name.startswith("."):
        problem = tr("begins with a dot")
    elif name.split(".")[0].rstrip().casefold() in _RESERVED_NAMES:
        problem = tr("is a reserved device name")
    elif len(name.encode()) > 255:
        problem = tr("is longer than 255 bytes")
    if problem is not None:
        raise CheckpointError(
            tr("the class name '{name}' cannot be a folder's name: it {problem}", name=name, problem=problem)
        )
    return name


def _is_invisible(character: str) -> bool:
    """Whether a character is invisible and may mislead: control and format characters, except the two joiners.

    The joiners (U+200C, U+200D) are needed to spell some languages, and join emoji.
    """
    category = unicodedata.category(character)
    return category in {"Cc", "Zl", "Zp"} or (category == "Cf" and character not in "\u200c\u200d")


def check_distinct(names: list[str]) -> None:
    """Raise `CheckpointError` when two class names differ in upper and lower case only."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name.casefold())
        if folded in seen:
            raise CheckpointError(
                tr(
                    "the class names '{seen}' and '{name}' are one folder where upper and lower case are the same",
                    seen=seen[folded],
                    name=name,
                )
            )
        seen[folded] = name
