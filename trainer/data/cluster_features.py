"""Compute features on a cluster of Ray: files are read where the backbones compute, and only features travel.

The result is that of `trainer.data.features.extract`, row for row, and so is what the cache has afterwards. The workers
are told what the cache knows, so that each file is read once, and only on one node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from models.allowed import allowed_plugins
from models.cluster.nodes import Share
from models.cluster.workers import Work, Workers
from models.errors import UserError
from models.inference.runtime import FeatureExtractor
from models.text.language import in_use, tr
from trainer.data.cache import FeatureCache, Features
from trainer.data.cluster_worker import Computed, FeatureWorker, Needed, Numbered, Read
from trainer.data.dataset import File, Sample, Unreadable, shown
from trainer.data.features import Extracted, extract, part_slices
from trainer.data.perceptual_hash import PerceptualHash


class _Hashed(NamedTuple):
    sha256: str
    perceptual_hash: PerceptualHash


def extract_by_ray(
    files: Sequence[File],
    extractor: FeatureExtractor,
    cache: FeatureCache,
    weights: Mapping[str, str],
    cache_dir: Path | None,
) -> Extracted:
    """Compute as `extract` does, by the workers of a cluster, which have the files under the same paths.

    ``weights`` maps backbones to the user's own sources; ``cache_dir`` None: each node has its own. Raises `UserError`
    as `extract` does, where no node has the files or the weights, and where the cluster is lost: what was computed is
    in the cache then.
    """
    started = time.monotonic()
    needed = Needed(
        {part.name: part.digest for part in extractor.parts},
        {name: _absolute(source) for name, source in weights.items()},
        allowed_plugins(),
        None if cache_dir is None else cache_dir.absolute(),
        in_use(),
    )

    def arguments(ray: Any) -> Callable[[Share], Sequence[Any]]:
        known = ray.put(cache.known())
        return lambda share: (needed, known, share.cores)

    with tqdm(desc="features", total=len(files), unit=" images", disable=None) as progress:
        cluster_pass = _ClusterPass(files, extractor, cache, progress.update)
        workers = Workers(Work(FeatureWorker, arguments, cluster_pass.take, cluster_pass.give_up))
        workers.look_at(
            Numbered(position, replace(file, path=file.path.absolute())) for position, file in enumerate(files)
        )
    return cluster_pass.extracted(started)


def _absolute(source: str) -> str:
    """Return the path of weights as a worker can use it; the name of a hub's model stays as it is."""
    return str(Path(source).absolute()) if Path(source).exists() else source


class _ClusterPass:
    """What the workers found of each file, by its position."""

    def __init__(
        self,
        files: Sequence[File],
        extractor: FeatureExtractor,
        cache: FeatureCache,
        on_progress: Callable[[int], object],
    ) -> None:
        self._files = files
        self._extractor = extractor
        self._cache = cache
        self._on_progress = on_progress
        self._slices = part_slices(extractor.parts)
        self._features = np.empty((len(files), extractor.width), np.float32)
        self._found: list[_Hashed | Unreadable | None] = [None] * len(files)
        self._cached = 0

    def take(self, computed: Computed) -> str | None:
        """Take what a worker computed, or return what its node lacks."""
        if computed.problem is not None:
            raise UserError(computed.problem)
        refused = [read.position for read in computed.reads if read.error and read.error.reason == "no-access"]
        readable = [position for position in refused if _can_be_read(self._files[position].path)]
        if readable and len(refused) == len(computed.reads) > 1:
            return tr(
                "{path} can be read where the command runs, and not there: every machine of the cluster needs "
                "the images under the same path",
                path=shown(self._files[readable[0]].path),
            )
        for read, vector in zip(computed.reads, computed.features, strict=True):
            if read.position not in readable:  # the few that failed for a moment are read here at the end
                self._found[read.position] = read.error or self._hashed(read, vector)
        self._on_progress(len(computed.reads))
        return None

    def _hashed(self, read: Read, vector: Features) -> _Hashed | None:
        """Note the features of an image; None where the cache has lost what it had when the pass began."""
        known = self._cache.features(read.sha256)
        for part, columns in enumerate(self._slices):
            if part in read.new:
                self._cache.put_features(part, read.sha256, vector[columns])
                self._features[read.position, columns] = vector[columns]
            elif (features := known[part]) is not None:
                self._features[read.position, columns] = features
            else:
                return None
        if read.perceptual_hash is not None:
            self._cache.put_perceptual_hash(read.sha256, read.perceptual_hash)
        elif not read.new:
            self._cached += 1
        perceptual_hash = read.perceptual_hash or self._cache.perceptual_hash(read.sha256)
        return None if perceptual_hash is None else _Hashed(read.sha256, perceptual_hash)

    def give_up(self, numbered: Numbered, why: str) -> None:
        """Leave out a file that costs every worker, such as one that ends whatever decodes it."""
        file = self._files[numbered.position]
        self._found[numbered.position] = Unreadable(file.name, file.label, "crashed-decoder", why)
        self._on_progress(1)

    def extracted(self, started: float) -> Extracted:
        """Return the result, once all files were taken."""
        self._read_here([position for position, found in enumerate(self._found) if found is None])
        samples: list[Sample] = []
        hashes: list[PerceptualHash] = []
        unreadable: list[Unreadable] = []
        for position, (file, found) in enumerate(zip(self._files, self._found, strict=True)):
            if isinstance(found, Unreadable):
                unreadable.append(found)
                continue
            assert found is not None, "every file was taken, given up or read here"
            self._features[len(samples)] = self._features[position]
            samples.append(Sample(file.path, file.name, file.label, found.sha256))
            hashes.append(found.perceptual_hash)
        self._cache.commit()
        features = self._features[: len(samples)]
        return Extracted(samples, features, hashes, unreadable, self._cached, time.monotonic() - started)

    def _read_here(self, positions: Sequence[int]) -> None:
        """Compute what the workers could not read for a moment, or the cache has lost since, on this machine."""
        if not positions:
            return
        here = extract([self._files[position] for position in positions], self._extractor, self._cache)
        rows = {sample.path: row for row, sample in enumerate(here.samples)}
        refused = iter(here.unreadable)  # in the order of the files, as the samples are
        for position in positions:
            row = rows.get(self._files[position].path)
            if row is None:
                self._found[position] = next(refused)
            else:
                self._features[position] = here.features[row]
                self._found[position] = _Hashed(here.samples[row].sha256, here.hashes[row])


def _can_be_read(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True
