"""Which images show one picture: copies, and near duplicates (resized, re-encoded, brightened, cropped a little).

Found by a perceptual hash and confirmed by colours and detail. Of 4.5 million pairs of intel_scenes6 this takes 6, each
of them one scene a moment later. Turned or mirrored ones are other pictures to it.

Pictures of a camera that stands still, or of one form that is filled in, resemble each other too, though each is a
picture of its own: with an animal a tenth as wide as the picture, 95 % of the pairs are near duplicates. Held out
together they could not be judged. So a group that is too large, or has too many labels, for one picture is parted: only
copies stay together, and those that nothing but noise and light tells apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.data.perceptual_hash import Look

Group = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Likeness:
    """What two pictures have to be like: so many of 64 bits may differ, colours and detail correlate at least so."""

    bits: int
    colours: float
    detail: float


#: Near duplicates.
_NEAR = _Likeness(bits=12, colours=0.92, detail=0.9)
#: The same view with nothing new in it. Of 240 pairs of views with noise and other light 95 % are this like; 5 % with
#: an object of a tenth of their width at another place, and none with a larger one.
_SAME = _Likeness(bits=2, colours=0.998, detail=0.996)
#: So many near duplicates may be those of one picture, whatever their labels.
_MOST = 12
#: With more of them, no single label has this share of a group that is a view rather than a picture.
_ONE_LABEL = 0.9

#: A picture that is plainer than this (standard deviation of its brightness) has nothing to be known again by.
PLAIN = 3.0

# What is compared at once: so little that it stays in the processor's cache.
_ROWS, _COLUMNS = 64, 2048
# Fewer products than this are not worth waking BLAS's threads for, which takes milliseconds on a busy machine.
_LITTLE = 10_000_000


@dataclass(frozen=True)
class Groups:
    """For each of n images the position ``first`` (n,) of the first one that shows the same picture.

    ``parted`` (n,): whether it was parted from near duplicates, which were too many to be those of one picture.
    """

    first: Group
    parted: Mask


def groups(pictures: Sequence[str], looks: Sequence[Look], labels: Sequence[str]) -> Groups:
    """Find the images that show one picture. ``pictures`` are the sha256 of the files.

    What resembles one image of a group belongs to the group.
    """
    originals: dict[str, int] = {}
    copies = np.array([originals.setdefault(picture, at) for at, picture in enumerate(pictures)], np.int64)
    everything = np.arange(len(pictures))
    found = _joined(everything, copies, looks, _NEAR)
    parted = np.zeros(len(pictures), bool)
    for likeness in (_SAME, None):
        for members in _views(found, labels):
            parted[members] = True
            found[members] = copies[members] if likeness is None else _joined(members, copies, looks, likeness)
    return Groups(found, parted)


def _views(group: Group, labels: Sequence[str]) -> Iterator[Group]:
    """The members of each group that shows a view in which something happens, rather than one picture.

    There are many of them, and they have several labels, or are most of what there is of a label.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for at, first in enumerate(group.tolist()):
        members[first].append(at)
    sizes = Counter(labels)
    for of in members.values():
        if len(of) <= _MOST:
            continue
        counts = Counter(labels[at] for at in of)
        several = max(counts.values()) < _ONE_LABEL * len(of)
        if several or any(2 * count > sizes[label] for label, count in counts.items()):
            yield np.array(of, np.int64)


def _joined(places: Group, copies: Group, looks: Sequence[Look], likeness: _Likeness) -> Group:
    """The first of its kind (n,) for the images at ``places`` (n,), ascending: their ``copies``, joined where alike."""
    group = copies[places]
    originals = [at for at in np.unique(group).tolist() if looks[at].spread >= PLAIN]
    for one, other in _similar(np.array(originals, np.int64), looks, likeness):
        low, high = sorted(group[np.searchsorted(places, (one, other))].tolist())
        group[group == high] = low
    return group


def _similar(places: Group, looks: Sequence[Look], likeness: _Likeness) -> Iterator[tuple[int, int]]:
    """Pairs of ``places``, enough of them to join all that are similar, directly or by way of others."""
    if not len(places):
        return
    bits = np.array([looks[at].bits for at in places], np.uint64)
    colours = np.frombuffer(b"".join(looks[at].colours for at in places), np.uint8).reshape(len(places), -1)
    detail = np.frombuffer(b"".join(looks[at].detail for at in places), np.int8).reshape(len(places), -1)
    joined = np.arange(len(places))
    for top, left in _tiles(len(places)):
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
