"""Bring the images of a store to this machine, some ahead of those that are being looked at."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import NamedTuple

from daemon.archiving.rows import Listed
from daemon.archiving.stores import Store, StoreFailed
from models.files.ownership import make_folder
from models.text.language import tr

#: Requests at once, and images that are fetched or being fetched.
REQUESTS, _AHEAD = 16, 48
#: Bytes of the images that are fetched or being fetched, beyond which no other one is.
_MOST_BYTES = 256 << 20


class Fetched(NamedTuple):
    """An image that lies here under ``path``, or why it does not; ``is_gone``: it is no longer in the store."""

    listed: Listed
    path: Path
    problem: str | None = None
    is_gone: bool = False


class Spool:
    """A folder of this machine for the images of a store. Each is deleted with `drop` when it was looked at."""

    def __init__(self, folder: Path, store: Store) -> None:
        """What an earlier process left in the folder is deleted."""
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        self.folder = folder
        self._store = store
        self._numbers = count()
        self._threads = ThreadPoolExecutor(REQUESTS, thread_name_prefix="fetch")

    def close(self) -> None:
        """Give up what is being fetched, and delete the folder."""
        self._threads.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def fetched(self, images: Iterable[Listed], stopping: Callable[[], bool]) -> Iterator[Fetched]:
        """Yield the images in order as they come. No error of one is raised."""
        coming: Iterator[Listed] = iter(images)
        waiting: deque[tuple[Listed, Future[Fetched]]] = deque()
        held, is_over = 0, False
        while True:
            while not is_over and len(waiting) < _AHEAD and held < _MOST_BYTES:
                image = None if stopping() else next(coming, None)
                if image is None:
                    is_over = True
                else:
                    held += image.size
                    waiting.append((image, self._threads.submit(self._fetch, image)))
            if not waiting:
                return
            image, answer = waiting.popleft()
            held -= image.size
            yield answer.result()

    def _fetch(self, image: Listed) -> Fetched:
        path = self.folder / f"{next(self._numbers):09}"
        try:
            self._store.fetch(self._store.path(image.uri), path)
            size = path.stat().st_size
        except FileNotFoundError:
            return Fetched(image, path, tr("it is no longer there"), is_gone=True)
        except (StoreFailed, OSError) as error:
            path.unlink(missing_ok=True)
            return Fetched(image, path, str(error))
        if size != image.size:
            path.unlink(missing_ok=True)
            return Fetched(image, path, tr("it changed while it was read"))
        return Fetched(image, path)

    def drop(self, path: Path) -> None:
        """Delete an image that was looked at."""
        path.unlink(missing_ok=True)
