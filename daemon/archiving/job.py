"""One job: list an archive, leave out what the manifest knows, look at the rest and write the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

import pyarrow as pa

from daemon.archiving.known import KnownImages
from daemon.archiving.listing import Listing
from daemon.archiving.local_engine import LocalEngine
from daemon.archiving.manifest import BlockWriter
from daemon.archiving.model import open_model, published
from daemon.archiving.rows import Listed, Row, hash_of
from daemon.archiving.shards import Shard, hold_shard
from daemon.config import Settings
from daemon.reloading.checkpoint_source import CheckpointFile
from models.files.atomic import file_digest
from models.files.ownership import make_folder

#: What looks at the images: this machine, or a cluster of Ray.
EngineName = Literal["local", "ray"]


@dataclass
class Tally:
    """What a job has done: rows by outcome, images that the manifest knew, and what was skipped as in `Listing`."""

    outcomes: Counter[str] = field(default_factory=Counter)
    known: int = 0
    unreadable: int = 0
    not_files: int = 0

    @property
    def looked_at(self) -> int:
        """Rows that were added."""
        return self.outcomes.total()


class Job:
    """The images of one input and shard, and the manifest that gets their rows."""

    def __init__(
        self, settings: Settings, source: str, folder: Path, shard: Shard, engine: EngineName = "local"
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._folder = folder
        self._shard = shard
        self.listing = Listing(source, left_out=folder)
        self.tally = Tally()

    def run(self, stopping: Callable[[], bool], on_progress: Callable[[Tally], None]) -> None:
        """Do the job; whatever ends it, the rows of the images that were looked at are in the manifest.

        Raises `UserError`.
        """
        make_folder(self._folder)
        with hold_shard(self._folder, self._shard):
            writer = BlockWriter(self._folder)
            try:
                self._look_at_new(writer, stopping, lambda: on_progress(self.tally))
            finally:
                writer.flush()
                self.tally.unreadable, self.tally.not_files = self.listing.unreadable, self.listing.not_files

    def _look_at_new(self, writer: BlockWriter, stopping: Callable[[], bool], on_progress: Callable[[], None]) -> None:
        checkpoint = published(self._settings)
        digest = checkpoint.digest or file_digest(checkpoint.path)
        new = self._new(KnownImages(self._folder, digest), stopping)
        first = next(new, None)
        if first is None or stopping():
            return  # then no model is needed
        images = chain([first], new)
        if self._engine == "ray":
            self._by_ray(images, checkpoint, digest, writer, stopping, on_progress)
        else:
            self._locally(images, checkpoint, writer, stopping, on_progress)

    def _locally(
        self,
        images: Iterator[Listed],
        checkpoint: CheckpointFile,
        writer: BlockWriter,
        stopping: Callable[[], bool],
        on_progress: Callable[[], None],
    ) -> None:
        def on_row(row: Row) -> None:
            writer.add(row)
            self.tally.outcomes[row.outcome] += 1
            on_progress()

        place = self.listing.store or self.listing.folder
        assert place is not None
        spool = self._folder / f".fetched-{self._shard.number}-of-{self._shard.count}"
        model = open_model(self._settings, checkpoint)
        with closing(LocalEngine(self._settings, model, place, spool, on_row)) as engine:
            engine.look_at(images, stopping)

    def _by_ray(
        self,
        images: Iterator[Listed],
        checkpoint: CheckpointFile,
        digest: str,
        writer: BlockWriter,
        stopping: Callable[[], bool],
        on_progress: Callable[[], None],
    ) -> None:
        from daemon.archiving.ray_engine import RayEngine

        def on_rows(rows: pa.Table) -> None:
            writer.add_table(rows)
            self.tally.outcomes.update(rows["outcome"].to_pylist())
            on_progress()

        place = self.listing.folder
        source = self.listing.source if place is None else str(place)
        RayEngine(self._settings, checkpoint, digest, source, on_rows).look_at(images, stopping)

    def _new(self, known: KnownImages, stopping: Callable[[], bool]) -> Iterator[Listed]:
        """Yield the images of the shard that are to be looked at."""
        listed = (Listed(uri, hash_of(uri), size, mtime_ns) for uri, size, mtime_ns in self.listing)
        for image in known.new(image for image in listed if self._shard.includes(image.uri_hash)):
            if stopping():
                return
            if image is None:
                self.tally.known += 1
            else:
                yield image
