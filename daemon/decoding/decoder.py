"""Daemon's side of one decoder process (`daemon.decoding.forkserver`), whose answers are not trusted."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon.decoding.channel import Channel
from daemon.decoding.shared_crops import CropBuffer, SlotState
from daemon.files.source import Identity, NotAFile, Source, SourceChanged, SourceError, SourceGone, SourceUnreadable
from models.decoding.images import Crop, Transform
from models.errors import REASONS, ImageError
from models.text.language import tr

#: A decoder makes room for a new one after so many files, or when it has grown to so many bytes.
MOST_FILES = 10_000
MOST_RESIDENT = 128 << 20
#: Seconds in which a file must have been read: long, since slow storage is not the image's fault.
READING_SECONDS = 600.0
#: Seconds of one turn of waiting, after which the decoder's progress is checked. Time is counted in turns, not by the
#: clock: a daemon that was itself stopped for an hour counts one turn, and does not blame the image.
TURN_SECONDS = 0.25
#: Turns that an image may take until the other images of the request go to another decoder.
TURNS_TOGETHER = 4

_ERRORS = {error.__name__: error for error in (SourceGone, SourceChanged, NotAFile, SourceUnreadable)}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Decoded:
    """One decoded image: which file it is and a crop for each transform, or an error.

    With an `ImageError` the source is known; with a `SourceError` it is not.
    ``has_end`` is False where the picture is whole, but its file lacks its end: a program may still be writing it.
    Where the task measures it, ``size``: width and height of the upright image, and ``taken``: the time of its EXIF
    data, with its zone if that is known.
    """

    path: Path
    source: Source | None = None
    crops: list[Crop] | None = None
    error: ImageError | SourceError | None = None
    has_end: bool = True
    size: tuple[int, int] | None = None
    taken: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A request to decode one image; larger files and larger pictures are refused.

    ``root``: the inbox, below which no folder may be a symbolic link; None: none in the whole path may be.
    ``measures``: the size of the image is wanted, too, and when it was taken.
    """

    path: Path
    transforms: Sequence[Transform]
    max_bytes: int
    max_pixels: int
    root: str | None = None
    measures: bool = False

    def goes_with(self, other: Task) -> bool:
        """Whether both images can be decoded by one request."""
        terms = self.transforms, self.max_bytes, self.max_pixels
        # Of crops that are used before the answer comes, nobody knows the size.
        return terms == (other.transforms, other.max_bytes, other.max_pixels) and not (self.measures or other.measures)


#: Called once for a request, with the slot of an image that takes long and the images decoded before it, by slot.
Release = Callable[[int, Mapping[int, Decoded]], None]


class DecoderLost(Exception):
    """A decoder ended, or sent an invalid answer, while it decoded the image in this ``slot``.

    ``source`` is that image, if it was read by then.
    """

    def __init__(self, slot: int, source: Source | None, how: str = "") -> None:
        super().__init__(slot, source, how)
        self.slot = slot
        self.source = source
        self.how = how


class _Overdue(Exception):
    """The image in this ``slot`` takes too long: to decode if it ``is_read``, else to read."""

    def __init__(self, slot: int, is_read: bool) -> None:
        super().__init__(slot, is_read)
        self.slot = slot
        self.is_read = is_read


class Decoder:
    """Daemon's side of one decoder."""

    def __init__(self, pid: int, connection: socket.socket, buffer: CropBuffer, memory: int) -> None:
        self.pid = pid
        self.channel = Channel(connection, TURN_SECONDS)
        self._buffer = buffer
        self._memory = memory
        self._files = 0
        self._resident: float = 0

    def is_ready(self, memory: int, size: int) -> bool:
        """Whether the process is alive, silent, and has this memory limit and a buffer of ``size`` bytes."""
        return self._memory == memory and self._buffer.size >= size and self.channel.is_idle()

    def is_fit(self) -> bool:
        """Whether it may decode more: its last request ended well, and it is neither too old nor too large."""
        return self._files < MOST_FILES and self._resident < MOST_RESIDENT

    def decode(self, tasks: Sequence[Task], seconds: float, release: Release = lambda *_: None) -> list[Decoded | None]:
        """Decode images that fit into one request.

        If one exceeds the limit, it gets a timeout and all others None: try them again. If one is merely slow, the
        others are handed back by ``release``, and are None here. Raises `DecoderLost`; then, and after a timeout, this
        decoder cannot be used again.
        """
        self._resident = math.inf  # until the answer says otherwise, it is not fit
        try:
            self._buffer.clear()
            self.channel.send(_request(tasks))
            answer, only_slot = self._answer(tasks, seconds, release)
            if only_slot is None and len(answer["answers"]) != len(tasks):
                raise ValueError("answers of other images")
            decoded: list[Decoded | None] = [None] * len(tasks)
            for slot in range(len(tasks)) if only_slot is None else [only_slot]:
                decoded[slot] = self._decoded(slot, tasks[slot], answer["answers"][slot])
            self._resident = _number(answer["resident"])
        except _Overdue as overdue:
            path = tasks[overdue.slot].path
            slow = _too_slow(path, self._source(overdue.slot, path) if overdue.is_read else None, seconds)
            return [slow if slot == overdue.slot else None for slot in range(len(tasks))]
        except OSError as error:
            raise DecoderLost(*self._current_image(tasks)) from error
        except (ValueError, TypeError, LookupError) as error:
            raise DecoderLost(*self._current_image(tasks), tr("it sent an invalid answer")) from error
        self._files += len(tasks)
        return decoded

    def _answer(self, tasks: Sequence[Task], seconds: float, release: Release) -> tuple[dict[str, Any], int | None]:
        """Receive the answer, and the slot that it is about where all other images were released, else None.

        Raises `_Overdue` for an image that takes too long to read or to decode. The decoder goes on meanwhile, and may
        have come to the next image by then.
        """
        seconds_left, turns, progress, only_slot = READING_SECONDS, 0, (0, False), None
        while seconds_left > 0:
            with suppress(TimeoutError):
                return self.channel.receive(), only_slot
            slot = self._current_slot(tasks)
            is_read = self._buffer.has_source(slot)
            if (slot, is_read) > progress:
                seconds_left, turns, progress = (seconds if is_read else READING_SECONDS), 0, (slot, is_read)
            else:
                seconds_left, turns = seconds_left - TURN_SECONDS, turns + 1
            if turns >= TURNS_TOGETHER and seconds_left > 0 and only_slot is None and len(tasks) > 1:
                only_slot = slot
                self._buffer.cancel_unstarted()
                release(slot, self._finished_before(slot, tasks))
        raise _Overdue(*progress)

    def _finished_before(self, end: int, tasks: Sequence[Task]) -> dict[int, Decoded]:
        """Return the images decoded with crops in the slots before ``end``, by slot."""
        finished = {}
        for slot, task in enumerate(tasks[:end]):
            state, source = self._buffer.slot_state(slot), self._source(slot, task.path)
            if state in (SlotState.CROPS, SlotState.CROPS_WITHOUT_END) and source is not None:
                crops = self._buffer.crops(slot, task.transforms)
                finished[slot] = Decoded(task.path, source, crops, has_end=state == SlotState.CROPS)
        return finished

    def _current_image(self, tasks: Sequence[Task]) -> tuple[int, Source | None]:
        """Return the slot of the image that is being decoded, and which file that is, once it was read."""
        slot = self._current_slot(tasks)
        return slot, self._source(slot, tasks[slot].path)

    def _current_slot(self, tasks: Sequence[Task]) -> int:
        return min(self._buffer.finished_count(), len(tasks) - 1)

    def _decoded(self, slot: int, task: Task, answer: dict[str, Any]) -> Decoded:
        if "error" in answer:
            return Decoded(task.path, error=_ERRORS[answer["error"]](_sentence(answer)))
        source = self._source(slot, task.path)
        if source is None:
            raise ValueError("pixels of no file")
        if "reason" in answer:
            reason = answer["reason"]
            if reason not in REASONS:  # it becomes the name of a folder
                raise ValueError(f"no reason: {reason!r}")
            return Decoded(task.path, source, error=ImageError(reason, _sentence(answer)))
        size, taken = (_size(answer["size"]), _time(answer["taken"])) if task.measures else (None, None)
        crops = self._buffer.crops(slot, task.transforms)
        return Decoded(task.path, source, crops, has_end="end" not in answer, size=size, taken=taken)

    def _source(self, slot: int, path: Path) -> Source | None:
        """Read which file the decoder has read; None where it has not said so yet, or not validly."""
        try:
            source = self._buffer.source(slot)
            if source is None:
                return None
            identity, sha256 = Identity(*map(_number, source["identity"])), source["sha256"]
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
        "measures": tasks[0].measures,
    }


def _sentence(answer: dict[str, str]) -> str:
    """Return the message of an answer, if it is printable: one line of a log, without terminal control characters."""
    message = answer["message"]
    if not isinstance(message, str) or not message.isprintable():
        raise ValueError("no sentence")
    return message


def _size(value: object) -> tuple[int, int]:
    if not isinstance(value, list):
        raise ValueError("no size")
    width, height = map(_number, value)
    if not (0 < width < 1 << 20 and 0 < height < 1 << 20):
        raise ValueError("no size of an image")
    return width, height


def _time(value: object) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))


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
