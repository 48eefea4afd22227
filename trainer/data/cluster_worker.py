"""A worker of the feature pass on a cluster: it reads, hashes, decodes and computes on some cores of a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models import registry
from models.allowed import allow_plugins
from models.errors import UserError
from models.inference.runtime import open_extractor
from models.registry import Backbone
from models.text.language import Language, tr, use
from models.weights.store import WeightsStore
from trainer.data.cache import Features
from trainer.data.dataset import File, Unreadable
from trainer.data.features import FeaturePass, prepare_image
from trainer.data.perceptual_hash import PerceptualHash
from trainer.data.threads import map_ahead


@dataclass(frozen=True)
class Needed:
    """The backbones of a pass: their digests by name, the user's own sources, plug-ins, and where weights are cached.

    ``cache_dir`` None: where each node has its own. ``language`` is that of the command's messages.
    """

    digests: Mapping[str, str]
    weights: Mapping[str, str]
    plugins: Sequence[str]
    cache_dir: Path | None
    language: Language

    def locate(self, store: WeightsStore) -> list[Backbone]:
        """Locate the backbones on this node. Raises `UserError`, also where weights are others than on the first."""
        allow_plugins(self.plugins)
        parts = [registry.locate(name, self.weights.get(name), store) for name in self.digests]
        for part in parts:
            if part.digest != self.digests[part.name]:
                raise UserError(
                    tr(
                        "the weights of {name} here differ from those where the command runs: give all machines of the "
                        "cluster the same ones",
                        name=part.name,
                    )
                )
        return parts


class Numbered(NamedTuple):
    """A file, and its position among those of the pass."""

    position: int
    file: File


class Read(NamedTuple):
    """A file that was read, or why it could not be; ``new``: the parts that were computed; None for a cached hash."""

    position: int
    sha256: str
    new: tuple[int, ...]
    perceptual_hash: PerceptualHash | None
    error: Unreadable | None


@dataclass(frozen=True)
class Computed:
    """What was read of n files, and features (n, width), of which only the ``new`` parts count.

    ``problem``: why the whole pass cannot go on.
    """

    reads: Sequence[Read]
    features: Features
    problem: str | None = None


class _Known:
    """Stands in for the cache, which only the command has: what it knows is not computed."""

    def __init__(self, known: Sequence[frozenset[bytes]]) -> None:
        *self._features, self._hashes = known

    def features(self, sha256: str) -> list[Features | None]:
        """Return something for each backbone whose features are known."""
        key = bytes.fromhex(sha256)
        return [np.zeros(1, np.float32) if key in known else None for known in self._features]

    def perceptual_hash(self, sha256: str) -> PerceptualHash | None:
        """Return something where the hash is known."""
        return PerceptualHash(0, 0, False, 0.0, 0, b"", b"") if bytes.fromhex(sha256) in self._hashes else None


class FeatureWorker:
    """Computes features of batches of files, one after the other; see `models.cluster.workers.Work`."""

    def __init__(self, needed: Needed, known: Sequence[frozenset[bytes]], threads: int) -> None:
        self._needed = needed
        self._known = _Known(known)
        self._threads = threads

    def open(self) -> str | None:
        """Open the backbones; say what is missing, if that is for the user to put right."""
        use(self._needed.language)
        store = WeightsStore(self._needed.cache_dir)
        try:
            self._extractor = open_extractor(self._needed.locate(store), store, threads=self._threads)
        except UserError as error:
            return str(error)
        return None

    def look_at(self, files: Sequence[Numbered]) -> Computed:
        """Compute what is not known of some files."""
        transforms = self._extractor.transforms
        images = map_ahead(lambda numbered: prepare_image(numbered.file, transforms, self._known), files, self._threads)
        reads = []
        with closing(FeaturePass(self._extractor, None, len(files))) as feature_pass:
            try:
                for row, (numbered, image) in enumerate(zip(files, images, strict=True)):
                    feature_pass.add(row, image)
                    new = tuple(part for part, crop in enumerate(image.crops) if crop is not None)
                    perceptual_hash = image.perceptual_hash if image.is_new_hash else None
                    reads.append(Read(numbered.position, image.sha256, new, perceptual_hash, image.error))
                feature_pass.finish()
            except UserError as error:
                return Computed((), np.empty((0, 0), np.float32), str(error))
        return Computed(reads, feature_pass.features)

    def stop(self) -> None:
        """Do nothing: a pass is not stopped but by ending its workers."""

    def close(self) -> None:
        """Do nothing: a worker leaves nothing behind."""
