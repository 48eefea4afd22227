"""The local engine: the pipeline of the daemon, with a manifest at its end instead of folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from daemon.archiving.model import Model
from daemon.archiving.rows import QUARANTINE, UNREAD, Listed, Row, row_of
from daemon.archiving.spool import Spool
from daemon.archiving.stores import Store, local_path
from daemon.config import Settings
from daemon.decoding.decoder import Decoded
from daemon.files.roots import Roots
from daemon.files.source import Identity
from daemon.filing.filer import Filer, FilingRequest, FilingResult
from daemon.filing.outcome import Outcome
from daemon.filing.status import Status, describe
from daemon.pipeline import ModelFailed, Pipeline
from daemon.reloading.pipeline_settings import PipelineSettings
from models.classifier import Prediction
from models.inference.runtime import cores
from models.text.language import tr


class _FilesNothing(Filer):
    """Stands in for a filer where images stay where they are."""

    def __init__(self) -> None:
        pass

    def known_result(self, path: Path, identity: Identity) -> Status | None:  # noqa: ARG002
        return None

    def file(self, requests: Sequence[FilingRequest]) -> list[FilingResult]:  # noqa: ARG002
        return []


class LocalEngine:
    """Decodes images in processes of their own and classifies them, as the daemon does."""

    def __init__(
        self, settings: Settings, model: Model, place: Path | Store, spool_folder: Path, on_row: Callable[[Row], None]
    ) -> None:
        """``place``: the folder below which the images lie, or a store: then they are fetched into ``spool_folder``.

        ``on_row`` is given the row of each image as soon as it is known, by the thread that calls `look_at`.
        """
        # No bursts: images come in any order.
        self._settings = replace(PipelineSettings.from_settings(settings), burst_seconds=0.0)
        self._model = model
        self._on_row = on_row
        self._looking_at: dict[Path, Listed] = {}
        self._spool: Spool | None = None
        with ExitStack() as closing:
            if isinstance(place, Store):
                self._spool = Spool(spool_folder, place)
                closing.callback(self._spool.close)
            self._pipeline = Pipeline(
                model.classifier,
                _FilesNothing(),
                self._settings,
                threads=settings.threads or cores(),
                roots=Roots([spool_folder if isinstance(place, Store) else place]),
                decide=self._decide,
                measures=True,
            )
            closing.callback(self._pipeline.close)
            self._closing = closing.pop_all()

    def close(self) -> None:
        """End the decoders, and delete what was fetched."""
        self._closing.close()

    def look_at(self, images: Iterable[Listed], stopping: Callable[[], bool] = lambda: False) -> None:
        """Look at images; may be called again.

        Once ``stopping`` returns True, those that are decoded still get their rows. Images that are gone have none.
        """
        self._looking_at.clear()
        paths = self._local(images) if self._spool is None else self._fetched(images, self._spool, stopping)
        try:
            for outcome in self._pipeline.process(paths, stopping=stopping):
                self._not_read(outcome)
        except ModelFailed as failed:
            raise failed.error from None

    def _local(self, images: Iterable[Listed]) -> Iterator[Path]:
        for image in images:
            path = local_path(image.uri)
            assert path is not None
            self._looking_at[path] = image
            yield path

    def _fetched(self, images: Iterable[Listed], spool: Spool, stopping: Callable[[], bool]) -> Iterator[Path]:
        for fetched in spool.fetched(self._small_enough(images), stopping):
            if fetched.problem is None:
                self._looking_at[fetched.path] = fetched.listed
                yield fetched.path
            elif not fetched.is_gone:
                self._unread(fetched.listed, fetched.problem)

    def _small_enough(self, images: Iterable[Listed]) -> Iterator[Listed]:
        """Leave out, with a row, what is over the limit on files: it need not be fetched."""
        for image in images:
            if image.size <= self._settings.max_bytes:
                yield image
                continue
            detail = tr("The file has {size} bytes, more than the limit allows.", size=image.size)
            self._on_row(image.row(QUARANTINE, self._model.digest, reason="too-large", detail=detail))

    def _decide(self, decoded: Decoded, prediction: Prediction | None) -> None:
        image = self._looking_at.pop(decoded.path)
        assert decoded.source is not None
        if self._spool is None:  # the file may have changed since it was listed
            _, _, size, mtime_ns = decoded.source.identity
            image = replace(image, size=size, mtime_ns=mtime_ns)
        row = row_of(image, decoded, prediction, self._model.rule, self._model.digest)
        if self._spool is not None:
            self._spool.drop(decoded.path)
        self._on_row(row)

    def _not_read(self, outcome: Outcome) -> None:
        image = self._looking_at.pop(outcome.path, None)
        if image is not None and outcome.status not in (Status.GONE, Status.STOPPED):
            self._unread(image, outcome.detail or describe(outcome.status))

    def _unread(self, image: Listed, why: str) -> None:
        if not image.was_unread:  # else the manifest says so already
            self._on_row(image.row(UNREAD, self._model.digest, detail=why))
