"""Compare images by likeness, in a process of low priority; there is one such process at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from loguru import logger

from daemon.files.sessions import come_after_others
from daemon.review.images import Images
from daemon.review.place import ReviewedOutput
from daemon.review.refusals import Refusal
from models.children import child_environment
from models.text.language import in_use, tr

FEATURES_FILE = "review.features"
#: Filings that are read from the journal at a time.
_AT_ONCE = 1000
_NICENESS = 19

#: What is wanted: groups of images that look alike, or all images in order, the most unlike first.
Wanted = Literal["groups", "order"]
Answer = dict[str, Any]


class Comparing:
    """Runs the process. Safe in any thread."""

    def __init__(self, place: ReviewedOutput, images: Images) -> None:
        self._place = place
        self._images = images
        #: Held while a process runs: a second one would only take the time of the first.
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing is compared any more."""
        return self._closed

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def compare(self, ids: Sequence[int], wanted: Wanted, on_answer: Callable[[Answer], None]) -> None:
        """Have the images of some filings compared, and wait for that.

        ``on_answer`` is given how far it has come, again and again, and then the result, or why there is none.
        """
        try:
            with self._turn:
                if self._closed:
                    return
                question = self._question(ids, wanted)
                with self._lock:
                    if self._closed:
                        return
                    self._process = process = start_process()
                try:
                    _talk(process, question, on_answer)
                finally:
                    with self._lock:
                        self._process = None
        except (OSError, Refusal) as error:
            _fail(str(error), on_answer)

    def _question(self, ids: Sequence[int], wanted: Wanted) -> dict[str, Any]:
        settings = self._place.settings
        images = []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            found = self._images.filings(some)
            images += [
                (number, row.sha256, str(row.place))
                for number in some
                if (row := found.get(number)) is not None and row.sha256 is not None
            ]
        return {
            "images": images,
            "wanted": wanted,
            "output": str(settings.output),
            "roots": self._place.roots.folders,
            "checkpoint": str(settings.checkpoint),
            "cache_dir": None if settings.cache_dir is None else str(settings.cache_dir),
            "language": in_use(),
            "features": str(self._place.state / FEATURES_FILE),
        }


def start_process() -> subprocess.Popen[str]:
    """Start the process, which waits for its question. Raises OSError."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "daemon.review.likeness"],
        env=child_environment() | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # Before it has its question: loading alone takes it a second, while somebody waits for pictures.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
    come_after_others(process.pid)
    return process


def _talk(process: subprocess.Popen[str], question: dict[str, Any], on_answer: Callable[[Answer], None]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with process, suppress(BrokenPipeError):
        json.dump(question, process.stdin)
        process.stdin.close()
        for line in process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if "error" in answer:
                _fail(answer["error"], on_answer)
            else:
                on_answer(answer)


def _fail(why: str, on_answer: Callable[[Answer], None]) -> None:
    sentence = tr("the images cannot be grouped: {error}", error=why)
    logger.warning(sentence)
    on_answer({"error": sentence})
