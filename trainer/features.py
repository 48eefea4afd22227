"""One backbone pass: files are read, hashed and decoded in threads while the backbones compute."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.errors import ImageError, UserError
from models.images import Crop, Transform, decode
from models.runtime import FeatureExtractor
from trainer.cache import FeatureCache, Features
from trainer.data import File, Sample, Unreadable, shown
from trainer.threads import map_ahead

#: Images that go through a backbone at once. Measured on two cores: 98 images/s at 1, 90 at 8, 60 at 32.
BATCH = 4


@dataclass(frozen=True)
class Read:
    """One file, read: its crops (none where they were not wanted), or what is wrong with it."""

    file: File
    sha256: str = ""
    crops: Sequence[Crop] = ()
    error: Unreadable | None = None


@dataclass(frozen=True)
class Extracted:
    """Features (n, width) of the n readable samples in the order of their files, and the files that are not.

    ``cached``: how many of the n came from the cache. ``seconds``: how long it took.
    """

    samples: list[Sample]
    features: Features
    unreadable: list[Unreadable]
    cached: int
    seconds: float


def read_all(files: Iterable[File], transforms: Sequence[Transform], known: Set[str] = frozenset()) -> Iterator[Read]:
    """Read files in order, a few ahead of the caller; those whose sha256 is ``known`` are not decoded."""
    return map_ahead(lambda file: _read(file, transforms, known), files)


def _read(file: File, transforms: Sequence[Transform], known: Set[str]) -> Read:
    try:
        data = file.path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return Read(file, sha256, () if sha256 in known else decode(io.BytesIO(data), transforms))
    except ImageError as error:
        return Read(file, error=Unreadable(file.name, file.label, error.reason, str(error)))
    except OSError as error:
        message = f"The file cannot be read: {error.strerror}."
        return Read(file, error=Unreadable(file.name, file.label, "no-access", message))


def stacked(reads: Sequence[Read]) -> list[npt.NDArray[np.uint8]]:
    """The crops of n files as one (n, side, side, 3) array for each part."""
    return [np.stack(crops) for crops in zip(*(read.crops for read in reads), strict=True)]


def extract(files: Sequence[File], extractor: FeatureExtractor, cache: FeatureCache | None) -> Extracted:
    """The features of every readable file, from the cache where it has them. Shows its progress on a terminal.

    Raises `UserError` when a backbone gives something else than numbers.
    """
    started = time.monotonic()
    samples: list[Sample] = []
    unreadable: list[Unreadable] = []
    features = np.empty((len(files), extractor.width), np.float32)
    waiting: list[tuple[int, Read]] = []
    cached = 0

    def compute() -> None:
        computed = extractor.features(stacked([read for _, read in waiting]))
        for (row, read), vector in zip(waiting, computed, strict=True):
            if not np.isfinite(vector).all():
                raise UserError(f"the backbones give no usable features for {shown(read.file.path)}: move it away")
            features[row] = vector
            if cache is not None:
                cache.put(read.sha256, vector)
        waiting.clear()

    reads = read_all(files, extractor.transforms, cache.known if cache is not None else frozenset())
    read: Read
    for read in tqdm(reads, "features", len(files), unit=" images", disable=None):
        if read.error is not None:
            unreadable.append(read.error)
            continue
        row = len(samples)
        samples.append(Sample(read.file.path, read.file.name, read.file.label, read.sha256))
        if read.crops or cache is None:
            waiting.append((row, read))
        else:
            features[row] = cache.get(read.sha256)
            cached += 1
        if len(waiting) == BATCH:
            compute()
    if waiting:
        compute()
    if cache is not None:
        cache.commit()
    return Extracted(samples, features[: len(samples)], unreadable, cached, time.monotonic() - started)
