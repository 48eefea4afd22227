"""Decoding hostile images at arm's length, in a few child processes under limits.

The worst that a hostile file can do is to cost one of them, and the one that tries again.

Separate processes, since a decoder written in C may crash, hang or eat the memory. They are not forked from the daemon,
whose threads of ONNX Runtime may hold any lock, but from a small process that never had a thread
(`daemon.decoding.forkserver`); multiprocessing's forkserver is such a process too, but takes the answers out of a
pickle, which would let a decoder that was taken over take over the daemon. One thread of ours talks to each decoder; it
enforces the deadline. Crops come through memory that is shared (`daemon.decoding.shared_crops`), and small images go
from the queue to a decoder several at a time: two cores take 0.35 ms for a picture of 150 px, one at a time 0.43, and
threads of ours 0.41.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from loguru import logger

from daemon.decoding import shared_crops
from daemon.decoding.decoder import Decoded, Decoder, DecoderLost, Release, Task
from daemon.decoding.launcher import Launcher
from daemon.decoding.shared_crops import CropBuffer, size_for, slots_for
from daemon.files.source import SourceUnreadable
from models.errors import ImageError
from models.text.language import tr

#: Seconds of work that a decoder is given at once, by the time that the last images took: large ones go one by one.
SECONDS_AT_ONCE = 0.05
# Characters of the paths that it is given at once, so that no message is too long.
_LONGEST_PATHS = 4096


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for one image in a decoder: bytes of memory, and seconds of decoding once it is read."""

    memory: int = 2 << 30
    seconds: float = 60.0


@dataclass(frozen=True, eq=False)
class _Job:
    """An image in the queue, or being decoded."""

    task: Task
    answer: Future[Decoded] = field(default_factory=Future)


class DecoderPool:
    """A pool of ``count`` decoders. They start in the background.

    Each is given some images at once, and decodes them one after the other.
    """

    def __init__(self, count: int, limits: Limits, launcher: Launcher | None = None) -> None:
        """``launcher``: one that was started before; it is closed with the decoders."""
        self._count = count
        self._limits = limits
        self._launcher = launcher or Launcher()
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)
        self._idle: list[Decoder] = []
        self._busy: set[Decoder] = set()
        self._queue: deque[_Job] = deque()
        self._pace = math.inf  # seconds that each of the last images took
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"decode_{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def adopt(self, limits: Limits) -> None:
        """Apply other limits from now on; images being decoded keep theirs."""
        self._limits = limits

    def submit(self, task: Task) -> Future[Decoded]:
        """Have an image decoded. What is wrong with the image is in the answer, never raised."""
        image = _Job(task)
        with self._arrival:
            if self._closed:
                image.answer.cancel()
            else:
                self._queue.append(image)
                self._arrival.notify()
        return image.answer

    def close(self) -> None:
        """End the decoders, whatever they are doing. Images without an answer get none."""
        with self._lock:
            self._closed = True
            for decoder in self._busy:
                decoder.channel.shut()
            self._arrival.notify_all()
            given_up, self._queue = self._queue, deque()
        self._launcher.shut()
        for image in given_up:
            if not image.answer.cancel():  # a decoder had it already, and was too busy with another one
                image.answer.set_exception(CancelledError())
        for thread in self._threads:
            thread.join()
        for decoder in self._idle:
            decoder.close()
        self._launcher.close()

    def pids(self) -> list[int]:
        """List the present processes: the fork server first, then the decoders."""
        with self._lock:
            return [self._launcher.pid, *(decoder.pid for decoder in (*self._idle, *self._busy))]

    def _start_one(self) -> None:
        try:
            decoder = self._begin(size_for(()))
        except SourceUnreadable as error:
            if not self._closed:
                logger.warning("{}", error)
        else:
            with self._lock:
                self._idle.append(decoder)

    def _run(self) -> None:
        """Let decoders decode the queue, a few images at a time, until the pool is closed."""
        self._start_one()
        while images := self._wait_for_images():
            while images:
                images = self._answer(images)

    def _answer(self, images: Sequence[_Job]) -> list[_Job]:
        """Answer at least one image, and return the other images; those for another decoder are queued again."""
        released: set[_Job] = set()

        def release(slow: int, early: Mapping[int, Decoded]) -> None:
            released.update(image for slot, image in enumerate(images) if slot != slow)
            for slot, decoded in early.items():
                images[slot].answer.set_result(decoded)
            self._queue_again([image for image in images if image in released and not image.answer.done()])

        try:
            answers = self._decode([image.task for image in images], release)
        except Exception as error:  # the caller is to hear of it, whatever it is
            for image in images:
                if image not in released:
                    image.answer.set_exception(error)
            return []
        left = []
        for image, answer in zip(images, answers, strict=True):
            if image in released:
                continue
            if answer is None:
                left.append(image)
            else:
                image.answer.set_result(answer)
        return left

    def _queue_again(self, images: Sequence[_Job]) -> None:
        with self._arrival:
            if not self._closed:
                self._queue.extendleft(reversed(images))
                self._arrival.notify()
                return
        for image in images:
            image.answer.set_exception(CancelledError())

    def _wait_for_images(self) -> list[_Job]:
        """Block until there are images, and take those that a decoder is given at once; none means that it is all over.

        They are several where many are queued, and take little time.
        """
        images: list[_Job] = []
        with self._arrival:
            while not (images or self._closed):
                self._arrival.wait_for(lambda: self._closed or self._queue)
                images = self._pop_images()
        return images

    def _pop_images(self) -> list[_Job]:
        images: list[_Job] = []
        most = max(1, min(len(self._queue) // self._count, int(SECONDS_AT_ONCE / (self._pace or SECONDS_AT_ONCE))))
        characters = 0
        while self._queue and len(images) < most:
            task = self._queue[0].task
            characters += len(str(task.path))
            if not images:
                most = min(most, slots_for(task.transforms))
            elif characters > _LONGEST_PATHS or not task.goes_with(images[0].task):
                break
            image = self._queue.popleft()
            if image.answer.running() or image.answer.set_running_or_notify_cancel():
                images.append(image)
        return images

    def _decode(self, tasks: Sequence[Task], release: Release) -> list[Decoded | None]:
        """Try images; None for those that are to be tried again, since their decoder was lost over another one.

        That one is tried once more, alone: somebody else may have killed the decoder.
        """
        try:
            return self._attempt(tasks, release)
        except DecoderLost as lost:
            if self._closed:
                raise
            culprit = tasks[lost.slot]
            logger.warning(
                tr(
                    "the decoder of '{path}' was lost ({how}); trying again with another one",
                    path=str(culprit.path),
                    how=lost.how,
                )
            )
        try:
            (answer,) = self._attempt([culprit], release)
        except DecoderLost as lost:
            if self._closed:
                raise
            answer = _given_up(culprit.path, lost)
        return [answer if task is culprit else None for task in tasks]

    def _attempt(self, tasks: Sequence[Task], release: Release) -> list[Decoded | None]:
        try:
            decoder = self._acquire(size_for(tasks[0].transforms))
        except SourceUnreadable as error:
            if self._closed:
                raise
            return [Decoded(task.path, error=error) for task in tasks]
        started = time.monotonic()
        try:
            return decoder.decode(tasks, self._limits.seconds, release)
        except DecoderLost as lost:
            status = self._launcher.end(decoder.pid)
            lost.how = lost.how or _described(status)
            raise
        finally:
            self._pace = (time.monotonic() - started) / len(tasks)
            with self._lock:
                self._busy.discard(decoder)
                fit = decoder.is_fit()
                if fit:
                    self._idle.append(decoder)
            if not fit:
                self._end(decoder)

    def _begin(self, size: int) -> Decoder:
        """Start a decoder. Raises `SourceUnreadable` where the machine has no room for one."""
        memory = self._limits.memory
        try:
            with ExitStack() as ending, ExitStack() as failing:
                shared = shared_crops.create(size)
                ending.callback(os.close, shared)
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ending.callback(theirs.close)
                failing.callback(ours.close)
                buffer = CropBuffer(shared)
                failing.callback(buffer.close)
                decoder = Decoder(self._launcher.begin(memory, theirs.fileno(), shared), ours, buffer, memory)
                failing.pop_all()
                return decoder
        except OSError as error:
            raise SourceUnreadable(tr("No decoder can be started: {error}.", error=error.strerror or error)) from error

    def _end(self, decoder: Decoder) -> None:
        self._launcher.end(decoder.pid)
        decoder.close()

    def _acquire(self, size: int) -> Decoder:
        """Take the decoder that was used last, or start one if all are busy."""
        while (decoder := self._idle_one()) is not None:
            if self._launcher.has(decoder.pid) and decoder.is_ready(self._limits.memory, size):
                return decoder
            with self._lock:
                self._busy.discard(decoder)
            self._end(decoder)
        decoder = self._begin(size)
        with self._lock:
            self._mark_busy(decoder)
        return decoder

    def _idle_one(self) -> Decoder | None:
        """Take the idle decoder that was used last, if there is one."""
        with self._lock:
            if not self._idle:
                return None
            decoder = self._idle.pop()
            self._mark_busy(decoder)
        return decoder

    def _mark_busy(self, decoder: Decoder) -> None:
        self._busy.add(decoder)
        if self._closed:
            decoder.channel.shut()


def _given_up(path: Path, lost: DecoderLost) -> Decoded:
    if lost.source is None:
        return Decoded(
            path,
            error=SourceUnreadable(tr("The decoder was lost while it read '{path}': {how}.", path=path, how=lost.how)),
        )
    error = ImageError("crashed-decoder", tr("It crashed two decoders (the second: {how}).", how=lost.how))
    return Decoded(path, lost.source, error=error)


def _described(status: int | None) -> str:
    if status is None:
        return tr("it vanished")
    if status < 0:
        return tr("killed by {signal}", signal=_signal_name(-status))
    return tr("exit code {code}", code=status)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one
