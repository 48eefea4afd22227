"""What a class may be called: its name is that of a folder, on whatever file system, or a path of such names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

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


#: A class may lie this many folders deep.
MOST_DEPTH = 8
#: The most bytes of a whole class path, so that the path of an image in its folder is one that systems take.
_MOST_PATH_BYTES = 700
_MOST_SHOWN = 80


def check_class_path(path: str) -> str:
    """Return a class in NFC: a name, or several with "/" between them, such as ``animals/dog``.

    Raises `CheckpointError` unless each can be a folder's name on every system.
    """
    checked = "/".join(check_class_name(name) for name in path.split("/"))
    if checked.count("/") >= MOST_DEPTH or len(checked.encode()) > _MOST_PATH_BYTES:
        raise CheckpointError(
            tr(
                "the class '{name}' lies too deep: at most {depth} folders and {bytes} bytes in all",
                name=checked if len(checked) <= _MOST_SHOWN else f"{checked[:_MOST_SHOWN]}…",
                depth=MOST_DEPTH,
                bytes=_MOST_PATH_BYTES,
            )
        )
    return checked


def check_distinct(names: Sequence[str]) -> None:
    """Raise `CheckpointError` when two classes would share a folder.

    That is so where they, or folders that they lie in, differ in upper and lower case only, and where one class lies in
    the folder of another.
    """
    folders: dict[str, str] = {}
    classes: dict[str, str] = {}
    for name in names:
        for path in (*inner_folders_of(name), name):
            other = folders.setdefault(folded(path), path)
            if other != path or (path == name and folded(path) in classes):
                raise CheckpointError(
                    tr(
                        "the class names '{seen}' and '{name}' are one folder where upper and lower case are the same",
                        seen=other,
                        name=path,
                    )
                )
        classes[folded(name)] = name
    for name in names:
        if (outer := next((path for path in inner_folders_of(name) if folded(path) in classes), None)) is not None:
            raise CheckpointError(
                tr(
                    "the class '{inner}' lies in the folder of the class '{outer}': leave one of the two out",
                    inner=name,
                    outer=outer,
                )
            )


def inner_folders_of(path: str) -> Iterator[str]:
    """Yield the folders that the folder of a class lies in, the topmost first."""
    steps = path.split("/")
    for depth in range(1, len(steps)):
        yield "/".join(steps[:depth])


def folded(path: str) -> str:
    """Fold a path: equal for two names that are one folder where upper and lower case are the same."""
    return unicodedata.normalize("NFC", path.casefold())
