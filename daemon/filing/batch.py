"""What the images of one batch share: open folders, the names that they were given, and where each of them goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from daemon.files.names import numbered
from daemon.files.source import Identity
from daemon.filing.folders import Folders, Output
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
class FilingBatch:
    """Open folders, names given out and files seen, which the requests of one batch share.

    ``taken`` is by the path of the folder. ``inside``: where in its class folder the layout has an image.
    ``elsewhere``: the output that an image goes to, where that is not the main one. ``originals``: those that images
    are duplicates of.
    """

    folders: Folders
    taken: dict[str, set[str]]
    make: bool
    identities: set[Identity] = field(default_factory=set)
    inside: dict[Transfer, str] = field(default_factory=dict)
    elsewhere: dict[Transfer, Path] = field(default_factory=dict)
    originals: dict[Transfer, Path] = field(default_factory=dict)
    _destinations: dict[tuple[Path, str], Destination] = field(default_factory=dict)

    def destination_folder(self, output: Output, folder: str, kind: Kind, inside: str = "") -> Destination:
        """Open a folder to file into once for the batch, made if ``make``. Raises OSError."""
        place = f"{folder}/{inside}" if inside else folder
        key = output.path, place
        if key not in self._destinations:
            descriptor = self.folders.class_folder(folder, make=self.make, kind=kind, inside=inside, output=output)
            path = output.path / place
            taken = self.taken.setdefault(str(path), set())
            self._destinations[key] = Destination(descriptor, path, longest_name(descriptor), taken)
        return self._destinations[key]
