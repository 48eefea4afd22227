"""Which images show one picture: copies, and near duplicates (resized, re-encoded, brightened, cropped a little).

Found by a perceptual hash and confirmed by colours and detail. Of 4.5 million pairs of intel_scenes6 this takes 6, each
of them one scene a moment later. Turned or mirrored ones are other pictures to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trainer.looks import Look

Group = npt.NDArray[np.int64]

#: At most so many of the 64 bits differ.
_BITS = 12
#: Least correlation of the colours, and of the detail.
_COLOURS, _DETAIL = 0.92, 0.9
#: A picture that is plainer than this (standard deviation of its brightness) has nothing to be known again by.
PLAIN = 3.0

# What is compared at once: so little that it stays in the processor's cache.
_ROWS, _COLUMNS = 64, 2048
# Fewer products than this are not worth waking BLAS's threads for, which takes milliseconds on a busy machine.
_LITTLE = 10_000_000


def groups(pictures: Sequence[str], looks: Sequence[Look]) -> Group:
    """For each of n images the position (n,) of the first one that shows the same picture.

    ``pictures`` are the sha256 of the files. What resembles one image of a group belongs to the group.
    """
    first: dict[str, int] = {}
    group = np.array([first.setdefault(picture, at) for at, picture in enumerate(pictures)], np.int64)
    for one, other in _similar(np.array([at for at in first.values() if looks[at].spread >= PLAIN], np.int64), looks):
        low, high = sorted((group[one], group[other]))
        group[group == high] = low
    return group


def _similar(places: Group, looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    """Pairs of ``places``, enough of them to join all that are similar, directly or by way of others."""
    if not len(places):
        return
    bits = np.array([looks[at].bits for at in places], np.uint64)
    colours = np.frombuffer(b"".join(looks[at].colours for at in places), np.uint8).reshape(len(places), -1)
    detail = np.frombuffer(b"".join(looks[at].detail for at in places), np.int8).reshape(len(places), -1)
    joined = np.arange(len(places))
    for top, left in _tiles(len(places)):
        rows, columns = slice(top, top + _ROWS), slice(left, left + _COLUMNS)
        near = np.bitwise_count(bits[rows, None] ^ bits[None, columns]) <= _BITS
        if not near.any():
            continue
        near &= joined[rows, None] != joined[None, columns]
        ones, others = top + np.flatnonzero(near.any(1)), left + np.flatnonzero(near.any(0))
        if len(ones):
            alike = near[np.ix_(ones - top, others - left)]
            alike &= _correlation(colours[ones], colours[others]) >= _COLOURS
            alike &= _correlation(detail[ones], detail[others]) >= _DETAIL
            for row, column in np.argwhere(alike):
                one, other = ones[row], others[column]
                if joined[one] != joined[other]:
                    joined[joined == joined[other]] = joined[one]
                    yield int(places[one]), int(places[other])


def _tiles(count: int) -> Iterator[tuple[int, int]]:
    """The top left corners of tiles that cover every pair of ``count`` at least once."""
    for top in range(0, count, _ROWS):
        for left in range(top, count, _COLUMNS):
            yield top, left


def _correlation(ones: npt.NDArray[np.generic], others: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Pearson's, of each of (n, width) marks with each of (m, width): (n, m)."""
    first, second = _centred(ones), _centred(others)
    if first.size * len(second) < _LITTLE:
        few: npt.NDArray[np.float32] = np.einsum("ik,jk->ij", first, second)
        return few
    return first @ second.T


def _centred(marks: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    values = marks.astype(np.float32)
    values -= values.mean(1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values
