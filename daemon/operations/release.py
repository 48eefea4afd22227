"""Release held images: they are filed again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from pydantic import Field

from daemon.journal.held import Held
from daemon.operations.desk import Desk, Item, Operation, Params, explaining_a_busy_journal
from daemon.operations.selection import GivenName
from models.errors import UserError
from models.text.language import tr
from models.text.printable import quoted

#: What became of a file that was to be released.
RELEASED, PLANNED, NOT_HELD, GONE = "released", "planned", "not held", "gone"
#: What a list says of each held image.
HELD = "held"


class ReleaseParams(Params):
    """The held images to release: these, or all. Nothing is released with ``dry_run``, and with neither: a list."""

    files: tuple[GivenName, ...] = Field(default=(), strict=False)
    all: bool = False
    dry_run: bool = False
    as_json: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is released."""
        return not self.dry_run and not self.lists

    @property
    def lists(self) -> bool:
        """Whether the held images are listed, and nothing else is done."""
        return not self.files and not self.all


def release(desk: Desk, params: ReleaseParams) -> Operation:
    """Release held images; yield an item for each file, and return how many are ``done`` and ``left``.

    Where none are named, list what is held. Raises `UserError`.
    """
    if params.files and params.all:
        raise UserError(tr("say what to release: FILE..., or --all"))
    releasing = _Releasing(desk, params)
    with explaining_a_busy_journal():
        chosen: dict[str, Held] = {}
        for file in params.files:
            found = desk.held.find(file.name, file.path)
            chosen |= {str(held.path): held for held in found}
            if not found:
                yield releasing.item(Path(file.path if "/" in file.name else file.name), NOT_HELD)
        if params.lists:
            yield from releasing.listed()
            return {"done": releasing.done, "left": releasing.left}
        held = desk.held.all() if params.all else list(chosen.values())
        for start in range(0, len(held), desk.step):
            desk.begin_step()
            yield from releasing.release(held[start : start + desk.step])
    return {"done": releasing.done, "left": releasing.left}


class _Releasing:
    def __init__(self, desk: Desk, params: ReleaseParams) -> None:
        self.done = self.left = 0
        self._desk = desk
        self._params = params

    def listed(self) -> Generator[Item, None, None]:
        """Yield an item for each held image that is there, the last one first."""
        for held in sorted(self._desk.held.all(), key=lambda held: held.time, reverse=True):
            if self._desk.held.is_there(held) is not False:
                name = str(held.path) if self._params.as_json else quoted(str(held.path))
                time = held.time.isoformat(timespec="milliseconds")
                yield {"file": str(held.path), "outcome": HELD, "time": time, "says": tr("{name} is held", name=name)}

    def release(self, held: Sequence[Held]) -> Generator[Item, None, None]:
        """Release some images, durably, and have them looked at."""
        images = self._desk.held
        gone = [image for image in held if images.is_there(image) is False]
        there = [image for image in held if image not in gone]
        if not self._params.dry_run:
            images.release(held)
            self._desk.look_again([image.path for image in there])
        for image in there:
            yield self.item(image.path, PLANNED if self._params.dry_run else RELEASED)
        for image in gone if self._params.files else ():
            yield self.item(image.path, GONE)

    def item(self, path: Path, outcome: str) -> Item:
        """Make the item of a file, and count it."""
        if outcome in (RELEASED, PLANNED):
            self.done += 1
        else:
            self.left += 1
        name = str(path) if self._params.as_json else quoted(str(path))
        return {"file": str(path), "outcome": outcome, "says": _sentence(name, outcome)}


def _sentence(name: str, outcome: str) -> str:
    match outcome:
        case "released":
            return tr("{name} is released", name=name)
        case "planned":
            return tr("{name} would be released", name=name)
        case "gone":
            return tr("{name} is no longer there, or was changed", name=name)
        case _:
            return tr("{name} is not held", name=name)
