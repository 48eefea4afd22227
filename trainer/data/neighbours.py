"""Group images that show the same: copies, and near duplicates (resized, re-encoded, brightened, cropped a little).

They are found by a perceptual hash and confirmed by colours and detail. Of 4.5 million pairs of scenes, 6 are found,
each of them one scene a moment later. Rotated or mirrored images count as different.

Images of a camera that stands still, or of forms of one kind, resemble each other too, though each shows something of
its own: with an animal a tenth as wide as the image, 95 % of the pairs are near duplicates. In one fold they could not
be judged. So a group with too many members or too many labels for near duplicates is parted: only copies stay together,
and images that differ in nothing but noise and light.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.data.perceptual_hash import PerceptualHash

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Likeness:
    """How alike two images must be: the most of 64 bits that differ, the least correlation of colours and detail."""

    bits: int
    colours: float
    detail: float


#: Near duplicates.
_NEAR = _Likeness(bits=12, colours=0.92, detail=0.9)
#: The same view with nothing new in it. Of 240 pairs of views, 95 % are so alike with noise and other light only, 5 %
#: with an object of a tenth of their width at another place, and none with a larger one.
_SAME = _Likeness(bits=2, colours=0.998, detail=0.996)
#: A group of at most this many is never parted, whatever the labels.
_MAX_DUPLICATES = 12
#: A larger group in which no label reaches this share shows a view in which things change.
_ONE_LABEL_SHARE = 0.9

#: An image that is plainer than this (standard deviation of its brightness) has nothing to recognise it by.
PLAIN = 3.0

# The size of the tiles that are compared at a time: so small that they stay in the processor's cache.
_ROWS, _COLUMNS = 64, 2048
# Fewer products than this are not worth waking BLAS's threads for, which takes milliseconds on a busy machine.
_FEW_PRODUCTS = 10_000_000


@dataclass(frozen=True)
class Groups:
    """The group of each of n images, as the position ``first`` (n,) of the first image of the group.

    ``parted`` (n,) tells which images were parted from images like them, since these were too many for near duplicates.
    """

    first: Positions
    parted: Mask


def group_images(digests: Sequence[str], hashes: Sequence[PerceptualHash], labels: Sequence[str]) -> Groups:
    """Group n images by the sha256 of their files, ``digests``, and by their perceptual hashes.

    An image that resembles any image of a group belongs to the group.
    """
    originals: dict[str, int] = {}
    copies = np.array([originals.setdefault(digest, row) for row, digest in enumerate(digests)], np.int64)
    first = _join_similar(np.arange(len(digests)), copies, hashes, _NEAR)
    parted = np.zeros(len(digests), bool)
    for likeness in (_SAME, None):
        for members in _groups_of_views(first, labels):
            parted[members] = True
            first[members] = copies[members] if likeness is None else _join_similar(members, copies, hashes, likeness)
    return Groups(first, parted)


def _groups_of_views(group: Positions, labels: Sequence[str]) -> Iterator[Positions]:
    """Yield the members of each group that shows a view in which things change, rather than the same.

    Such a group has many members, which have several labels or are most of the images of a label.
    """
    by_group: dict[int, list[int]] = defaultdict(list)
    for row, first in enumerate(group.tolist()):
        by_group[first].append(row)
    sizes = Counter(labels)
    for members in by_group.values():
        if len(members) <= _MAX_DUPLICATES:
            continue
        counts = Counter(labels[row] for row in members)
        has_several_labels = max(counts.values()) < _ONE_LABEL_SHARE * len(members)
        if has_several_labels or any(2 * count > sizes[label] for label, count in counts.items()):
            yield np.array(members, np.int64)


def _join_similar(
    rows: Positions, copies: Positions, hashes: Sequence[PerceptualHash], likeness: _Likeness
) -> Positions:
    """Return the groups (m,) of the images at ``rows`` (m,), ascending: those of ``copies``, joined where alike."""
    group = copies[rows]
    originals = [row for row in np.unique(group).tolist() if hashes[row].spread >= PLAIN]
    for one, other in _similar(np.array(originals, np.int64), hashes, likeness):
        low, high = sorted(group[np.searchsorted(rows, (one, other))].tolist())
        group[group == high] = low
    return group


def _similar(images: Positions, hashes: Sequence[PerceptualHash], likeness: _Likeness) -> Iterator[tuple[int, int]]:
    """Yield pairs of ``images``, enough to join all that are similar, directly or through others."""
    if not len(images):
        return
    bits = np.array([hashes[image].bits for image in images], np.uint64)
    colours = np.frombuffer(b"".join(hashes[image].colours for image in images), np.uint8).reshape(len(images), -1)
    detail = np.frombuffer(b"".join(hashes[image].detail for image in images), np.int8).reshape(len(images), -1)
    joined = np.arange(len(images))
    for top, left in _tiles(len(images)):
        rows, columns = slice(top, top + _ROWS), slice(left, left + _COLUMNS)
        near = np.bitwise_count(bits[rows, None] ^ bits[None, columns]) <= likeness.bits
        if not near.any():
            continue
        near &= joined[rows, None] != joined[None, columns]
        ones, others = top + np.flatnonzero(near.any(1)), left + np.flatnonzero(near.any(0))
        if len(ones):
            alike = near[np.ix_(ones - top, others - left)]
            alike &= _correlation(colours[ones], colours[others]) >= likeness.colours
            alike &= _correlation(detail[ones], detail[others]) >= likeness.detail
            for row, column in np.argwhere(alike):
                one, other = ones[row], others[column]
                if joined[one] != joined[other]:
                    joined[joined == joined[other]] = joined[one]
                    yield int(images[one]), int(images[other])


def _tiles(count: int) -> Iterator[tuple[int, int]]:
    """Yield the top left corners of tiles that cover every pair of ``count`` at least once."""
    for top in range(0, count, _ROWS):
        for left in range(top, count, _COLUMNS):
            yield top, left


def _correlation(ones: npt.NDArray[np.generic], others: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return Pearson's correlations (n, m) of marks (n, width) with marks (m, width)."""
    first, second = _centred(ones), _centred(others)
    if first.size * len(second) < _FEW_PRODUCTS:
        correlations: npt.NDArray[np.float32] = np.einsum("ik,jk->ij", first, second)
        return correlations
    return first @ second.T


def _centred(marks: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    values = marks.astype(np.float32)
    values -= values.mean(1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values
