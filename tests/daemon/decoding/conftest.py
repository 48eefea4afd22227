"""Decoders to try, and something for them to do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.decoding.decoder import Decoded, Task
from daemon.decoding.pool import DecoderPool, Limits
from models.decoding.images import Transform
from models.errors import ImageError
from tests.pictures import save, save_slow
from tests.processes import AT_WORK, ticks, wait_for

TRANSFORMS = [
    Transform(resize=64, crop=56, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    Transform(resize=40, crop=40, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1), stretch=True),
]
LIMITS = Limits(memory=1 << 30, seconds=30)

Make = Callable[..., DecoderPool]


def task(path: Path, *, max_bytes: int = 1 << 30, max_pixels: int = 10**9) -> Task:
    return Task(path=path, transforms=TRANSFORMS, max_bytes=max_bytes, max_pixels=max_pixels)


def reason(decoded: Decoded) -> str:
    assert isinstance(decoded.error, ImageError), decoded
    return decoded.error.reason


@pytest.fixture
def make() -> Iterator[Make]:
    """``make(count, limits)`` starts decoders, and waits until they are there."""
    made: list[DecoderPool] = []

    def start(count: int = 1, limits: Limits = LIMITS) -> DecoderPool:
        decoders = DecoderPool(count, limits)
        made.append(decoders)
        wait_for(lambda: len(decoders.pids()) == count + 1, "the decoders started")
        return decoders

    yield start
    for decoders in made:
        decoders.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save("discs", 1, tmp_path / "picture.png")


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file that takes a while, and 196 MB, to decode."""
    return save_slow(tmp_path_factory.mktemp("slow") / "slow.png")


def wait_until_at_work(pid: int) -> None:
    """Return in the middle of the slow picture: reading it takes no measurable time."""
    wait_for(lambda: ticks(pid) >= AT_WORK, "the decoder works")


def crash_two(decoders: DecoderPool) -> None:
    """Crash the decoder that works, and the next one that does."""
    killed: set[int] = set()
    while len(killed) < 2:
        wait_for(
            lambda: any(ticks(pid) >= AT_WORK for pid in decoders.pids()[1:] if pid not in killed), "a decoder works"
        )
        pid = max(set(decoders.pids()[1:]) - killed, key=ticks)
        os.kill(pid, signal.SIGSEGV)
        killed.add(pid)
