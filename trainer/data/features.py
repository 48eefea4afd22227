"""Compute features: files are read, hashed and decoded in threads while the backbones compute."""

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
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from models.decoding.images import Crop, Transform, check_size, decode
from models.errors import ImageError, UserError
from models.inference.runtime import FeatureExtractor
from models.registry import Backbone
from models.text.language import tr
from trainer.data.cache import FeatureCache, Features
from trainer.data.dataset import File, Sample, Unreadable, shown
from trainer.data.perceptual_hash import HASH_TRANSFORM, PerceptualHash, hash_image
from trainer.data.threads import map_ahead

#: Images that a backbone computes at a time, shared among the cores. Measured on two cores, MobileNetV3-Large: 509
#: images/s at 4, 529 at 8, 540 at 16, 550 at 32.
BATCH = 16


@dataclass(frozen=True)
class ReadFile:
    """A file that was read: its crops, or the error."""

    file: File
    sha256: str = ""
    crops: Sequence[Crop] = ()
    error: Unreadable | None = None


@dataclass(frozen=True)
class Extracted:
    """Features (n, width) and perceptual hashes of the n readable samples, in file order, and the unreadable files.

    ``cached`` counts the samples that were fully in the cache; ``seconds`` is how long everything took.
    """

    samples: list[Sample]
    features: Features
    hashes: list[PerceptualHash]
    unreadable: list[Unreadable]
    cached: int
    seconds: float


def read_all(files: Iterable[File], transforms: Sequence[Transform]) -> Iterator[ReadFile]:
    """Read and decode files in order, a few ahead of the caller."""

    def read(file: File) -> ReadFile:
        try:
            data = _bytes_of(file.path)
            return ReadFile(file, hashlib.sha256(data).hexdigest(), decode(io.BytesIO(data), transforms))
        except (ImageError, OSError) as error:
            return ReadFile(file, error=_unreadable(file, error))

    return map_ahead(read, files)


def _bytes_of(path: Path) -> bytes:
    """Return the bytes of a file. Raises `ImageError` where they are too many for an image, and perhaps for memory."""
    with path.open("rb") as file:
        check_size(os.fstat(file.fileno()).st_size)
        return file.read()


def _unreadable(file: File, error: ImageError | OSError) -> Unreadable:
    if isinstance(error, ImageError):
        return Unreadable(file.name, file.label, error.reason, str(error))
    return Unreadable(
        file.name, file.label, "no-access", tr("The file cannot be read: {reason}.", reason=error.strerror)
    )


def stacked(reads: Sequence[ReadFile]) -> list[npt.NDArray[np.uint8]]:
    """Stack the crops of n files into one (n, side, side, 3) array for each part."""
    return [np.stack(crops) for crops in zip(*(read.crops for read in reads), strict=True)]


class KnownFeatures(Protocol):
    """What a cache has of an image by its sha256, as a `FeatureCache` tells it."""

    def features(self, sha256: str) -> list[Features | None]: ...
    def perceptual_hash(self, sha256: str) -> PerceptualHash | None: ...


@dataclass(frozen=True)
class PreparedImage:
    """A file that was read: its cached features, its crops for the parts without, and its hash; or the error."""

    file: File
    sha256: str = ""
    features: Sequence[Features | None] = ()
    crops: Sequence[Crop | None] = ()
    perceptual_hash: PerceptualHash | None = None
    is_new_hash: bool = False
    error: Unreadable | None = None


def prepare_image(file: File, transforms: Sequence[Transform], cache: KnownFeatures | None) -> PreparedImage:
    """Read a file, and decode it for what the cache lacks. No error of one file is raised."""
    try:
        data = _bytes_of(file.path)
        sha256 = hashlib.sha256(data).hexdigest()
        features = cache.features(sha256) if cache is not None else [None] * len(transforms)
        perceptual_hash = cache.perceptual_hash(sha256) if cache is not None else None
        missing = [part for part, cached in enumerate(features) if cached is None]
        crops: list[Crop | None] = [None] * len(transforms)
        is_new_hash = perceptual_hash is None
        if missing or perceptual_hash is None:
            *decoded, square = decode(io.BytesIO(data), [*(transforms[part] for part in missing), HASH_TRANSFORM])
            perceptual_hash = perceptual_hash or hash_image(data, square)
            for part, crop in zip(missing, decoded, strict=True):
                crops[part] = crop
        return PreparedImage(file, sha256, features, crops, perceptual_hash, is_new_hash)
    except (ImageError, OSError) as error:
        return PreparedImage(file, error=_unreadable(file, error))


def part_slices(parts: Sequence[Backbone]) -> list[slice]:
    """Return where in a row the features of each part are."""
    ends = np.cumsum([part.width for part in parts]).tolist()
    return [slice(end - part.width, end) for end, part in zip(ends, parts, strict=True)]


#: A batch for one part: for each image the row of its features, the image and the crop.
_Batch = list[tuple[int, PreparedImage, Crop]]


class FeaturePass:
    """One pass over all images, which computes each part's missing features in batches.

    The backbones compute one batch while the next one is assembled.
    """

    def __init__(self, extractor: FeatureExtractor, cache: FeatureCache | None, count: int) -> None:
        """``count``: the most images that are added; ``features`` (count, width) has their rows once it is finished."""
        self.features = np.empty((count, extractor.width), np.float32)
        self._extractor = extractor
        self._cache = cache
        self._slices = part_slices(extractor.parts)
        self._waiting: list[_Batch] = [[] for _ in extractor.parts]
        self._computing: deque[tuple[int, _Batch, Future[Features]]] = deque()
        # Two batches at once: a core that is done with one begins the next.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="backbones")

    def add(self, row: int, image: PreparedImage) -> None:
        """Add an image: copy its cached features, and queue its crops until a batch is full."""
        for part, (cached, crop) in enumerate(zip(image.features, image.crops, strict=True)):
            if cached is not None:
                self.features[row, self._slices[part]] = cached
            if crop is not None:
                self._waiting[part].append((row, image, crop))
                if len(self._waiting[part]) == BATCH:
                    self._compute(part)
                    self._collect(leave=1)
        if self._cache is not None and image.is_new_hash and image.perceptual_hash is not None:
            self._cache.put_perceptual_hash(image.sha256, image.perceptual_hash)

    def finish(self) -> None:
        """Compute the features that are still missing."""
        for part, waiting in enumerate(self._waiting):
            if waiting:
                self._compute(part)
        self._collect(leave=0)
        if self._cache is not None:
            self._cache.commit()

    def _compute(self, part: int) -> None:
        batch, self._waiting[part] = self._waiting[part], []
        crops = np.stack([crop for _, _, crop in batch])
        self._computing.append((part, batch, self._threads.submit(self._extractor.part_features, part, crops)))

    def _collect(self, *, leave: int) -> None:
        """Store computed features, and wait for all batches except the last ``leave``."""
        while len(self._computing) > leave:
            part, batch, computed = self._computing.popleft()
            for (row, image, _), vector in zip(batch, computed.result(), strict=True):
                if not np.isfinite(vector).all():
                    raise UserError(
                        tr(
                            "the backbones give no usable features for {path}: move it away",
                            path=shown(image.file.path),
                        )
                    )
                self.features[row, self._slices[part]] = vector
                if self._cache is not None:
                    self._cache.put_features(part, image.sha256, vector)

    def close(self) -> None:
        """Stop computing."""
        self._threads.shutdown(cancel_futures=True)


def extract(files: Sequence[File], extractor: FeatureExtractor, cache: FeatureCache | None) -> Extracted:
    """Compute the features and the hash of every readable file, or take them from the cache.

    Shows progress on a terminal. Raises `UserError` when a backbone returns values that are not finite.
    """
    started = time.monotonic()
    samples: list[Sample] = []
    hashes: list[PerceptualHash] = []
    unreadable: list[Unreadable] = []
    feature_pass = FeaturePass(extractor, cache, len(files))
    cached = 0
    stream = map_ahead(lambda file: prepare_image(file, extractor.transforms, cache), files)
    image: PreparedImage
    with closing(feature_pass):
        for image in tqdm(stream, "features", len(files), unit=" images", disable=None):
            if image.perceptual_hash is None:
                assert image.error is not None, "an image without a hash cannot be read"
                unreadable.append(image.error)
                continue
            feature_pass.add(len(samples), image)
            samples.append(Sample(image.file.path, image.file.name, image.file.label, image.sha256))
            hashes.append(image.perceptual_hash)
            cached += not image.is_new_hash and all(crop is None for crop in image.crops)
        feature_pass.finish()
    features = feature_pass.features[: len(samples)]
    return Extracted(samples, features, hashes, unreadable, cached, time.monotonic() - started)
