"""The layout: a template of the folders in which images lie, such as ``{class}/{taken:%Y}/{taken:%m}``.

It begins with the folder of the class. Whatever a field holds, it becomes the name of one folder there: no name, date
or class leads out of the class folder, or into a folder that is left alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Formatter
from typing import NamedTuple

from daemon.files.candidates import is_temporary_name
from models.deciding.class_names import check_class_name
from models.errors import CheckpointError
from models.files.leftovers import is_bin, is_leftover
from models.text.language import tr

#: The usual layout: no folders in those of the classes.
FLAT = "{class}"
_FIELDS = ("class", "top", "taken", "filed", "inbox", "stem")
_TIMES = frozenset({"taken", "filed"})
_USUAL_TIME = "%Y-%m-%d"
_DESCRIPTION = re.compile(r"%-?[A-Za-z]")
_MOST_FOLDERS, _MOST_LETTERS = 8, 300
#: The longest name of a folder: even in the folders of a deep class, a path is then not too long for a system.
_MOST_BYTES = 120
_FORBIDDEN = '/\\<>:"|?*'
_JOINERS = "\u200c\u200d"
#: Times by which the description of a time is tried.
_SAMPLES = (datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31))


class LayoutError(ValueError):
    """A template that is no layout; the message says what is wrong with it."""


class _Part(NamedTuple):
    """A part of a folder's name: a ``text`` as it is, or a ``field``, whose ``text`` then is how a time is written."""

    text: str
    field: str | None = None


@dataclass(frozen=True, kw_only=True)
class LayoutValues:
    """What the fields of a layout stand for, for one image."""

    label: str
    taken: datetime
    filed: datetime
    inbox: str
    stem: str

    def of(self, field: str, text: str) -> str:
        """Return the text for a field."""
        match field:
            case "top":
                return self.label.partition("/")[0]
            case "taken" | "filed":
                return _described(self.taken if field == "taken" else self.filed, text or _USUAL_TIME)
            case "inbox":
                return self.inbox
            case _:
                return self.stem


class Layout:
    """The folders inside a class folder, as a template describes them."""

    def __init__(self, template: str) -> None:
        """Raises `LayoutError`."""
        self.template = template
        if len(template) > _MOST_LETTERS:
            raise LayoutError(tr("it is too long: at most {most} letters", most=_MOST_LETTERS))
        folders = [[]] if not template else list(_folders(template))
        if folders[0] != [_Part("", "class")]:
            raise LayoutError(tr("it must begin with {field}, the folder of the class", field="{class}"))
        self._folders = folders[1:]
        if len(self._folders) > _MOST_FOLDERS:
            raise LayoutError(tr("it has too many folders: at most {most} in that of the class", most=_MOST_FOLDERS))
        for folder in self._folders:
            _check(folder)

    @property
    def is_flat(self) -> bool:
        """Whether images lie in the class folders themselves."""
        return not self._folders

    @property
    def uses_taken(self) -> bool:
        """Whether it needs to be known when an image was taken."""
        return self._uses("taken")

    @property
    def uses_filed(self) -> bool:
        """Whether it goes by when an image is filed, so that the same image has another folder another day."""
        return self._uses("filed")

    @property
    def has_folder_a_picture(self) -> bool:
        """Whether it makes a folder for each picture."""
        return self._uses("stem")

    @property
    def stray_description(self) -> str | None:
        """Return a description of a time that stands outside of a field, where it is only letters; None without one."""
        texts = (part.text for folder in self._folders for part in folder if part.field is None)
        return next((found.group() for text in texts if (found := _DESCRIPTION.search(text))), None)

    def _uses(self, field: str) -> bool:
        return any(part.field == field for folder in self._folders for part in folder)

    def inside(self, values: LayoutValues) -> str:
        """Return the path of the folder of an image, below that of its class; "" for that folder itself."""
        return "/".join(
            folder_name(
                "".join(part.text if part.field is None else values.of(part.field, part.text) for part in folder)
            )
            for folder in self._folders
        )


def _described(time: datetime, description: str) -> str:
    try:
        return time.strftime(description)
    except (ValueError, OverflowError):  # of a year that the system cannot describe so
        return ""


def folder_name(text: str) -> str:
    """Make a text the name of one folder, which can be on every system, and which no program leaves alone."""
    name = _cleaned(text).strip(" .")
    while len(name.encode()) > _MOST_BYTES:
        name = name[:-1].rstrip(" .")
    return next((good for good in (name, f"_{name}", f"{name}_", f"_{name}_") if _is_good(good)), "_")


def _folders(template: str) -> Iterator[list[_Part]]:
    """Split a template into the parts of the name of each folder. Raises `LayoutError`."""
    folder: list[_Part] = []
    for part in _parts(template):
        # A time may be described with slashes, too.
        first, *others = part.text.split("/")
        if first or part.field is not None:
            folder.append(_Part(first, part.field))
        for text in others:
            yield folder
            folder = [_Part(text, part.field)] if text else []
    yield folder


def _parts(template: str) -> Iterator[_Part]:
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise LayoutError(
            tr("a brace is left open, or closed twice: a field is written {field}", field="{taken:%Y}")
        ) from error
    for text, field, description, conversion in pieces:
        if text:
            yield _Part(text)
        if field is None:
            continue
        if field not in _FIELDS or conversion is not None:
            fields = ", ".join(f"{{{name}}}" for name in _FIELDS)
            raise LayoutError(tr("there is no field {field}: there are {fields}", field=f"{{{field}}}", fields=fields))
        if description and field not in _TIMES:
            raise LayoutError(tr("{field} takes nothing behind a colon: only times do", field=f"{{{field}}}"))
        yield _Part(description or "", field)


def _check(folder: list[_Part]) -> None:
    if not folder:
        raise LayoutError(tr("a folder has no name: between two slashes, or after the last one"))
    for part in folder:
        if part.field == "class":
            raise LayoutError(tr("{field} stands at its beginning, and nowhere else", field="{class}"))
        if part.field in _TIMES:
            _check_time(part.text)
        elif _cleaned(part.text) != part.text:
            raise LayoutError(_no_folder(part.text))
    text = "".join(part.text for part in folder)
    if all(part.field is None for part in folder) and folder_name(text) != text:
        raise LayoutError(_no_folder(text))


def _check_time(description: str) -> None:
    try:
        for sample in _SAMPLES:
            sample.strftime(description).encode()
    except ValueError as error:
        raise LayoutError(tr("'{text}' describes no time: write %Y, %m or %d", text=description)) from error


def _no_folder(text: str) -> str:
    return tr("'{text}' cannot be the name of a folder on every system, or is one that is left alone", text=text)


def _cleaned(text: str) -> str:
    """Replace what no name of a folder may hold; in NFC, as the names of classes are."""
    return "".join("_" if _is_bad(letter) else letter for letter in unicodedata.normalize("NFC", text))


def _is_bad(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return letter in _FORBIDDEN or kind in {"Cc", "Cs", "Zl", "Zp"} or (kind == "Cf" and letter not in _JOINERS)


def _is_good(name: str) -> bool:
    try:
        if check_class_name(name) != name:
            return False
    except CheckpointError:
        return False
    return not (is_temporary_name(name) or is_leftover(name) or is_bin(name))
