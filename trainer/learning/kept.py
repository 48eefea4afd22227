"""What a run keeps of the images it was fitted on, so that its head can be fitted again without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.registry import Backbone
from trainer.data.dataset import Labels
from trainer.data.folds import Folds
from trainer.data.neighbours import Positions
from trainer.data.perceptual_hash import PACKED_BYTES, PerceptualHash
from trainer.heads.recipe import Recipe

#: How many bytes of features a run keeps by default: enough for those of 100,000 images by the usual backbones.
DEFAULT_LIMIT = 300_000_000
#: What the file has of an image beside its features: label, prediction, fold, picture and sha256.
_BYTES_BESIDE = 45

#: What was predicted for an image that was not judged.
UNJUDGED = -1

Half = npt.NDArray[np.float16]
Hashes = npt.NDArray[np.uint8]
Looks = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class KeptFeatures:
    """Raw features (n, width) of the images of a data set, in float16, and what a head was fitted on them with.

    ``labels`` (n,) are positions in ``classes``, and so are ``predicted`` (n,), the classes that the images were taken
    for out of fold (`UNJUDGED`: not judged). ``folds`` (n,) are those in which the images were judged (`NEVER`:
    not judged), drawn by ``seed`` for ``fold_count`` folds. ``pictures`` (n,) is one number for the images that show
    one picture, ``hashes`` (n, 32) the sha256 of the files. ``texts`` (classes, width) are the weights that the head
    started from, where it did, for features at unit length.
    """

    features: Half
    labels: Labels
    predicted: Labels
    folds: Folds
    pictures: Positions
    hashes: Hashes
    classes: Sequence[str]
    recipe: Recipe
    fold_count: int
    seed: int
    texts: npt.NDArray[np.float32] | None = None

    @property
    def sha256(self) -> list[str]:
        """The sha256 (n,) of the files, in hex."""
        return [row.tobytes().hex() for row in self.hashes]

    def without_features(self) -> KeptFeatures:
        """Return all but the features, which take nearly all of the memory."""
        return replace(self, features=self.features[:0].copy())


@dataclass(frozen=True)
class LabelledFeatures:
    """Raw features (n, width) of images that people labelled, in float16, and the sha256 (n, 32) of the files.

    ``looks`` (n, `PACKED_BYTES`) are their perceptual hashes, packed; all zero where one is not known.
    """

    features: Half
    hashes: Hashes
    looks: Looks

    @classmethod
    def of(
        cls, features: Mapping[str, Half], perceptual_hashes: Mapping[str, PerceptualHash], width: int
    ) -> LabelledFeatures:
        """Keep features (width,), by sha256, and the perceptual hashes that are known."""
        sha256 = sorted(features)
        stacked = np.stack([features[digest] for digest in sha256]) if sha256 else np.empty((0, width), np.float16)
        looks = np.zeros((len(sha256), PACKED_BYTES), np.uint8)
        for row, digest in enumerate(sha256):
            if digest in perceptual_hashes:
                looks[row] = np.frombuffer(perceptual_hashes[digest].pack(), np.uint8)
        return cls(stacked, as_hashes(sha256), looks)

    @property
    def by_sha256(self) -> dict[str, Half]:
        """The features of each image, by its sha256 in hex."""
        return {row.tobytes().hex(): features for row, features in zip(self.hashes, self.features, strict=True)}

    @property
    def perceptual_hashes(self) -> dict[str, PerceptualHash]:
        """The perceptual hash of each image of which it is known, by its sha256 in hex."""
        known = self.looks.any(axis=1)
        return {
            row.tobytes().hex(): PerceptualHash.unpack(look.tobytes())
            for row, look in zip(self.hashes[known], self.looks[known], strict=True)
        }


def features_to_keep(features: npt.NDArray[np.float32], parts: Sequence[Backbone], limit: int) -> Half | None:
    """Return a copy of raw features (n, width) in float16, before they are scaled in place for the fit.

    None where even those of the narrowest of ``parts`` alone take more than ``limit`` bytes, or are too large for
    float16.
    """
    narrowest = min(part.width for part in parts)
    return as_half(features) if _size(len(features), narrowest) <= limit else None


def columns_of(positions: Sequence[int], features: Half | None, parts: Sequence[Backbone], limit: int) -> Half | None:
    """Return the features of the parts at ``positions`` alone; None where they take more than ``limit`` bytes."""
    if features is None:
        return None
    ends = np.cumsum([part.width for part in parts]).tolist()
    columns = [features[:, ends[position] - parts[position].width : ends[position]] for position in positions]
    chosen = np.concatenate(columns, axis=1) if len(columns) > 1 else columns[0]
    return chosen if _size(*chosen.shape) <= limit else None


def _size(images: int, width: int) -> int:
    """Return about how many bytes the file with the features of so many images takes."""
    return images * (2 * width + _BYTES_BESIDE)


def as_half(features: npt.NDArray[np.float32]) -> Half | None:
    """Return features in float16; None where they are too large for that."""
    with np.errstate(over="ignore"):
        half = features.astype(np.float16)
    return half if np.isfinite(half).all() else None


def as_hashes(sha256: Sequence[str]) -> Hashes:
    """Return the sha256 in hex of n files as bytes (n, 32)."""
    return np.frombuffer(bytes.fromhex("".join(sha256)), np.uint8).reshape(len(sha256), 32)
