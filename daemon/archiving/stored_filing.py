"""File the images of a manifest within a store, such as a bucket: the server copies, and each copy is verified.

An image goes to ``OUT/folder/name``. Where other bytes have that name, it goes to a name with its hash; where an equal
image of the manifest has it, to one with the hash of its address. So each has names of its own, and what is there with
its size and content already is its copy: the job may be repeated.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from daemon.archiving.applying import Applied, require_move
from daemon.archiving.decided import Decided
from daemon.archiving.rows import hash_of
from daemon.archiving.spool import REQUESTS
from daemon.archiving.stores import Store, StoredFile, StoreFailed, retried
from daemon.files.output_mark import OUTPUT_MARK
from daemon.filing.filer import Action
from daemon.filing.status import Status, describe
from models.errors import UserError
from models.text.language import tr

#: Letters of an image's hash in its name, where the name alone is taken.
_HASH = 12
_AT_ONCE = 512
#: Locks that the destinations are shared out to: two images of one name wait for each other.
_LOCKS = 256
#: Nanoseconds by which the time of a file may differ between a list and an answer about it alone.
_ROUNDED_BY = 1_000_000_000
#: Bytes that are read at a time to compute a hash.
_CHUNK = 1 << 20


class _Result(NamedTuple):
    status: Status
    why: str = ""


class StoredFiling:
    """Files into folders below the URL ``output``."""

    def __init__(
        self, output: str, action: Action, applied: Applied, later_equals: Collection[str], *, dry_run: bool = False
    ) -> None:
        """``later_equals``: see the function of that name. Raises `UserError`."""
        if action == "link":
            raise UserError(tr("{output} has no links: give --action copy or move", output=output))
        self._output = Store(output)
        self._fs: Any = self._output.file_system
        self._action = action
        self._moves = action == "move"
        self._applied = applied
        self._later_equals = later_equals
        self._dry_run = dry_run
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._threads = ThreadPoolExecutor(REQUESTS, thread_name_prefix="apply")

    def close(self) -> None:
        """Wait for the requests that were sent."""
        self._threads.shutdown(cancel_futures=True)

    def file(self, images: Iterable[Decided], stopping: Callable[[], bool]) -> None:
        """File images, some at a time, until ``stopping`` returns True."""
        coming = self._readable(images)
        is_marked = self._dry_run
        while not stopping() and (group := list(islice(coming, _AT_ONCE))):
            if not is_marked:  # only now is it known that they may go there
                self._mark()
                is_marked = True
            answers: list[tuple[Decided, Future[_Result]]] = [
                (image, self._threads.submit(self._file_one, image)) for image in group
            ]
            for image, answer in answers:
                assert image.folder is not None
                result = answer.result()
                self._applied.add(image.uri, result.status, image.folder, result.why or describe(result.status))

    def _mark(self) -> None:
        """Say to whoever archives a folder around the output that what lies in it is filed."""
        path = f"{self._output.root}/{OUTPUT_MARK}"
        try:
            if self._output.info(path) is None:
                self._output.write(path, b"{}")
        except StoreFailed as error:
            raise UserError(
                tr("{url} cannot be written to: {reason}", url=self._output.base, reason=str(error))
            ) from error

    def _readable(self, images: Iterable[Decided]) -> Iterator[Decided]:
        scheme = self._output.base.partition("://")[0]
        for image in images:
            if image.uri.partition("://")[0] != scheme:
                raise UserError(
                    tr(
                        "{uri} does not lie in the store of {output}: give an --output where the images are",
                        uri=image.uri,
                        output=self._output.base,
                    )
                )
            if image.folder is None:
                self._applied.unread += 1
            else:
                yield image

    def _file_one(self, image: Decided) -> _Result:
        try:
            return self._file(image)
        except FileNotFoundError:
            return _Result(Status.GONE)
        except StoreFailed as error:
            return _Result(Status.RETRY, str(error))

    def _file(self, image: Decided) -> _Result:
        if image.reason is not None and not self._moves:
            return _Result(Status.REFUSED)  # as on a file system: it stays where it is
        source_path = str(self._fs._strip_protocol(image.uri))
        source = self._output.info(source_path)
        if source is None:
            there = any(self._is_there(image, path, None) for path in self._destinations(image))
            return _Result(Status.ALREADY if self._moves and there else Status.GONE)
        if source.size != image.size or abs(source.mtime_ns - image.mtime_ns) > _ROUNDED_BY:
            return _Result(Status.CHANGED, tr("it changed since it was archived; archive it again"))
        if source_path.startswith(f"{self._output.root}/"):
            if source_path.startswith(f"{self._output.root}/{image.folder}/"):
                return _Result(Status.ALREADY)  # it lies where it belongs
            require_move(self._action, image.uri)
        if self._dry_run:
            return _Result(Status.PLANNED)
        for path in self._destinations(image):
            with self._locks[hash(path) % _LOCKS]:
                taken = self._output.info(path)
                if taken is not None and not self._is_same(image, taken, source):
                    continue
                if taken is None:
                    self._copy(image, source, path)
            if self._moves:
                retried(lambda: self._fs.rm_file(source_path))
            return _Result(Status.FILED if taken is None else Status.ALREADY)
        return _Result(Status.RETRY, tr("all names that it could have are taken"))

    def _destinations(self, image: Decided) -> list[str]:
        """List the paths that an image may have, the best first."""
        name = PurePosixPath(str(self._fs._strip_protocol(image.uri))).name
        is_later = image.uri in self._later_equals
        digest = hash_of(image.uri).hex() if is_later or image.sha256 is None else image.sha256
        path = PurePosixPath(name)
        with_hash = [f"{path.stem}-{digest[:length]}{path.suffix}" for length in (_HASH, len(digest))]
        names = with_hash if is_later else [name, *with_hash]
        return [f"{self._output.root}/{image.folder}/{each}" for each in names]

    def _copy(self, image: Decided, source: StoredFile, path: str) -> None:
        """Let the server copy an image, and verify the copy. Raises `StoreFailed`."""
        retried(lambda: self._fs.cp_file(source.path, path))
        copy = self._output.info(path)
        if copy is None or not self._is_same(image, copy, source):
            raise StoreFailed(tr("its copy {path} differs from it", path=path))

    def _is_there(self, image: Decided, path: str, source: StoredFile | None) -> bool:
        found = self._output.info(path)
        return found is not None and self._is_same(image, found, source)

    def _is_same(self, image: Decided, other: StoredFile, source: StoredFile | None) -> bool:
        """Whether a file has the content of an image: by the checksums of the store, else by reading it."""
        if other.size != image.size:
            return False
        if source is not None and source.etag and source.etag == other.etag:
            return True
        return image.sha256 is not None and self._sha256(other.path) == image.sha256

    def _sha256(self, path: str) -> str:
        def read() -> str:
            digest = hashlib.sha256()
            with self._fs.open(path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            return digest.hexdigest()

        return retried(read)
