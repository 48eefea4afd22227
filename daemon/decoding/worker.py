"""The daemon's side of one decoder, a process of its own (`daemon.decoding.forkserver`): ask, and believe little."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.decoding.channel import Channel
from daemon.decoding.shared_crops import CropBuffer, SlotState
from daemon.files.source import Identity, NotAFile, Source, SourceChanged, SourceError, SourceGone, SourceUnreadable
from models.errors import REASONS, ImageError
from models.images import Crop, Transform
from models.text.language import tr

#: A decoder makes room for a new one after so many files, or when it has grown to so many bytes.
MOST_FILES = 10_000
MOST_RESIDENT = 128 << 20
#: Seconds in which a file must have been read; slow storage is no fault of the image's.
READING_SECONDS = 600.0
#: Seconds of one turn, after which the decoder is looked at. Turns are counted, not the clock: a daemon that was itself
#: stopped for an hour counts one, and does not blame the image.
TURN_SECONDS = 0.25
#: Turns that an image may take until those that came with it go to another decoder.
TURNS_TOGETHER = 4

_TROUBLES = {error.__name__: error for error in (SourceGone, SourceChanged, NotAFile, SourceUnreadable)}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Decoded:
    """One image: which file it is and a crop for each transform, or the error that says why not.

    With an `ImageError` the source is known all the same; with a `SourceError` it is not. The bytes are not here.
    ``ended`` is False where the picture is whole, but the end of its file is not there: it may still be written.
    """

    path: Path
    source: Source | None = None
    crops: list[Crop] | None = None
    error: ImageError | SourceError | None = None
    ended: bool = True


@dataclass(frozen=True, kw_only=True)
class Task:
    """A request to decode one image; larger files and larger pictures are refused.

    ``root``: the inbox, below which no folder may be a symbolic link; None: none in the whole path may be.
    """

    path: Path
    transforms: Sequence[Transform]
    max_bytes: int
    max_pixels: int
    root: str | None = None

    def goes_with(self, other: Task) -> bool:
        """Whether both images can be decoded by one request."""
        terms = self.transforms, self.max_bytes, self.max_pixels
        return terms == (other.transforms, other.max_bytes, other.max_pixels)


#: Called once, with the slot of an image that takes long, and what became of others by their slots.
Release = Callable[[int, Mapping[int, Decoded]], None]


class DecoderLost(Exception):
    """A decoder ended, or spoke nonsense, over the image in this ``slot`` of those it had.

    ``source`` says which file that is, once it was read.
    """

    def __init__(self, slot: int, source: Source | None, how: str = "") -> None:
        super().__init__(slot, source, how)
        self.slot = slot
        self.source = source
        self.how = how


class _Overdue(Exception):
    """The image in this ``slot`` takes too long, to decode where it ``is_read``, else to read."""

    def __init__(self, slot: int, is_read: bool) -> None:
        super().__init__(slot, is_read)
        self.slot = slot
        self.is_read = is_read


class Decoder:
    """The daemon's side of one decoder."""

    def __init__(self, pid: int, connection: socket.socket, buffer: CropBuffer, memory: int) -> None:
        self.pid = pid
        self.channel = Channel(connection, TURN_SECONDS)
        self._buffer = buffer
        self._memory = memory
        self._files = 0
        self._resident: float = 0

    def is_ready(self, memory: int, size: int) -> bool:
        """Whether it is alive, silent, limited to so many bytes, and has a buffer of as many as ``size``."""
        return self._memory == memory and self._buffer.size >= size and self.channel.is_silent()

    def is_fit(self) -> bool:
        """Whether the process is alive, and has neither decoded too many images nor grown too large."""
        return self._files < MOST_FILES and self._resident < MOST_RESIDENT

    def decode(self, tasks: Sequence[Task], seconds: float, release: Release = lambda *_: None) -> list[Decoded | None]:
        """Have images decoded that go with each other. Where one takes too long, there is None for all others.

        Where one takes long, ``release`` is called: of all others nothing more is to be expected, and there is None.
        Raises `DecoderLost`; then, and after a timeout, it is fit for nothing more.
        """
        self._resident = math.inf
        try:
            self._buffer.clear()
            self.channel.send(_request(tasks))
            answer, alone = self._answer(tasks, seconds, release)
            if alone is None and len(answer["answers"]) != len(tasks):
                raise ValueError("answers of other images")
            decoded: list[Decoded | None] = [None] * len(tasks)
            for slot in range(len(tasks)) if alone is None else [alone]:
                decoded[slot] = self._decoded(slot, tasks[slot], answer["answers"][slot])
            self._resident = _number(answer["resident"])
        except _Overdue as overdue:
            path = tasks[overdue.slot].path
            slow = _too_slow(path, self._source(overdue.slot, path) if overdue.is_read else None, seconds)
            return [slow if slot == overdue.slot else None for slot in range(len(tasks))]
        except OSError as error:
            raise DecoderLost(*self._at_work(tasks)) from error
        except (ValueError, TypeError, LookupError) as error:
            raise DecoderLost(*self._at_work(tasks), tr("it sent an invalid answer")) from error
        self._files += len(tasks)
        return decoded

    def _answer(self, tasks: Sequence[Task], seconds: float, release: Release) -> tuple[dict[str, Any], int | None]:
        """Receive the answer; raises `_Overdue` where reading, or then decoding, takes too long of one image.

        That one is named although the decoder goes on meanwhile, and may be at the next one already.
        Also returns which one alone the answer is about, where all the others were released.
        """
        left, turns, seen, alone = READING_SECONDS, 0, (0, False), None
        while left > 0:
            with suppress(TimeoutError):
                return self.channel.receive(), alone
            slot = self._slot_at_work(tasks)
            now = slot, self._buffer.has_note(slot)
            if now > seen:
                left, turns, seen = (seconds if now[1] else READING_SECONDS), 0, now
            else:
                left, turns = left - TURN_SECONDS, turns + 1
            if turns >= TURNS_TOGETHER and left > 0 and alone is None and len(tasks) > 1:
                alone = slot
                self._buffer.cut()
                release(slot, self._early(slot, tasks))
        raise _Overdue(*seen)

    def _early(self, end: int, tasks: Sequence[Task]) -> dict[int, Decoded]:
        """The images in the slots before this one that are decoded, by their slots."""
        early = {}
        for slot, task in enumerate(tasks[:end]):
            how, source = self._buffer.finish_of(slot), self._source(slot, task.path)
            if how in (SlotState.CROPS, SlotState.CROPS_WITHOUT_END) and source is not None:
                crops = self._buffer.crops(slot, task.transforms)
                early[slot] = Decoded(task.path, source, crops, ended=how == SlotState.CROPS)
        return early

    def _at_work(self, tasks: Sequence[Task]) -> tuple[int, Source | None]:
        """The slot of the image that is being decoded, and which file that is, once it was read."""
        slot = self._slot_at_work(tasks)
        return slot, self._source(slot, tasks[slot].path)

    def _slot_at_work(self, tasks: Sequence[Task]) -> int:
        return min(self._buffer.finished(), len(tasks) - 1)

    def _decoded(self, slot: int, task: Task, answer: dict[str, Any]) -> Decoded:
        if "trouble" in answer:
            return Decoded(task.path, error=_TROUBLES[answer["trouble"]](_sentence(answer)))
        source = self._source(slot, task.path)
        if source is None:
            raise ValueError("pixels of no file")
        if "reason" in answer:
            reason = answer["reason"]
            if reason not in REASONS:  # it becomes the name of a folder
                raise ValueError(f"no reason: {reason!r}")
            return Decoded(task.path, source, error=ImageError(reason, _sentence(answer)))
        return Decoded(task.path, source, self._buffer.crops(slot, task.transforms), ended="end" not in answer)

    def _source(self, slot: int, path: Path) -> Source | None:
        """What was read, as the decoder has noted; None where it has not come so far, or noted nonsense."""
        try:
            note = self._buffer.note(slot)
            if note is None:
                return None
            identity, sha256 = Identity(*map(_number, note["identity"])), note["sha256"]
            if sha256 is not None and not _DIGEST.fullmatch(sha256):
                return None
        except (ValueError, TypeError, KeyError):
            return None
        return Source(path, identity, sha256)

    def close(self) -> None:
        """Close the channel and the shared memory."""
        self.channel.close()
        self._buffer.close()


def _request(tasks: Sequence[Task]) -> dict[str, object]:
    return {
        "paths": [str(task.path) for task in tasks],
        "roots": [*{task.root for task in tasks if task.root is not None}],
        "transforms": [*map(vars, tasks[0].transforms)],
        "max_bytes": tasks[0].max_bytes,
        "max_pixels": tasks[0].max_pixels,
    }


def _sentence(answer: dict[str, str]) -> str:
    """Its message: names in it are quoted, so that it is one line of a log, and says nothing to a terminal."""
    message = answer["message"]
    if not isinstance(message, str) or not message.isprintable():
        raise ValueError("no sentence")
    return message


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("no number")
    return value


def _too_slow(path: Path, source: Source | None, seconds: float) -> Decoded:
    if source is None:
        return Decoded(
            path,
            error=SourceUnreadable(
                tr("'{path}' could not be read within {seconds:g} seconds.", path=path, seconds=READING_SECONDS)
            ),
        )
    return Decoded(
        path, source, error=ImageError("timeout", tr("Decoding took longer than {seconds:g} seconds.", seconds=seconds))
    )
