"""What the images of one batch share while they are filed: open folders, and the names that are given out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from daemon.files.names import numbered
from daemon.files.source import Identity
from daemon.filing.folders import Folders
from daemon.filing.free_names import free_name, longest_name
from daemon.filing.transfer import Transfer
from models.files.markers import Kind


class Destination(NamedTuple):
    """A folder to file into, as one batch sees it; ``descriptor`` is None in a dry run where it is missing."""

    descriptor: int | None
    path: Path
    longest_name: int
    taken: set[str]  # names given out to images of this batch

    def name(self, wanted: str) -> str:
        """Take a name that no image of this batch has; in the folder it is mostly free. Raises OSError."""
        name = numbered(wanted, 1, self.longest_name)
        if name in self.taken:
            return self.free_name(wanted)
        self.taken.add(name)
        return name

    def free_name(self, wanted: str) -> str:
        """Take a name that no image of this batch has and that seems free in the folder. Raises OSError."""
        name = free_name(self.descriptor, wanted, self.taken.__contains__, self.longest_name)
        self.taken.add(name)
        return name


@dataclass(frozen=True)
class Batch:
    """Open folders, names given out and files seen, which the decisions of one batch share.

    ``inside``: where in its class folder the layout has an image.
    """

    folders: Folders
    taken: dict[str, set[str]]
    make: bool
    identities: set[Identity] = field(default_factory=set)
    inside: dict[Transfer, str] = field(default_factory=dict)
    _destinations: dict[str, Destination] = field(default_factory=dict)

    def destination_folder(self, folder: str, kind: Kind, inside: str = "") -> Destination:
        """Open a folder to file into once for the batch, made if ``make``. Raises OSError."""
        place = f"{folder}/{inside}" if inside else folder
        if place not in self._destinations:
            descriptor = self.folders.class_folder(folder, make=self.make, kind=kind, inside=inside)
            taken = self.taken.setdefault(place, set())
            path = self.folders.path(place)
            self._destinations[place] = Destination(descriptor, path, longest_name(descriptor), taken)
        return self._destinations[place]
