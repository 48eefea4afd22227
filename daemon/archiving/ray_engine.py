"""The Ray engine: local engines on all nodes of a cluster, and one process that gives them images and gets rows.

Ray starts a worker for a few cores, or for a GPU, wherever the cluster has them, and says when one is lost. A worker
is the local engine: sandboxed decoders that cost a hostile picture and nothing else, and the model beside them. So an
image is read, decoded and classified on one node, and only addresses and rows cross the network and Ray's memory.

A pipeline of Ray Data in stages (download, decode, model) reached .57 of the local engine's images/s. It moves each
image through shared memory between its stages, decodes in processes that a bad file ends together with a whole block,
and wants the complete list before the first row. Here the listing goes on while images are looked at, and all that is
written here of a scheduler is this: each worker has two batches, and gets another one for each answer.

Exactly once: a batch is answered or not; what a lost worker had is given to another one, and its answer is never
seen. A batch that costs several workers is divided, down to the image that does, which becomes a row.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
from loguru import logger

from daemon.archiving.manifest import table_of
from daemon.archiving.ray_cluster import Node, Share, connected, nodes, requirements
from daemon.archiving.ray_worker import Looked, Worker
from daemon.archiving.rows import UNREAD, Listed
from daemon.config import Settings
from daemon.reloading.checkpoint_source import CheckpointFile
from models.errors import UserError
from models.text.language import tr

#: Images of a batch, and batches that a worker has: one that it looks at, and the next.
BATCH, AHEAD = 256, 2
#: Seconds between two looks at which nodes there are, and the most that one waits for an answer.
BETWEEN_LOOKS, MOST_WAIT = 5.0, 1.0
#: Workers that a batch may cost until it is divided, into so many parts; and workers that a node may lose in a row,
#: which is more than one image can cost it.
_MOST_LOST, _PARTS, _MOST_FAILURES = 3, 16, 8
#: Calls of a worker that do not wait for its batches.
_ASIDE = "aside"
#: Seconds that workers have to end by themselves.
_ENDING_SECONDS = 5.0


@dataclass(eq=False)
class _Batch:
    images: Sequence[Listed]
    lost: int = 0


@dataclass(eq=False)
class _Post:
    """A worker on a node, and the batches that it has by the references of their answers."""

    node: Node
    share: Share
    worker: Any
    opening: Any
    is_open: bool = False
    batches: dict[Any, _Batch] = field(default_factory=dict)


class RayEngine:
    """Looks at images by the workers of a cluster."""

    def __init__(
        self,
        settings: Settings,
        checkpoint: CheckpointFile,
        digest: str,
        source: str,
        on_rows: Callable[[pa.Table], None],
    ) -> None:
        """``source``: the folder, which all nodes have under the same path, or the URL of the images.

        ``on_rows`` is given the rows of a batch, by the thread that calls `look_at`.
        """
        self._settings = settings
        self._checkpoint = checkpoint
        self._digest = digest
        self._source = source
        self._on_rows = on_rows
        self._posts: list[_Post] = []
        self._returned: deque[_Batch] = deque()
        self._failures: Counter[str] = Counter()
        self._problem = ""
        self._looked_for_nodes = -BETWEEN_LOOKS

    def look_at(self, images: Iterable[Listed], stopping: Callable[[], bool] = lambda: False) -> None:
        """Look at images; once ``stopping`` returns True, only at those that are decoded.

        Raises `UserError` where no node can work.
        """
        with connected() as ray:
            self._ray = ray
            self._weights = ray.put(self._checkpoint.path.read_bytes())
            try:
                self._work(_batches(images), stopping)
            finally:
                self._end()

    def _work(self, coming: Iterator[_Batch], stopping: Callable[[], bool]) -> None:
        is_over = False
        while True:
            if not is_over and stopping():
                coming, is_over = iter(()), True
                self._returned.clear()
                for post in self._posts:
                    post.worker.stop.options(concurrency_group=_ASIDE).remote()
            self._start_workers()
            self._hand_out(coming)
            is_idle = not (self._returned or any(post.batches for post in self._posts))
            if is_idle and (is_over or any(post.is_open for post in self._posts)):
                return  # nothing comes any more, since an open worker has nothing to do
            self._take_answers()
            if is_over:
                self._returned.clear()

    def _hand_out(self, coming: Iterator[_Batch]) -> None:
        for _ in range(AHEAD):
            for post in self._posts:
                if post.is_open and len(post.batches) < AHEAD:
                    batch = self._returned.popleft() if self._returned else next(coming, None)
                    if batch is None:
                        return
                    post.batches[post.worker.look_at.remote(batch.images)] = batch

    def _take_answers(self) -> None:
        """Wait for an answer, and take all that are there."""
        owners = {ref: post for post in self._posts for ref in (post.batches if post.is_open else (post.opening,))}
        if not owners:
            time.sleep(MOST_WAIT)
            return
        ready, _ = self._ray.wait([*owners], num_returns=1, timeout=MOST_WAIT)
        more, _ = self._ray.wait([*owners], num_returns=len(owners), timeout=0) if ready else ([], [])
        for ref in more:
            post = owners[ref]
            if post in self._posts:  # it may have been lost with an answer before
                self._take(post, ref)

    def _take(self, post: _Post, ref: Any) -> None:
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            self._lose(post, error.cause)
        except self._ray.exceptions.RayError as error:
            self._lose(post, error)
        else:
            if isinstance(answer, Looked):
                post.batches.pop(ref)
                self._accept(post, answer)
            elif answer is None:
                post.is_open = True
            else:
                self._discard(post)
                self._failures[post.node.id] = _MOST_FAILURES
                self._note(post.node, answer)

    def _accept(self, post: _Post, looked: Looked) -> None:
        self._failures[post.node.id] = 0
        for warning in looked.warnings:
            logger.warning("{}", warning)
        if len(looked.rows):
            self._on_rows(looked.rows)

    def _lose(self, post: _Post, error: Exception) -> None:
        """Do without a worker: another one gets its batches, of which it had begun the first."""
        self._discard(post)
        self._failures[post.node.id] += 1
        reason = _described(error)
        self._note(
            post.node, tr("a process was lost that looked at images ({reason}); another one goes on", reason=reason)
        )
        for batch in post.batches.values():
            self._give_back(batch, error, was_begun=batch is next(iter(post.batches.values())))

    def _give_back(self, batch: _Batch, error: Exception, *, was_begun: bool) -> None:
        batch.lost += was_begun
        if batch.lost < _MOST_LOST:
            self._returned.append(batch)
        elif len(batch.images) > 1:
            size = -(-len(batch.images) // _PARTS)
            parts = (batch.images[start : start + size] for start in range(0, len(batch.images), size))
            self._returned.extend(_Batch(part, lost=_MOST_LOST - 1) for part in parts)
        else:
            (image,) = batch.images
            if not image.was_unread:
                detail = tr("whatever looked at it was lost: {reason}", reason=_described(error))
                self._on_rows(table_of([image.row(UNREAD, self._digest, detail=detail)]))

    def _start_workers(self) -> None:
        """See now and then that each node has its workers. Raises `UserError` where no node can have any."""
        if time.monotonic() - self._looked_for_nodes < BETWEEN_LOOKS:
            return
        self._looked_for_nodes = time.monotonic()
        there = nodes(self._ray, with_gpus=self._settings.device == "cuda")
        for node in there:
            missing = list(node.shares)
            for post in self._posts:
                if post.node.id == node.id:
                    missing.remove(post.share)
            if self._failures[node.id] < _MOST_FAILURES:
                self._posts += [self._post(node, share) for share in missing]
        if not self._posts and (self._problem or not there):
            raise UserError(self._problem or tr("no machine of the Ray cluster has a core for this"))

    def _post(self, node: Node, share: Share) -> _Post:
        threads = min(self._settings.threads or share.cores, share.cores)
        settings = self._settings.model_copy(update={"threads": threads})
        kind = self._ray.remote(concurrency_groups={_ASIDE: 1}, **requirements(node, share))(Worker)
        worker = kind.remote(settings, self._source, self._weights)
        return _Post(node, share, worker, worker.open.remote())

    def _note(self, node: Node, problem: str) -> None:
        self._problem = f"{node.address}: {problem}"
        logger.warning("{}", self._problem)

    def _discard(self, post: _Post) -> None:
        self._posts.remove(post)
        with suppress(Exception):
            self._ray.kill(post.worker)

    def _end(self) -> None:
        """Let the workers end their decoders, and end them."""
        with suppress(Exception):
            closing = [post.worker.close.remote() for post in self._posts if post.is_open]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_ENDING_SECONDS)
        for post in self._posts.copy():
            self._discard(post)


def _described(error: Exception) -> str:
    """Return the kind of an error and its first line; Ray's go on for many."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _batches(images: Iterable[Listed]) -> Iterator[_Batch]:
    coming = iter(images)
    while batch := list(islice(coming, BATCH)):
        yield _Batch(batch)
