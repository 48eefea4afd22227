"""Decoding hostile images at arm's length: a few child processes under limits, each of which one file may cost.

Separate processes, since a decoder written in C may crash, hang or eat the memory. They are not forked from the
daemon, whose threads of ONNX Runtime may hold any lock, but from a small process that never had a thread
(`daemon.decoder`); multiprocessing's forkserver is such a process too, but takes the answers out of a pickle, which
would let a decoder that was taken over take over the daemon. One thread of ours waits for each decoder; it enforces
the deadline. Crops come through memory that is shared (`daemon.cropbuffer`): of a picture of 150 px and 1.1 ms of
decoding, all of that takes 0.2 ms.
"""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from daemon import cropbuffer
from daemon.cropbuffer import CropBuffer, size_for
from daemon.frames import Channel
from daemon.nursery import Nursery
from daemon.source import Identity, NotAFile, Source, SourceChanged, SourceError, SourceGone, SourceUnreadable
from models.errors import REASONS, ImageError
from models.images import Crop, Transform

# A decoder makes room for a new one after so many files, or when it has grown to so many bytes.
_MOST_FILES = 10_000
_MOST_RESIDENT = 128 << 20
# Seconds in which a file must have been read; slow storage is no fault of the image's.
_READING = 600.0
# Seconds of one turn of waiting. Turns are counted, not the clock: a daemon that was itself stopped for an hour has
# waited one turn, and does not blame the image.
_TURN = 0.25

_TROUBLES = {error.__name__: error for error in (SourceGone, SourceChanged, NotAFile, SourceUnreadable)}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one image may cost a decoder: bytes of memory, and seconds once it is read."""

    memory: int = 2 << 30
    seconds: float = 60.0


@dataclass(frozen=True)
class Decoded:
    """One image: which file it is and a crop for each transform, or the error that says why not.

    With an `ImageError` the source is known all the same; with a `SourceError` it is not. The bytes are not here.
    """

    path: Path
    source: Source | None = None
    crops: list[Crop] | None = None
    error: ImageError | SourceError | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to do with one image; larger files and larger pictures are not decoded."""

    path: Path
    transforms: Sequence[Transform]
    max_bytes: int
    max_pixels: int


class DecoderLost(Exception):
    """A decoder ended, or spoke nonsense, while it had an image; ``source`` says which, once it was read."""

    def __init__(self, source: Source | None, how: str = "") -> None:
        super().__init__(source, how)
        self.source = source
        self.how = how


class Decoders:
    """``count`` decoders, each decoding one image at a time. They start at once, and in the background."""

    def __init__(self, count: int, limits: Limits, nursery: Nursery | None = None) -> None:
        """``nursery``: one that was started before; it is closed with the decoders."""
        self._limits = limits
        self._nursery = nursery or Nursery()
        self._lock = threading.Lock()
        self._idle: list[Decoder] = []
        self._busy: set[Decoder] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="decode")
        for _ in range(count):
            self._threads.submit(self._warm)

    def adopt(self, limits: Limits) -> None:
        """Hold images to other limits from now on; what is being decoded keeps its own."""
        self._limits = limits

    def submit(self, task: Task) -> Future[Decoded]:
        """Have an image decoded. What is wrong with the image is in the answer, never raised."""
        return self._threads.submit(self._decode, task)

    def close(self) -> None:
        """End the decoders, whatever they are at. Images without an answer get none."""
        with self._lock:
            self._closed = True
            for decoder in self._busy:
                decoder.channel.shut()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for decoder in self._idle:
            decoder.close()
        self._nursery.close()

    def pids(self) -> list[int]:
        """The processes at the moment; the first is the one that the decoders are forked from."""
        with self._lock:
            return [self._nursery.pid, *(decoder.pid for decoder in (*self._idle, *self._busy))]

    def _warm(self) -> None:
        try:
            decoder = self._begin(size_for(()))
        except SourceUnreadable as error:
            logger.warning("{}", error)
        else:
            with self._lock:
                self._idle.append(decoder)

    def _decode(self, task: Task) -> Decoded:
        """Try an image, and once more where its decoder is lost: somebody else may have killed that one."""
        try:
            return self._attempt(task)
        except DecoderLost as lost:
            if self._closed:
                raise
            logger.warning("the decoder of {!r} was lost ({}); another one tries", str(task.path), lost.how)
        try:
            return self._attempt(task)
        except DecoderLost as lost:
            return _given_up(task.path, lost)

    def _attempt(self, task: Task) -> Decoded:
        try:
            decoder = self._take(size_for(task.transforms))
        except SourceUnreadable as error:
            return Decoded(task.path, error=error)
        try:
            return decoder.decode(task, self._limits.seconds)
        except DecoderLost as lost:
            status = self._nursery.end(decoder.pid)
            lost.how = lost.how or _described(status)
            raise
        finally:
            with self._lock:
                self._busy.discard(decoder)
                fit = decoder.is_fit()
                if fit:
                    self._idle.append(decoder)
            if not fit:
                self._end(decoder)

    def _begin(self, size: int) -> Decoder:
        """A new decoder. Raises `SourceUnreadable` where the machine has no room for one."""
        memory = self._limits.memory
        try:
            with ExitStack() as ending, ExitStack() as failing:
                shared = cropbuffer.create(size)
                ending.callback(os.close, shared)
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ending.callback(theirs.close)
                failing.callback(ours.close)
                buffer = CropBuffer(shared)
                failing.callback(buffer.close)
                decoder = Decoder(self._nursery.begin(memory, theirs.fileno(), shared), ours, buffer, memory)
                failing.pop_all()
                return decoder
        except OSError as error:
            raise SourceUnreadable(f"No decoder can be started: {error.strerror or error}.") from error

    def _end(self, decoder: Decoder) -> None:
        self._nursery.end(decoder.pid)
        decoder.close()

    def _take(self, size: int) -> Decoder:
        """A decoder for one image, the one that was busy last; a new one where none is left."""
        with self._lock:
            decoder = self._idle.pop() if self._idle else None
        if decoder is not None and not decoder.is_ready(self._limits.memory, size):
            self._end(decoder)
            return self._take(size)
        if decoder is None:
            decoder = self._begin(size)
        with self._lock:
            self._busy.add(decoder)
            if self._closed:
                decoder.channel.shut()
        return decoder


class Decoder:
    """The daemon's side of one decoder."""

    def __init__(self, pid: int, connection: socket.socket, buffer: CropBuffer, memory: int) -> None:
        self.pid = pid
        self.channel = Channel(connection, _TURN)
        self._buffer = buffer
        self._memory = memory
        self._files = 0
        self._resident: float = 0

    def is_ready(self, memory: int, size: int) -> bool:
        """Whether it is alive, silent, limited to so many bytes, and has a buffer of as many as ``size``."""
        return self._memory == memory and self._buffer.size >= size and self.channel.is_silent()

    def is_fit(self) -> bool:
        """Whether it is alive, and neither old nor fat."""
        return self._files < _MOST_FILES and self._resident < _MOST_RESIDENT

    def decode(self, task: Task, seconds: float) -> Decoded:
        """Have one image decoded. Raises `DecoderLost`; then, and after a timeout, it is fit for nothing more."""
        resident, self._resident = self._resident, math.inf
        try:
            self._buffer.clear()
            self.channel.send(vars(task) | {"path": str(task.path), "transforms": [*map(vars, task.transforms)]})
            answer = self._answer(seconds)
            if "trouble" in answer:
                decoded = Decoded(task.path, error=_TROUBLES[answer["trouble"]](str(answer["message"])))
            else:
                resident = int(answer["resident"])
                decoded = self._decoded(task, answer)
        except TimeoutError:
            return _too_slow(task.path, self._source(task.path), seconds)
        except OSError as error:
            raise DecoderLost(self._source(task.path)) from error
        except (ValueError, TypeError, KeyError) as error:
            raise DecoderLost(self._source(task.path), "it spoke nonsense") from error
        self._files += 1
        self._resident = resident
        return decoded

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Wait for it; raises `TimeoutError` where reading, or then decoding, takes too long."""
        left, is_read = _READING, False
        while left > 0:
            with suppress(TimeoutError):
                return self.channel.receive()
            if not is_read and self._buffer.has_note():
                left, is_read = seconds, True
            else:
                left -= _TURN
        raise TimeoutError

    def _decoded(self, task: Task, answer: dict[str, Any]) -> Decoded:
        source = self._source(task.path)
        if source is None:
            raise ValueError("pixels of no file")
        if "reason" in answer:
            reason = answer["reason"]
            if reason not in REASONS:  # it becomes the name of a folder
                raise ValueError(f"no reason: {reason!r}")
            return Decoded(task.path, source, error=ImageError(reason, str(answer["message"])))
        return Decoded(task.path, source, self._buffer.crops(task.transforms))

    def _source(self, path: Path) -> Source | None:
        """What was read, as the decoder has noted; None where it has not come so far, or noted nonsense."""
        try:
            note = self._buffer.note()
            if note is None:
                return None
            identity, sha256 = Identity(*map(int, note["identity"])), note["sha256"]
            if sha256 is not None and not _DIGEST.fullmatch(sha256):
                return None
        except (ValueError, TypeError, KeyError):
            return None
        return Source(path, identity, sha256)

    def close(self) -> None:
        """Let go of it."""
        self.channel.close()
        self._buffer.close()


def _too_slow(path: Path, source: Source | None, seconds: float) -> Decoded:
    if source is None:
        return Decoded(path, error=SourceUnreadable(f"{str(path)!r} could not be read within {_READING:g} seconds."))
    return Decoded(path, source, error=ImageError("timeout", f"Decoding took longer than {seconds:g} seconds."))


def _given_up(path: Path, lost: DecoderLost) -> Decoded:
    if lost.source is None:
        return Decoded(path, error=SourceUnreadable(f"The decoder was lost while it read {str(path)!r}: {lost.how}."))
    error = ImageError("crashed-decoder", f"Two decoders were lost over it, the second one so: {lost.how}.")
    return Decoded(path, lost.source, error=error)


def _described(status: int | None) -> str:
    if status is None:
        return "it vanished"
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
