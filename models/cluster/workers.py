"""Give batches to workers on all nodes of a cluster, and take their answers, whichever workers are lost.

Ray starts a worker for a few cores, or for a GPU, wherever the cluster has them, and says when one is lost. All that is
written here of a scheduler is this: each worker has two batches, and gets another one for each answer.

Exactly once: a batch is answered or not; what a lost worker had is given to another one, and its answer is never
seen. A batch that costs several workers is divided, down to the item that does.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from loguru import logger

from models.cluster.connection import answers, connected
from models.cluster.nodes import Node, Share, nodes, requirements
from models.errors import UserError
from models.text.language import tr

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Items of a batch, and batches that a worker has: one that it looks at, and the next.
BATCH, AHEAD = 256, 2
#: Seconds between two looks at which nodes there are, and the most that one waits for an answer.
BETWEEN_LOOKS, MOST_WAIT = 5.0, 1.0
#: Seconds without a worker that has started, until it is said that the cores may be another job's.
WAITING_SECONDS = 30.0
#: Seconds that the cluster may be away; Ray ends this process after 60.
AWAY_SECONDS = 20.0
#: Workers that a batch may cost until it is divided, into so many parts; and workers that a node may lose in a row,
#: which is more than one item can cost it.
_MOST_LOST, _PARTS, _MOST_FAILURES = 3, 16, 8
#: Calls of a worker that do not wait for its batches.
_ASIDE = "aside"
#: Seconds that workers have to end by themselves.
_ENDING_SECONDS = 5.0


@dataclass(frozen=True)
class Work(Generic[Item, Answer]):
    """What workers do, and what becomes of it.

    ``kind`` is the class of a worker: ``open()`` makes it ready, or returns what is missing on its node, for the user
    to put right; ``look_at(items)`` returns an answer; ``stop()``, in another thread, lets that return soon;
    ``close()`` ends it. ``arguments`` are those that it is made with: of Ray, to put what is large into its memory,
    and by the share of each worker. ``take`` is given each answer, by the thread that calls `Workers.look_at`; it may
    return what is missing on the node, and the batch is given to another one. ``give_up`` is given an item that costs
    every worker, and why.
    """

    kind: type
    arguments: Callable[[Any], Callable[[Share], Sequence[Any]]]
    take: Callable[[Answer], str | None]
    give_up: Callable[[Item, str], None]
    with_gpus: bool = False


@dataclass(eq=False)
class _Batch(Generic[Item]):
    items: Sequence[Item]
    lost: int = 0


@dataclass(eq=False)
class _Post(Generic[Item]):
    """A worker on a node, and the batches that it has by the references of their answers.

    ``started`` is answered once it has its cores, ``opening`` once it is open.
    """

    node: Node
    share: Share
    worker: Any
    started: Any
    opening: Any
    is_open: bool = False
    batches: dict[Any, _Batch[Item]] = field(default_factory=dict)


class Workers(Generic[Item, Answer]):
    """The workers of a cluster, which are started where there are nodes, and again where they are lost."""

    def __init__(self, work: Work[Item, Answer]) -> None:
        self._work = work
        self._posts: list[_Post[Item]] = []
        self._returned: deque[_Batch[Item]] = deque()
        self._failures: Counter[str] = Counter()
        self._problem = ""  # why the node that was given up last cannot work, and what the user can do
        self._looked_for_nodes = -BETWEEN_LOOKS
        self._cluster_seen = self._worker_seen = 0.0
        self._is_waiting_said = False

    def look_at(self, items: Iterable[Item], stopping: Callable[[], bool] = lambda: False) -> None:
        """Let the workers look at items; once ``stopping`` returns True, only at what they have begun.

        Raises `UserError` where no node can work, or the cluster is lost.
        """
        with connected() as ray:
            self._ray = ray
            self._address = ray.get_runtime_context().gcs_address
            self._arguments = self._work.arguments(ray)
            self._cluster_seen = self._worker_seen = time.monotonic()
            try:
                self._go_on(_batches(items), stopping)
            finally:
                self._end()

    def _go_on(self, coming: Iterator[_Batch[Item]], stopping: Callable[[], bool]) -> None:
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

    def _hand_out(self, coming: Iterator[_Batch[Item]]) -> None:
        for _ in range(AHEAD):
            for post in self._posts:
                if post.is_open and len(post.batches) < AHEAD:
                    batch = self._returned.popleft() if self._returned else next(coming, None)
                    if batch is None:
                        return
                    post.batches[post.worker.look_at.remote(batch.items)] = batch

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

    def _take(self, post: _Post[Item], ref: Any) -> None:
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            self._lose(post, error.cause)
        except self._ray.exceptions.RayError as error:
            self._lose(post, error)
        else:
            missing = self._work.take(answer) if post.is_open else answer
            if missing is not None:
                self._give_up_node(post, missing)
            elif post.is_open:
                post.batches.pop(ref)
                if self._failures[post.node.id] < _MOST_FAILURES:  # a node that was given up stays so
                    self._failures[post.node.id] = 0
            else:
                post.is_open = True

    def _give_up_node(self, post: _Post[Item], missing: str) -> None:
        """Do without a node, and give others what its workers had."""
        for lost in [lost for lost in self._posts if lost.node.id == post.node.id]:
            self._discard(lost)
            self._returned.extend(lost.batches.values())
        self._failures[post.node.id] = _MOST_FAILURES
        self._problem = f"{post.node.address}: {missing}"
        logger.warning("{}", self._problem)

    def _lose(self, post: _Post[Item], error: Exception) -> None:
        """Do without a worker: another one gets its batches, of which it had begun the first."""
        self._discard(post)
        if not self._is_cluster_there():
            self._returned.extend(post.batches.values())  # which is why it was lost
            return
        self._failures[post.node.id] += 1
        self._say_lost(post.node, _described(error))
        for batch in post.batches.values():
            self._give_back(batch, error, was_begun=batch is next(iter(post.batches.values())))

    def _say_lost(self, node: Node, reason: str) -> None:
        if self._failures[node.id] < _MOST_FAILURES:
            said = tr("a process that looked at images was lost ({reason}); another one goes on", reason=reason)
        else:
            said = tr(
                "processes that looked at images were lost again and again ({reason}); this machine gets no new ones",
                reason=reason,
            )
            todo = tr(
                "processes that looked at images were lost again and again ({reason}): see what ends them there, "
                "such as too little memory, and run the same command, which goes on with the rest",
                reason=reason,
            )
            self._problem = f"{node.address}: {todo}"
        logger.warning("{}: {}", node.address, said)

    def _give_back(self, batch: _Batch[Item], error: Exception, *, was_begun: bool) -> None:
        batch.lost += was_begun
        if batch.lost < _MOST_LOST:
            self._returned.append(batch)
        elif len(batch.items) > 1:
            size = -(-len(batch.items) // _PARTS)
            parts = (batch.items[start : start + size] for start in range(0, len(batch.items), size))
            self._returned.extend(_Batch(part, lost=_MOST_LOST - 1) for part in parts)
        else:
            why = tr("the process that looked at it was lost: {reason}", reason=_described(error))
            self._work.give_up(batch.items[0], why)

    def _is_cluster_there(self) -> bool:
        """Whether the machine that the cluster began on answers. Raises `UserError` where it has not for long."""
        if answers(self._address):
            self._cluster_seen = time.monotonic()
            return True
        if time.monotonic() - self._cluster_seen > AWAY_SECONDS:
            raise UserError(
                tr(
                    "the head of the Ray cluster, {address}, does not answer any more: start the cluster again, and "
                    "give the same command, which goes on with the rest",
                    address=self._address,
                )
            )
        return False

    def _start_workers(self) -> None:
        """See now and then that each node has its workers. Raises `UserError` where no node can have any."""
        if time.monotonic() - self._looked_for_nodes < BETWEEN_LOOKS:
            return
        self._looked_for_nodes = time.monotonic()
        if not self._is_cluster_there():
            return
        there = nodes(self._ray, with_gpus=self._work.with_gpus)
        for node in there:
            missing = list(node.shares)
            for post in self._posts:
                if post.node.id == node.id:
                    missing.remove(post.share)
            if self._failures[node.id] < _MOST_FAILURES:
                self._posts += [self._post(node, share) for share in missing]
        if not self._posts and not there:
            raise UserError(tr("no machine of the Ray cluster has a core for this"))
        if not self._posts:
            raise UserError(tr("no machine of the Ray cluster can do this; {problem}", problem=self._problem))
        self._say_waiting()

    def _say_waiting(self) -> None:
        """Say once that no worker starts: Ray itself waits for cores without a word."""
        started = [post.started for post in self._posts]
        if self._ray.wait(started, num_returns=1, timeout=0)[0]:
            self._worker_seen = time.monotonic()
        elif time.monotonic() - self._worker_seen >= WAITING_SECONDS and not self._is_waiting_said:
            self._is_waiting_said = True
            logger.warning(
                tr(
                    "the Ray cluster has started no process for this yet: another job may have its cores, and this "
                    "waits until they are free"
                )
            )

    def _post(self, node: Node, share: Share) -> _Post[Item]:
        kind = self._ray.remote(concurrency_groups={_ASIDE: 1}, **requirements(node, share))(self._work.kind)
        worker = kind.remote(*self._arguments(share))
        return _Post(node, share, worker, worker.__ray_ready__.remote(), worker.open.remote())

    def _discard(self, post: _Post[Item]) -> None:
        self._posts.remove(post)
        with suppress(Exception):
            self._ray.kill(post.worker)

    def _end(self) -> None:
        """Let the workers end what they have started, and end them."""
        with suppress(Exception):
            closing = [post.worker.close.remote() for post in self._posts if post.is_open]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_ENDING_SECONDS)
        for post in self._posts.copy():
            self._discard(post)


def _described(error: Exception) -> str:
    """Return the kind of an error and its first line; Ray's go on for many."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _batches(items: Iterable[Item]) -> Iterator[_Batch[Item]]:
    coming = iter(items)
    while batch := list(islice(coming, BATCH)):
        yield _Batch(batch)
