"""Bursts: what one camera took within seconds and what looks alike is decided together.

An image that may belong to a burst waits until its burst is decided. Nothing is done with it meanwhile, and it lies in
the inbox: an interruption costs the wait alone. An image whose data does not say when it was taken belongs to no burst.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar

from daemon.files.renaming import close
from daemon.files.roots import Roots
from daemon.files.source import OPEN_FLAGS, Identity
from daemon.files.taken import Shot, exif_shot
from models.classifier import Seen

ImageT = TypeVar("ImageT")

#: Images of a burst are at least so much alike, by `Seen.direction`. Of pictures that were a little shifted, darkened
#: and noisy 98 to 100 % are, and of other pictures of a class one pair in a thousand (`tests.benchmarks.bursts`).
LEAST_ALIKE = 0.85
#: Seconds that a burst waits for its next image, where no other image is at work; and in all.
MOST_QUIET, MOST_WAIT = 5.0, 15.0
#: Images that wait at once; where there are more, the burst that has waited longest is decided.
MOST_WAITING = 512


def shot_of(path: Path, roots: Roots, identity: Identity | None = None) -> Shot | None:
    """Read when and by which camera a picture was taken; None where that cannot be said.

    None, too, where another file than the one of ``identity`` lies there by now.
    """
    try:
        descriptor = roots.open(path, OPEN_FLAGS)
        try:
            if identity is not None and Identity.from_stat(os.fstat(descriptor)) != identity:
                return None
            return exif_shot(descriptor)
        finally:
            close(descriptor)
    except OSError:
        return None


def in_order_of_shots(paths: Iterable[Path], roots: Roots) -> list[Path]:
    """Sort images so that those of a burst follow one another: by camera and time, those without either first."""
    shots = {path: shot_of(path, roots) or Shot("", datetime.min) for path in paths}
    return sorted(shots, key=lambda path: (shots[path], path))


@dataclass(frozen=True, eq=False)
class Member(Generic[ImageT]):
    """An image that may belong to a burst: when it was taken, what was seen in it, and the digest of its bytes."""

    image: ImageT
    shot: Shot
    seen: Seen
    sha256: str | None


@dataclass(eq=False)
class Burst(Generic[ImageT]):
    """Images to be decided together; ``since`` and ``last`` are when the first and the last of them came."""

    since: float
    last: float
    members: list[Member[ImageT]] = field(default_factory=list)

    def distinct(self) -> list[Seen]:
        """Return what was seen in its images; once in those with the same bytes."""
        return list({member.sha256 or str(number): member.seen for number, member in enumerate(self.members)}.values())

    def may_have(self, other: Member[ImageT], seconds: float) -> bool:
        """Whether an image of the same camera was taken within so many seconds of all the others, and is like one."""
        most = timedelta(seconds=seconds)
        return all(abs(member.shot.time - other.shot.time) <= most for member in self.members) and any(
            float(member.seen.direction @ other.seen.direction) >= LEAST_ALIKE for member in self.members
        )


class Bursts(Generic[ImageT]):
    """Images that wait for others of their bursts, which are ``seconds`` long at most."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting: list[Burst[ImageT]] = []  # the one that has waited longest first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def images(self) -> list[ImageT]:
        """Images that wait."""
        return [member.image for burst in self._waiting for member in burst.members]

    def add(self, member: Member[ImageT]) -> None:
        """Let an image join those that it is like, or wait for others."""
        now = monotonic()
        for burst in self._waiting:
            if burst.members[0].shot.camera == member.shot.camera and burst.may_have(member, self.seconds):
                break
        else:
            burst = Burst(since=now, last=now)
            self._waiting.append(burst)
        burst.members.append(member)
        burst.last = now
        self._count += 1

    def take_ready(self, most: int, *, clocked: bool, is_idle: bool, is_last: bool) -> list[Burst[ImageT]]:
        """Take bursts that need not wait any longer, of ``most`` images or a few more.

        None waits if ``is_last``, or where there is no more room. If ``clocked``, none waits for long: `MOST_QUIET` for
        its next image if the pipeline ``is_idle``, so that none is on its way here, and `MOST_WAIT` in any case.
        """
        now = monotonic()
        quiet = min(self.seconds, MOST_QUIET) if is_idle else MOST_WAIT
        taken: list[Burst[ImageT]] = []
        for burst in list(self._waiting):
            if sum(len(other.members) for other in taken) >= most:
                break
            is_due = clocked and (now - burst.last >= quiet or now - burst.since >= MOST_WAIT)
            if is_last or is_due or self._count > MOST_WAITING or not self.seconds:
                self._waiting.remove(burst)
                self._count -= len(burst.members)
                taken.append(burst)
        return taken

    def clear(self) -> list[ImageT]:
        """Forget all images, and return them."""
        images = self.images
        self._waiting.clear()
        self._count = 0
        return images
