"""Which image is blamed for the time: the one that was waited for, whatever its decoder does at the last moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

import pytest

from daemon.decoding import decoder as client
from daemon.decoding.decoder import Decoder
from daemon.decoding.shared_crops import CropBuffer, create, size_for
from daemon.files.source import SourceUnreadable
from tests.daemon.decoding.conftest import TRANSFORMS, reason, task

NOTE = {"identity": [1, 2, 3, 4], "sha256": "0" * 64}


class _Watched(CropBuffer):
    """Memory in which something happens right after the daemon has looked at it for the last time."""

    looks = 0
    then: Callable[[], None]

    def has_source(self, slot: int) -> bool:
        seen = super().has_source(slot)
        self.looks -= 1
        if self.looks == 0:
            self.then()
        return seen


@pytest.fixture
def buffer() -> Iterator[_Watched]:
    shared = create(size_for(TRANSFORMS))
    buffer = _Watched(shared)
    yield buffer
    buffer.close()
    os.close(shared)


@pytest.fixture
def decoder(buffer: _Watched, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    """One that never answers."""
    monkeypatch.setattr(client, "TURN_SECONDS", 0.01)
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    monkeypatch.setattr(buffer, "clear", lambda: None)  # what is there at first was written meanwhile
    decoder = Decoder(0, ours, buffer, 0)
    with theirs:
        yield decoder
    decoder.close()


def test_one_that_is_finished_too_late_is_blamed_itself(decoder: Decoder, buffer: _Watched) -> None:
    buffer.write_source(0, NOTE)
    buffer.looks, buffer.then = 2, lambda: buffer.mark_finished(0)
    late, neighbour = decoder.decode([task(Path("late.png")), task(Path("neighbour.png"))], 0.001)
    assert late is not None
    assert late.path == Path("late.png")
    assert reason(late) == "timeout"
    assert late.source is not None
    assert neighbour is None


def test_one_that_is_read_too_late_has_not_been_decoded_for_long(
    decoder: Decoder, buffer: _Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READING_SECONDS", 0.001)
    buffer.looks, buffer.then = 1, lambda: buffer.write_source(0, NOTE)
    (late,) = decoder.decode([task(Path("late.png"))], 60)
    assert late is not None
    assert type(late.error) is SourceUnreadable


def test_when_all_are_finished_nothing_more_is_waited_for_than_the_answer(decoder: Decoder, buffer: _Watched) -> None:
    """However long reading may take: there is nothing more to read."""
    for slot in range(2):
        buffer.write_source(slot, NOTE)
        buffer.mark_finished(slot)
    finished, last = decoder.decode([task(Path("finished.png")), task(Path("last.png"))], 0.001)
    assert finished is None
    assert last is not None
    assert reason(last) == "timeout"
