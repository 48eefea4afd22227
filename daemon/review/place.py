"""What the server works with: the output of a daemon, its journal, and the way to have something done there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Settings
from daemon.files.roots import Roots
from daemon.operations.classes import ClassFolder
from daemon.operations.desk import Operation, Params

#: Seconds that decisions wait for a daemon which has answered before: it may be restarting.
GRACE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class ReviewedOutput:
    """Output whose images are reviewed. ``state``: the folder of its journal, where the server keeps what it must.

    ``operate`` carries out an operation by name, by the running daemon or in this process. ``is_running``: whether a
    daemon answers.
    """

    settings: Settings
    journal: Path
    roots: Roots
    operate: Callable[[str, Params], Operation]
    is_running: Callable[[], bool]

    @property
    def state(self) -> Path:
        """Return the folder of the journal."""
        return self.journal.parent

    @property
    def output(self) -> Path:
        """Return the folder of the class folders."""
        return self.settings.output

    @property
    def outputs(self) -> list[Path]:
        """Return that folder, and those of classes that have outputs of their own."""
        return self.settings.outputs

    def folder_of(self, folder: ClassFolder) -> Path:
        """Return the folder of a class in the output that the rule of the class says."""
        if folder.label is None:
            return self.output / folder.folder
        return self.settings.class_rules.handling_of(folder.label).output / folder.folder

    @property
    def others(self) -> Path:
        """Return the folder of unsure and unknown images."""
        return self.output / self.settings.others_dir
