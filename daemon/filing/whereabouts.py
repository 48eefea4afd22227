"""Find where a filed image is now: where it was filed, or where a person or a later command moved it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.files.outputs import output_of
from daemon.filing.class_paths import ClassPaths, is_inside
from daemon.filing.corrections import Corrections
from daemon.filing.identity import seems_filed, took_over_from
from daemon.journal.history import Wanted
from daemon.journal.journal import read_history
from daemon.journal.records import Filing, State

#: Moves of one image that are followed back.
_MOST_MOVES = 100


@dataclass(frozen=True, slots=True)
class Location:
    """``path`` is None where the image was not found: it is gone if that is ``known``, else it may lie anywhere.

    ``corrected``: a person moved it to the folder of another class.
    """

    path: Path | None
    known: bool = True
    corrected: bool = False


class Whereabouts:
    """Finds each filed image. The class folders are read once, when the first image is missing."""

    def __init__(self, class_paths: ClassPaths, journal: Path) -> None:
        self._class_paths, self._journal = class_paths, journal
        main, *other_outputs = class_paths.outputs
        self._corrections = Corrections(main, other_outputs=other_outputs)

    def locate(self, filing: Filing) -> Location:
        """Find where an image lies now, in whatever state its filing is."""
        if filing.state is not State.DONE or filing.destination is None:
            return Location(filing.source if seems_filed(filing.source, filing, filing.identity.ino) else None)
        if seems_filed(filing.destination, filing, filing.filed_ino):
            return Location(filing.destination)
        path = self._corrections.find_edited(filing)
        if path is None:
            return Location(None, known=self._corrections.complete)
        moved = self._class(path) != self._class(filing.destination)
        return Location(path, corrected=moved and not self._is_filed_there(filing, path))

    def inodes_in(self, label: str) -> list[int]:
        """List the inodes of the files that lie in the folder of a class now, or in one of those in it."""
        return self._corrections.inodes_in(lambda folder: _is_of(self._class_paths.of_folder(folder), label))

    def is_of(self, filing: Filing, now: Location, label: str) -> bool:
        """Whether an image was taken for a class, or was corrected to it; or for one in that folder."""
        is_there = now.path is not None and now.corrected and _is_of(self._class(now.path), label)
        return is_there or _is_of(filing.label, label)

    def lies_in(self, now: Location, folder: str) -> bool:
        """Whether an image lies in the folder of a class, or of the others, whoever brought it there."""
        return now.path is not None and self._class(now.path) == folder

    def _class(self, path: Path) -> str | None:
        return self._class_paths.of_image(path)

    def _is_filed_there(self, filing: Filing, path: Path) -> bool:
        """Whether no person but a later filing, by `resort`, brought an image to where it lies."""
        there = read_history(self._journal, Wanted(name=str(path), states=(State.DONE,)))
        return any(row.destination == path and row.filed_ino == filing.filed_ino for row in there)


def _is_of(label: str | None, wanted: str) -> bool:
    return label is not None and (label == wanted or is_inside(label, wanted))


def origin_of(filing: Filing, outputs: Sequence[Path], history: Callable[[Wanted], Iterable[Filing]]) -> Path:
    """Return where an image lay before it was filed first, by the filings that moved it on within the outputs.

    ``history`` reads the wanted filings, newest first. Raises what it raises.
    """
    for _ in range(_MOST_MOVES):
        if output_of(filing.source, outputs) is None:
            break
        wanted = Wanted(name=str(filing.source), states=(State.DONE,), before_id=filing.id)
        earlier = next((row for row in history(wanted) if took_over_from(row, filing)), None)
        if earlier is None:
            break
        filing = earlier
    return filing.source
