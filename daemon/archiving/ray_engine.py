"""The Ray engine: local engines on all nodes of a cluster, and one process that gives them images and gets rows.

A worker is the local engine: sandboxed decoders, so that a hostile picture is lost and nothing else, and the model
beside them. So an image is read, decoded and classified on one node, and only addresses and rows cross the network and
Ray's memory.

A pipeline of Ray Data in stages (download, decode, model) reached .57 of the local engine's images/s. It moves each
image through shared memory between its stages, decodes in processes that a bad file ends together with a whole block,
and needs the complete list before the first row. Here the listing goes on while images are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa
from loguru import logger

from daemon.archiving.manifest import table_of
from daemon.archiving.ray_worker import Looked, Worker
from daemon.archiving.rows import UNREAD, Listed
from daemon.config import Settings
from daemon.reloading.checkpoint_source import CheckpointFile
from models.cluster.nodes import Share
from models.cluster.workers import Work, Workers
from models.text.language import in_use


class RayEngine:
    """Looks at images by the workers of a cluster."""

    def __init__(
        self,
        settings: Settings,
        checkpoint: CheckpointFile,
        digest: str,
        source: str,
        on_rows: Callable[[pa.Table], None],
    ) -> None:
        """``source``: the folder, which all nodes have under the same path, or the URL of the images.

        ``on_rows`` is given the rows of a batch, by the thread that calls `look_at`.
        """
        self._settings = settings
        self._checkpoint = checkpoint
        self._digest = digest
        self._source = source
        self._on_rows = on_rows

    def look_at(self, images: Iterable[Listed], stopping: Callable[[], bool] = lambda: False) -> None:
        """Look at images; once ``stopping`` returns True, only at those that are decoded.

        Raises `UserError` where no node can work, or the cluster is lost.
        """
        with_gpus = self._settings.device == "cuda"
        Workers(Work(Worker, self._arguments, self._take, self._give_up, with_gpus)).look_at(images, stopping)

    def _arguments(self, ray: Any) -> Callable[[Share], Sequence[Any]]:
        weights = ray.put(self._checkpoint.path.read_bytes())
        language = in_use()

        def of(share: Share) -> Sequence[Any]:
            threads = min(self._settings.threads or share.cores, share.cores)
            return self._settings.model_copy(update={"threads": threads}), self._source, weights, language

        return of

    def _take(self, looked: Looked) -> None:
        for warning in looked.warnings:
            logger.warning("{}", warning)
        if len(looked.rows):
            self._on_rows(looked.rows)

    def _give_up(self, image: Listed, why: str) -> None:
        if not image.was_unread:  # else the manifest says so already
            self._on_rows(table_of([image.row(UNREAD, self._digest, detail=why)]))
