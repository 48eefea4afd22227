"""Choose the folder inside a class folder that an image goes to, by the layout in the settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from daemon.files.layout import FLAT, Layout, LayoutValues
from daemon.files.renaming import FileAt
from daemon.files.taken import Taken, taken
from daemon.filing.transfer import check_source
from daemon.journal.records import Filing
from models.text.language import tr
from models.text.printable import shown


class FolderLayout:
    """The layout of one output, and the ``inboxes`` that its images come from."""

    def __init__(self, template: str = FLAT, inboxes: Sequence[Path] = ()) -> None:
        """Raises `LayoutError`."""
        self.layout = Layout(template)
        self._inboxes = inboxes
        self._others: dict[str, FolderLayout] = {}

    def by(self, template: str) -> FolderLayout:
        """Return the layout by another template, as the rule of a class has it. Raises `LayoutError`."""
        if template == self.layout.template:
            return self
        if template not in self._others:
            self._others[template] = FolderLayout(template, self._inboxes)
        return self._others[template]

    def place(self, row: Filing, image: FileAt, origin: Path | None) -> str:
        """Return the folder for an image of a class, below that of the class, and note in the row when it was taken.

        ``origin``: where an image comes from that was filed before. Raises OSError, SourceGone and SourceChanged.
        """
        layout = self.layout
        if layout.is_flat or row.label is None:
            return ""
        if layout.uses_taken:
            check_source(image, row)  # the data of another file would say nothing
            found = taken(image, row.identity.mtime_ns)
            row.detail = "; ".join(filter(None, (row.detail, _noted(found))))
        else:
            found = Taken(row.time, is_exif=False)
        came = origin or row.source
        return layout.inside(
            LayoutValues(
                label=row.label,
                taken=found.time,
                filed=row.time.astimezone(),
                inbox=self._inbox_of(came).name,
                stem=came.stem,
            )
        )

    def example(self, label: str, path: Path) -> str:
        """Return where below the output an image of a class would lie if it were taken now."""
        now = datetime.now().astimezone()
        values = LayoutValues(label=label, taken=now, filed=now, inbox=self._inbox_of(path).name, stem=path.stem)
        return "/".join(filter(None, (label, self.layout.inside(values), path.name)))

    def _inbox_of(self, path: Path) -> Path:
        """Return the inbox that a file came from; the folder that it lies in, if that is in no inbox."""
        inside = [inbox for inbox in self._inboxes if path.is_relative_to(inbox)]
        return max(inside, key=lambda inbox: len(inbox.parts), default=path.parent)


def _noted(found: Taken) -> str:
    time = shown(f"{found.time:%Y-%m-%d %H:%M:%S}")
    if found.is_exif:
        return tr("taken {time}, by its EXIF data", time=time)
    return tr("taken {time}, by the time of its file", time=time)
