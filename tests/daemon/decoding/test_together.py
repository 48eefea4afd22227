"""Images that a decoder is given at once: each gets its own answer, and one of them alone pays for what it does."""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.decoding import decoder as client
from daemon.decoding import pool as module
from daemon.decoding.decoder import Decoded, Decoder, Task
from daemon.decoding.pool import DecoderPool, Limits
from daemon.files.source import Identity, SourceGone, SourceUnreadable
from models.decoding.images import decode
from tests.daemon.decoding.conftest import LIMITS, TRANSFORMS, Make, crash_two, reason, task, wait_until_at_work
from tests.pictures import save
from tests.processes import wait_for


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images decoders were given at once; as many as there is room for, however long they take."""
    given = []
    decode = client.Decoder.decode

    def recorded(decoder: client.Decoder, tasks: Sequence[Task], *more: Any) -> list[Decoded | None]:
        given.append(len(tasks))
        return decode(decoder, tasks, *more)

    monkeypatch.setattr(client.Decoder, "decode", recorded)
    monkeypatch.setattr(module, "SECONDS_AT_ONCE", 1000.0)
    return given


@contextmanager
def kept_busy(decoders: DecoderPool, picture: Path) -> Iterator[int]:
    """What is submitted meanwhile waits for the only decoder, whose number this is, and is given to it at once."""
    (pid,) = decoders.pids()[1:]
    os.kill(pid, signal.SIGSTOP)
    first = decoders.submit(task(picture))
    wait_for(first.running, "the decoder has an image")
    yield pid
    os.kill(pid, signal.SIGCONT)
    assert first.result().crops is not None


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return [save("discs", seed, tmp_path / f"{seed}.png") for seed in range(6)]


def check(path: Path, decoded: Decoded) -> None:
    """The image is decoded, and no other one in its place."""
    assert decoded.source is not None, decoded
    assert decoded.source.identity == Identity.from_stat(path.stat())
    assert decoded.crops is not None
    with path.open("rb") as file:
        for ours, theirs in zip(decode(file, TRANSFORMS), decoded.crops, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_each_gets_its_own_answer(make: Make, pictures: list[Path], picture: Path, sizes: list[int]) -> None:
    empty = picture.with_name("empty.jpg")
    empty.touch()
    decoders = make()
    with kept_busy(decoders, picture):
        paths = [pictures[0], empty, picture.with_name("gone.jpg"), *pictures[1:]]
        futures = [decoders.submit(task(path)) for path in paths]
    first, without_pixels, gone, *others = (future.result() for future in futures)
    assert sizes == [1, 8]
    assert reason(without_pixels) == "empty"
    assert type(gone.error) is SourceGone
    for path, decoded in zip(pictures, [first, *others], strict=True):
        check(path, decoded)


def test_what_waits_is_shared_out_among_the_decoders(make: Make, pictures: list[Path], sizes: list[int]) -> None:
    decoders = make(2)
    pids = decoders.pids()[1:]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    blocking = [decoders.submit(task(path)) for path in pictures[:2]]
    wait_for(lambda: all(future.running() for future in blocking), "both decoders have an image")
    futures = [decoders.submit(task(path)) for path in pictures]
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    for path, future in zip(pictures, futures, strict=True):
        check(path, future.result())
    assert sizes[:3] == [1, 1, 3]
    assert max(sizes) == 3


def test_images_that_take_long_go_one_by_one(
    make: Make, pictures: list[Path], picture: Path, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_AT_ONCE", 1e-9)
    decoders = make()
    with kept_busy(decoders, picture):
        futures = [decoders.submit(task(path)) for path in pictures]
    assert all(future.result().crops is not None for future in futures)
    assert sizes == [1] * 7


def test_only_images_go_together_of_which_the_same_is_wanted(
    make: Make, pictures: list[Path], picture: Path, sizes: list[int]
) -> None:
    decoders = make()
    with kept_busy(decoders, picture):
        futures = [
            decoders.submit(task(path, max_bytes=each)) for path, each in zip(pictures, [9, 9, 10**6] * 2, strict=True)
        ]
    assert [future.result().crops is None for future in futures] == [True, True, False] * 2
    assert sizes == [1, 2, 1, 2, 1]


def test_what_was_cancelled_is_passed_over(make: Make, pictures: list[Path], picture: Path, sizes: list[int]) -> None:
    decoders = make()
    with kept_busy(decoders, picture):
        futures = [decoders.submit(task(path)) for path in pictures]
        assert all(future.cancel() for future in futures)
        last = decoders.submit(task(picture))
    check(picture, last.result())
    assert sizes == [1, 1]
    with kept_busy(decoders, picture):
        assert decoders.submit(task(picture)).cancel()
    check(picture, decoders.submit(task(picture)).result())


def test_paths_of_any_length(make: Make, picture: Path, sizes: list[int], logged: list[str]) -> None:
    """A message of eight of them would be too long."""
    decoders = make()
    with kept_busy(decoders, picture):
        long = Path("/" + "\udcff" * 4000)
        futures = [decoders.submit(task(long)) for _ in range(4)]
        futures += [decoders.submit(task(Path("/" + "\udcff" * 1500))) for _ in range(4)]
    assert [type(future.result().error) for future in futures] == [SourceUnreadable] * 8
    assert sizes == [1, 1, 1, 1, 1, 2, 2]
    assert logged == []


def at_its_place(decoders: DecoderPool, pictures: list[Path], slow: Path) -> list[Future[Decoded]]:
    """Two images before the slow one, and four behind it."""
    paths = [*pictures[:2], slow, *pictures[2:]]
    return [decoders.submit(task(path)) for path in paths]


def check_only_one_paid(futures: list[Future[Decoded]], pictures: list[Path], slow: Path, why: str) -> None:
    """The slow image, which is known, has no crops for this reason; the others have theirs."""
    culprit = futures.pop(2).result()
    assert reason(culprit) == why
    assert culprit.source is not None
    assert culprit.source.identity == Identity.from_stat(slow.stat())
    for path, future in zip(pictures, futures, strict=True):
        check(path, future.result())


def test_a_lost_decoder_costs_nothing(make: Make, pictures: list[Path], picture: Path, slow: Path) -> None:
    decoders = make()
    with kept_busy(decoders, picture) as pid:
        futures = at_its_place(decoders, pictures, slow)
    wait_until_at_work(pid)
    os.kill(pid, signal.SIGKILL)
    paths = [*pictures[:2], slow, *pictures[2:]]
    for path, future in zip(paths, futures, strict=True):
        check(path, future.result())


def test_a_crasher_is_found_among_the_others(
    make: Make, pictures: list[Path], picture: Path, slow: Path, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TURNS_TOGETHER", math.inf)
    decoders = make()
    with kept_busy(decoders, picture):
        futures = at_its_place(decoders, pictures, slow)
    crash_two(decoders)
    check_only_one_paid(futures, pictures, slow, "crashed-decoder")
    assert sizes == [1, 7, 1, 6]


def test_one_that_hangs_is_found_among_the_others(
    make: Make,
    pictures: list[Path],
    picture: Path,
    slow: Path,
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "TURNS_TOGETHER", math.inf)
    decoders = make(limits=Limits(memory=1 << 30, seconds=5))
    with kept_busy(decoders, picture) as pid:
        futures = at_its_place(decoders, pictures, slow)
    wait_until_at_work(pid)
    os.kill(pid, signal.SIGSTOP)
    check_only_one_paid(futures, pictures, slow, "timeout")
    assert sizes == [1, 7, 6]


def test_nobody_waits_for_one_that_hangs(
    make: Make, pictures: list[Path], picture: Path, slow: Path, sizes: list[int]
) -> None:
    """What its decoder has done already is there, and what it has not begun goes to the other decoder."""
    decoders = make(2, Limits(memory=1 << 30, seconds=600))
    pids = decoders.pids()[1:]
    hanging, other = pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    blocking = [decoders.submit(task(picture)) for _ in pids]
    wait_for(lambda: all(future.running() for future in blocking), "both decoders have an image")
    paths = [*pictures[:2], slow, *pictures[2:], *[picture] * 7]
    futures = [decoders.submit(task(path)) for path in paths]
    os.kill(hanging, signal.SIGCONT)
    wait_until_at_work(hanging)
    os.kill(hanging, signal.SIGSTOP)
    wait_for(lambda: all(future.done() for future in futures[:2]), "what was decoded before is there")
    os.kill(other, signal.SIGCONT)
    for place, future in enumerate(futures):
        if place != 2:
            check(paths[place], future.result(300))
    assert not futures[2].done()
    os.kill(hanging, signal.SIGCONT)
    check(slow, futures[2].result(300))
    assert decoders.pids()[1:].count(hanging) == 1, "it is as good as before"
    assert sizes[2] == 7


def test_each_image_has_time_of_its_own(
    make: Make, slow: Path, picture: Path, tmp_path: Path, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight that take most of the time that one may take."""
    monkeypatch.setattr(client, "TURNS_TOGETHER", math.inf)
    paths = [Path(shutil.copy(slow, tmp_path / f"slow-{number}.png")) for number in range(8)]
    decoders = make()
    alone = []
    for _ in range(3):
        started = os.times().elapsed
        assert decoders.submit(task(slow)).result().crops is not None
        alone.append(os.times().elapsed - started)
    decoders.adopt(Limits(memory=LIMITS.memory, seconds=6 * max(alone)))
    with kept_busy(decoders, picture):
        futures = [decoders.submit(task(path)) for path in paths]
    assert [future.result().error for future in futures] == [None] * 8
    assert sizes == [1, 1, 1, 1, 8]


def test_an_error_of_ours_is_told_to_whoever_waits(make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = make()
    with monkeypatch.context() as broken:
        broken.setattr(Decoder, "decode", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            decoders.submit(task(picture)).result(30)
    check(picture, decoders.submit(task(picture)).result(30))


def test_nothing_is_decoded_once_they_are_closed(make: Make, picture: Path) -> None:
    decoders = make()
    decoders.close()
    assert decoders.submit(task(picture)).cancelled()
