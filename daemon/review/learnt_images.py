"""Find the images that the model in use was judged by: those of its data set, and those that people have labelled."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from daemon.journal.labels import Label, WantedLabels
from daemon.operations.labelling import SeenImage
from daemon.reloading.checkpoint_source import CheckpointFile, CheckpointSource
from daemon.review.images import Images
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal, no_image
from daemon.review.run_report import JudgedImage, RunReport
from daemon.review.thumbnails import Thumbnails
from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.metadata import Metadata
from models.errors import CheckpointError
from models.text.language import tr


class LearntImages:
    """Images of the report of the run in use. Safe in any thread."""

    def __init__(self, place: ReviewedOutput, images: Images, thumbnails: Thumbnails) -> None:
        self._place = place
        self._images = images
        self._thumbnails = thumbnails
        self._report: RunReport | None = None
        self._published: tuple[CheckpointFile, Metadata] | None = None

    def published(self) -> tuple[CheckpointFile | None, Metadata | None]:
        """Find the published checkpoint, which is read once. Raises `Refusal` where it cannot be read."""
        try:
            published = CheckpointSource(self._place.settings.checkpoint).find()
            if published is None:
                return None, None
            known = self._published
            if known is None or known[0] != published:
                known = self._published = published, checkpoints.read_metadata(published.path)
            return known
        except CheckpointError as error:
            raise Refusal(503, str(error)) from error

    def report_of(self, run: Path) -> RunReport:
        """Return the report of a run, which is read once: the page asks often, and it may be long."""
        report = self._report
        if report is None or not report.is_of(run):
            report = self._report = RunReport(run)
        return report

    def said(self, images: Iterable[JudgedImage]) -> Mapping[str, Label]:
        """Map the contents of those images that people have labelled to their labels. Raises `Refusal`."""
        wanted = WantedLabels(sha256=[image.sha256 for image in images])
        return {label.sha256: label for label in self._images.read(lambda reader: list(reader.labels(wanted)))}

    def seen(self, number: int, sha256: str) -> SeenImage:
        """Find an image by its number and content, for a label. Raises `Refusal`."""
        published, metadata = self.published()
        image = None if published is None else self.report_of(published.path.parent).find(number)
        if image is None or image.sha256 != sha256:
            raise Refusal(409, tr("another model is in use by now: load the page again"))
        path = (_data_set(metadata) or Path("/")) / (image.name or sha256)
        return SeenImage(sha256=sha256, path=os.fsencode(path).decode("utf-8", "replace"))

    def thumbnail(self, number: int, size: int) -> bytes:
        """Make a thumbnail of an image. Raises `Refusal`."""
        published, metadata = self.published()
        image = None if published is None else self.report_of(published.path.parent).find(number)
        if image is None:
            raise no_image()
        folder = _data_set(metadata)
        path = None if folder is None or not image.name else folder / image.name
        if path is not None and folder is not None and path.is_relative_to(folder) and ".." not in path.parts:
            return self._thumbnails.of_file(path, folder, size, sha256=image.sha256)
        return self._of_filing(image, size)

    def _of_filing(self, image: JudgedImage, size: int) -> bytes:
        """Make a thumbnail of an image that is of no data set: a filed one that people have labelled."""
        label = self.said([image]).get(image.sha256)
        if label is None:
            raise no_image()
        rows = self._images.read(lambda reader: reader.filed_with_inode([label.identity.ino]))
        there = self._images.still_there(row for row in rows if row.sha256 == image.sha256)
        if not there:
            raise no_image()
        return self._thumbnails.of_filing(there[0], size)


def _data_set(metadata: Metadata | None) -> Path | None:
    """Return the folder that the model was fitted on, if it is there."""
    given = None if metadata is None else metadata.settings.get("data_dir")
    folder = Path(given) if isinstance(given, str) else None
    return folder if folder is not None and folder.is_absolute() and folder.is_dir() else None
