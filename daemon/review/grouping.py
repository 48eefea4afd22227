"""Group the pile by likeness: a process of low priority does it, again whenever the pile has changed much."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from loguru import logger

from daemon.review.api import LikelyClass
from daemon.review.images import Images
from daemon.review.pile import Pile
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal
from models.children import child_environment
from models.text.language import in_use, tr
from models.text.printable import shown

FEATURES_FILE = "review.features"
#: Images of the pile that are grouped: the newest.
MOST_GROUPED = 20_000
#: The pile is grouped again once this share of it is new, but not sooner than after so many seconds.
NEW_SHARE, PAUSE_SECONDS = 0.05, 30.0
#: The group of those that came since.
_NEW = 0


@dataclass(frozen=True)
class ImageGroup:
    """Images that look alike, by the ids of their filings, the most typical first."""

    id: int
    ids: Sequence[int]
    likely: Sequence[LikelyClass] = ()


@dataclass(frozen=True)
class Groups:
    """The groups of a pile, the largest first. ``edition`` counts up with each grouping."""

    edition: int = 0
    groups: Sequence[ImageGroup] = ()
    is_grouped: bool = False
    progress: float = 0.0


class Grouping:
    """Knows the groups of the pile. Safe in any thread."""

    def __init__(self, place: ReviewedOutput, images: Images) -> None:
        self._place = place
        self._images = images
        self._lock = threading.Lock()
        self._groups = Groups()
        self._grouped: frozenset[int] = frozenset()
        self._process: subprocess.Popen[str] | None = None
        self._is_busy = False
        self._next = 0.0
        self._closed = False

    def close(self) -> None:
        """End the process that groups."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def of(self, pile: Pile) -> Groups:
        """Return the groups; images that are in none yet are one of their own, the newest first."""
        with self._lock:
            groups = self._groups
            new = [number for number in pile.contents if number not in self._grouped]
            is_due = len(new) > NEW_SHARE * len(pile.contents) and time.monotonic() >= self._next
            if is_due and not self._is_busy and not self._closed:
                self._is_busy = True
                threading.Thread(target=self._group, args=(pile,), name="grouping", daemon=True).start()
        if not new:
            return groups
        return replace(groups, groups=[*groups.groups, ImageGroup(_NEW, new)])

    def _group(self, pile: Pile) -> None:
        """Have the pile grouped, and keep the answer."""
        try:
            question = self._question(pile)
            with self._lock:
                if self._closed:
                    return
                self._process = process = _start()
            self._talk(process, question)
        except (OSError, Refusal) as error:
            logger.warning(tr("the images cannot be grouped: {error}", error=error))
        finally:
            with self._lock:
                self._is_busy = False
                self._process = None
                self._next = time.monotonic() + PAUSE_SECONDS

    def _question(self, pile: Pile) -> dict[str, Any]:
        settings = self._place.settings
        ids = pile.ids[:MOST_GROUPED]
        images = []
        for start in range(0, len(ids), 1000):
            found = self._images.filings(ids[start : start + 1000])
            images += [
                (number, row.sha256, str(row.destination))
                for number in ids[start : start + 1000]
                if (row := found.get(number)) is not None and row.sha256 is not None
            ]
        return {
            "images": images,
            "output": str(settings.output),
            "checkpoint": str(settings.checkpoint),
            "cache_dir": None if settings.cache_dir is None else str(settings.cache_dir),
            "language": in_use(),
            "features": str(self._place.state / FEATURES_FILE),
        }

    def _talk(self, process: subprocess.Popen[str], question: dict[str, Any]) -> None:
        asked = {number for number, _, _ in question["images"]}
        assert process.stdin is not None
        assert process.stdout is not None
        with process, suppress(BrokenPipeError):
            json.dump(question, process.stdin)
            process.stdin.close()
            for line in process.stdout:
                self._take(line, asked)

    def _take(self, line: str, asked: set[int]) -> None:
        try:
            answer = json.loads(line)
        except ValueError:
            return
        if "error" in answer:
            logger.warning(tr("the images cannot be grouped: {error}", error=answer["error"]))
        elif "progress" in answer:
            with self._lock:
                self._groups = replace(self._groups, progress=float(answer["progress"]))
        elif "groups" in answer:
            made = [
                ImageGroup(
                    number,
                    group["ids"],
                    [LikelyClass(label=shown(label), share=share) for label, share in group["likely"]],
                )
                for number, group in enumerate(answer["groups"], 1)
            ]
            grouped = frozenset(number for group in made for number in group.ids)
            with self._lock:
                self._groups = Groups(self._groups.edition + 1, made, is_grouped=bool(made), progress=1.0)
                self._grouped = grouped if grouped else frozenset(asked) & self._grouped


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "daemon.review.likeness"],
        env=child_environment() | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
