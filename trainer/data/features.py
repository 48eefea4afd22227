"""One backbone pass: files are read, hashed and decoded in threads while the backbones compute."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.errors import ImageError, UserError
from models.images import Crop, Transform, check_size, decode
from models.runtime import FeatureExtractor
from models.text.language import tr
from trainer.data.cache import FeatureCache, Features
from trainer.data.dataset import File, Sample, Unreadable, shown
from trainer.data.perceptual_hash import GLANCE, Look, look_at
from trainer.data.threads import map_ahead

#: Images that go through a backbone at once, shared among the cores. Measured on two of them, MobileNetV3-Large: 509
#: images/s at 4, 529 at 8, 540 at 16, 550 at 32.
BATCH = 16


@dataclass(frozen=True)
class Read:
    """One file, read: its crops, or what is wrong with it."""

    file: File
    sha256: str = ""
    crops: Sequence[Crop] = ()
    error: Unreadable | None = None


@dataclass(frozen=True)
class Extracted:
    """Features (n, width) and looks of the n readable samples in the order of their files, and the files that are not.

    ``cached``: how many of the n were all in the cache. ``seconds``: how long it took.
    """

    samples: list[Sample]
    features: Features
    looks: list[Look]
    unreadable: list[Unreadable]
    cached: int
    seconds: float


def read_all(files: Iterable[File], transforms: Sequence[Transform]) -> Iterator[Read]:
    """Read and decode files in order, a few ahead of the caller."""

    def read(file: File) -> Read:
        try:
            data = _bytes_of(file.path)
            return Read(file, hashlib.sha256(data).hexdigest(), decode(io.BytesIO(data), transforms))
        except (ImageError, OSError) as error:
            return Read(file, error=_unreadable(file, error))

    return map_ahead(read, files)


def _bytes_of(path: Path) -> bytes:
    """What a file holds, unless that is more than any image: it may be more than memory holds."""
    with path.open("rb") as file:
        check_size(os.fstat(file.fileno()).st_size)
        return file.read()


def _unreadable(file: File, error: ImageError | OSError) -> Unreadable:
    if isinstance(error, ImageError):
        return Unreadable(file.name, file.label, error.reason, str(error))
    return Unreadable(
        file.name, file.label, "no-access", tr("The file cannot be read: {reason}.", reason=error.strerror)
    )


def stacked(reads: Sequence[Read]) -> list[npt.NDArray[np.uint8]]:
    """The crops of n files as one (n, side, side, 3) array for each part."""
    return [np.stack(crops) for crops in zip(*(read.crops for read in reads), strict=True)]


@dataclass(frozen=True)
class _Seen:
    """A file with what is known of it, and for each part that has to look at it its crop; or what is wrong with it."""

    file: File
    sha256: str = ""
    features: Sequence[Features | None] = ()
    crops: Sequence[Crop | None] = ()
    look: Look | None = None
    new_look: bool = False
    error: Unreadable | None = None


def _see(file: File, transforms: Sequence[Transform], cache: FeatureCache | None) -> _Seen:
    try:
        data = _bytes_of(file.path)
        sha256 = hashlib.sha256(data).hexdigest()
        features = cache.features(sha256) if cache is not None else [None] * len(transforms)
        look = cache.look(sha256) if cache is not None else None
        wanted = [part for part, known in enumerate(features) if known is None]
        crops: list[Crop | None] = [None] * len(transforms)
        new_look = look is None
        if wanted or look is None:
            *made, glance = decode(io.BytesIO(data), [*(transforms[part] for part in wanted), GLANCE])
            look = look or look_at(data, glance)
            for part, crop in zip(wanted, made, strict=True):
                crops[part] = crop
        return _Seen(file, sha256, features, crops, look, new_look)
    except (ImageError, OSError) as error:
        return _Seen(file, error=_unreadable(file, error))


#: A batch of one part: where its features go, of which image, and what it looks at.
_Batch = list[tuple[int, _Seen, Crop]]


class _Pass:
    """The features of one pass as they come in, for each part a batch at a time.

    The backbones compute one batch while the next one is put together.
    """

    def __init__(self, extractor: FeatureExtractor, cache: FeatureCache | None, count: int) -> None:
        self.features = np.empty((count, extractor.width), np.float32)
        self._extractor = extractor
        self._cache = cache
        ends = np.cumsum([part.width for part in extractor.parts])
        self._slices = [slice(end - part.width, end) for end, part in zip(ends.tolist(), extractor.parts, strict=True)]
        self._waiting: list[_Batch] = [[] for _ in extractor.parts]
        self._computing: deque[tuple[int, _Batch, Future[Features]]] = deque()
        # Two batches at once: a core that has come to the end of one begins with the next.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="backbones")

    def add(self, row: int, seen: _Seen) -> None:
        """Take over what is known of an image, and compute what is not once there is a batch of it."""
        for part, (known, crop) in enumerate(zip(seen.features, seen.crops, strict=True)):
            if known is not None:
                self.features[row, self._slices[part]] = known
            if crop is not None:
                self._waiting[part].append((row, seen, crop))
                if len(self._waiting[part]) == BATCH:
                    self._compute(part)
                    self._take(leave=1)
        if self._cache is not None and seen.new_look and seen.look is not None:
            self._cache.put_look(seen.sha256, seen.look)

    def finish(self) -> None:
        """Compute what is left."""
        for part, waiting in enumerate(self._waiting):
            if waiting:
                self._compute(part)
        self._take(leave=0)
        if self._cache is not None:
            self._cache.commit()

    def _compute(self, part: int) -> None:
        batch, self._waiting[part] = self._waiting[part], []
        crops = np.stack([crop for _, _, crop in batch])
        self._computing.append((part, batch, self._threads.submit(self._extractor.part_features, part, crops)))

    def _take(self, *, leave: int) -> None:
        """Keep what was computed, but for so many batches that may still be computing."""
        while len(self._computing) > leave:
            part, batch, computed = self._computing.popleft()
            for (row, seen, _), vector in zip(batch, computed.result(), strict=True):
                if not np.isfinite(vector).all():
                    raise UserError(
                        tr("the backbones give no usable features for {path}: move it away", path=shown(seen.file.path))
                    )
                self.features[row, self._slices[part]] = vector
                if self._cache is not None:
                    self._cache.put_features(part, seen.sha256, vector)

    def close(self) -> None:
        """Compute no more."""
        self._threads.shutdown(cancel_futures=True)


def extract(files: Sequence[File], extractor: FeatureExtractor, cache: FeatureCache | None) -> Extracted:
    """The features and looks of every readable file, from the cache where it has them.

    Shows its progress on a terminal. Raises `UserError` when a backbone gives something else than numbers.
    """
    started = time.monotonic()
    samples: list[Sample] = []
    looks: list[Look] = []
    unreadable: list[Unreadable] = []
    running = _Pass(extractor, cache, len(files))
    cached = 0
    stream = map_ahead(lambda file: _see(file, extractor.transforms, cache), files)
    seen: _Seen
    with closing(running):
        for seen in tqdm(stream, "features", len(files), unit=" images", disable=None):
            if seen.look is None:
                assert seen.error is not None, "an image without a look cannot be read"
                unreadable.append(seen.error)
                continue
            running.add(len(samples), seen)
            samples.append(Sample(seen.file.path, seen.file.name, seen.file.label, seen.sha256))
            looks.append(seen.look)
            cached += not seen.new_look and all(crop is None for crop in seen.crops)
        running.finish()
    features = running.features[: len(samples)]
    return Extracted(samples, features, looks, unreadable, cached, time.monotonic() - started)
