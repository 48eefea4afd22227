"""Find the filed images that a person names: by a path, by the end of one as the history prints it, or by a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from daemon.files.copying import sha256_of
from daemon.files.names import spellings
from daemon.files.outputs import output_of, place_in
from daemon.files.renaming import FileAt
from daemon.files.roots import OpenFolders
from daemon.files.sidecar_names import follows
from daemon.files.source import Identity
from daemon.filing.identity import content_version, is_filed_image, is_in_filed_state
from daemon.journal.history import Wanted
from daemon.journal.records import Filing, State
from daemon.operations.classes import class_paths, folders_of_images
from daemon.operations.desk import Desk
from daemon.operations.selection import GivenName
from models.files.image_names import is_image_name, is_raw_name
from models.text.language import tr
from models.text.printable import quoted

#: Rows of one name that are looked at: a camera gives the same names again and again.
_MOST_ROWS = 1000
_MOST_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class NamedImage:
    """An image below the output, and the newest filing that put it somewhere there, if the journal knows one.

    Or an image that was tagged where it lies.
    """

    path: Path
    identity: Identity
    sha256: str
    filing: Filing | None

    @property
    def is_tagged(self) -> bool:
        """Whether it stays where it is, whatever it is said to be."""
        return self.filing is not None and self.filing.action == "tag"


class FiledImage(BaseModel):
    """An image as a person was shown it: the id of its filing, and the ``version`` of its content then."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: int = Field(gt=0, lt=1 << 63)
    version: str


class NoImage(Exception):
    """There is no image of this name, or more than one; the message is a sentence for people."""


def spelling(desk: Desk, *, as_json: bool) -> Callable[[Path], str]:
    """Return how to write paths: whole for JSON, else below the output, as the log and the history have them."""

    def spell(path: Path) -> str:
        if as_json:
            return str(path)
        return quoted(place_in(path, desk.outputs))

    return spell


def find_image(desk: Desk, given: GivenName) -> NamedImage:
    """Find the image that a person means. Raises `NoImage`, OSError, JournalBusy."""
    paths = _candidates(desk, given)
    if not paths:
        raise NoImage(_why_none(desk, given))
    if len(paths) > 1:
        spell = spelling(desk, as_json=False)
        names = [spell(path) for path in paths]
        raise NoImage(
            tr(
                "'{name}' is the name of {count} images: say which, such as {names}",
                name=given.name,
                count=len(paths),
                names=", ".join(names[:_MOST_NAMES]),
            )
        )
    return read_image(desk, paths[0])


def _why_none(desk: Desk, given: GivenName) -> str:
    left = desk.journal.history(Wanted(name=given.path, states=[State.LEFT]), 1)
    if left and _is_file(desk, left[0].source):
        return tr(
            "'{name}' was left in its inbox, and is not filed: to have it filed, move it into a class folder yourself",
            name=given.name,
        )
    return tr("no filed image is named '{name}'", name=given.name)


def find_filed(desk: Desk, shown: FiledImage) -> NamedImage:
    """Find an image that was shown, wherever later commands have put it; it must be unchanged since.

    Raises `NoImage`, OSError, JournalBusy.
    """
    rows = desk.journal.history(Wanted(ids=[shown.id]), 1)
    if not rows or rows[0].place is None or content_version(rows[0]) != shown.version:
        raise NoImage(tr("the image is no longer filed as it was shown: look at it again"))
    later = [row for row in desk.journal.filed_with_inode([rows[0].filed_ino]) if row.sha256 == rows[0].sha256]
    for path in dict.fromkeys(row.place for row in [*later, *rows]):
        if path is not None and _may_be_named(desk, path) and _is_file(desk, path):
            image = read_image(desk, path)
            if image.filing is not None and image.sha256 == (rows[0].sha256 or image.sha256):
                return image
    raise NoImage(tr("the image was changed or taken away since it was shown: it stays as it is"))


def read_image(desk: Desk, path: Path) -> NamedImage:
    """Look at an image: its filing and its content. Raises `NoImage`, OSError, JournalBusy.

    Outside the outputs, only those that are tagged count.
    """
    is_inside = _is_inside(path, desk)
    name = spelling(desk, as_json=False)(path)
    quarantine = desk.settings.quarantine_dir.casefold()
    if path.is_relative_to(desk.output) and path.relative_to(desk.output).parts[0].casefold() == quarantine:
        raise NoImage(tr("'{name}' could not be read: bring it back with python -m daemon retry", name=name))
    if not is_image_name(path.name) and (not is_raw_name(path.name) or follows(str(path))):
        raise NoImage(tr("'{name}' is no image: name the image, and its sidecars go with it", name=name))
    with OpenFolders(desk.roots) as folders:
        entry = folders.entry(path)
        status = entry.stat()
        identity = Identity.from_stat(status)
        filing = _filing_of(desk, entry, identity.ino)
        if not is_inside and (filing is None or filing.place != path):
            raise NoImage(tr("no filed image is named '{name}'", name=name))
        if filing is not None and filing.sha256 is not None and is_in_filed_state(status, filing):
            return NamedImage(path=path, identity=identity, sha256=filing.sha256, filing=filing)
        return NamedImage(path=path, identity=identity, sha256=sha256_of(entry), filing=filing)


def _filing_of(desk: Desk, entry: FileAt, inode: int) -> Filing | None:
    """Find the newest filing of an image, wherever a person has moved it since."""
    rows = desk.journal.filed_with_inode([inode])
    return next((row for row in rows if row.image_id is None and is_filed_image(entry, row)), None)


def _candidates(desk: Desk, given: GivenName) -> list[Path]:
    """List the images that a name may stand for, each once; a path to an image that is there stands for nothing else.

    A name without a folder is looked for in each class folder, too: a person may have put the image there.
    """
    name = given.name.removeprefix("./")
    for path in (Path(given.path), *(path for output in desk.outputs for path in _spelled(output, name))):
        if _may_be_named(desk, path) and _is_file(desk, path):
            return [path]
    found = [path for path in _by_journal(desk, given) if _may_be_named(desk, path)]
    if "/" not in given.name:
        quarantine = desk.settings.quarantine_dir
        paths = class_paths(desk.settings)
        folders = [
            output / folder
            for output in desk.outputs
            for folder in folders_of_images(desk.settings, paths, output=output)
            if folder != quarantine or output != desk.output
        ]
        found += [path for folder in folders for path in _spelled(folder, given.name)]
    return [path for path in dict.fromkeys(found) if _is_file(desk, path)]


def _by_journal(desk: Desk, given: GivenName) -> Iterator[Path]:
    """Yield where the images lay last that had this name in an inbox or were filed by it."""
    names = [given.name] if "/" not in given.name else [given.path, given.name.removeprefix("./")]
    for name in names:
        wanted = Wanted(name=name, states=[State.DONE], as_written=True)
        rows = desk.journal.history(wanted, _MOST_ROWS)
        yield from (row.place for row in rows if row.place is not None and row.reason is None)


def _spelled(folder: Path, name: str) -> list[Path]:
    return [folder / spelling for spelling in spellings(name)]


def _may_be_named(desk: Desk, path: Path) -> bool:
    """Whether an image lies in a folder below an output, or was tagged where it is. Raises JournalBusy."""
    if _is_inside(path, desk):
        return True
    rows = desk.journal.history(Wanted(name=str(path), states=[State.DONE]), _MOST_ROWS)
    return any(row.action == "tag" and row.source == path for row in rows)


def _is_inside(path: Path, desk: Desk) -> bool:
    """Whether a path is one of a file in a folder below an output."""
    return ".." not in path.parts and output_of(path.parent, desk.outputs) is not None


def _is_file(desk: Desk, path: Path) -> bool:
    try:
        with OpenFolders(desk.roots) as folders:
            return folders.entry(path).exists()
    except (OSError, ValueError):
        return False
