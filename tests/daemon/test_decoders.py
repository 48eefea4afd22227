"""Decoding in child processes: what comes back, and what a decoder that dies, hangs or bursts costs."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from typing import Any

import numpy as np
import pytest

from daemon import decoders as module
from daemon.cropbuffer import CropBuffer, create, size_for
from daemon.decoders import Decoded, Decoder, DecoderLost, Decoders, Limits, Task
from daemon.frames import Channel
from daemon.source import Identity, NotAFile, SourceChanged, SourceGone, SourceUnreadable
from models.errors import ImageError
from models.images import Transform, decode
from tests.pictures import save, save_slow
from tests.processes import AT_WORK, environment, is_alive, ticks, wait_for

TRANSFORMS = [
    Transform(resize=64, crop=56, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    Transform(resize=40, crop=40, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1), stretch=True),
]
LIMITS = Limits(memory=1 << 30, seconds=30)

Make = Callable[..., Decoders]


def task(path: Path, *, max_bytes: int = 1 << 30, max_pixels: int = 10**9) -> Task:
    return Task(path=path, transforms=TRANSFORMS, max_bytes=max_bytes, max_pixels=max_pixels)


def reason(decoded: Decoded) -> str:
    assert isinstance(decoded.error, ImageError), decoded
    return decoded.error.reason


@pytest.fixture
def make() -> Iterator[Make]:
    """``make(count, limits)`` starts decoders, and waits until they are there."""
    made: list[Decoders] = []

    def start(count: int = 1, limits: Limits = LIMITS) -> Decoders:
        decoders = Decoders(count, limits)
        made.append(decoders)
        wait_for(lambda: len(decoders.pids()) == count + 1, "the decoders started")
        return decoders

    yield start
    for decoders in made:
        decoders.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save("discs", 1, tmp_path / "picture.png")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file that takes a while, and 196 MB, to decode."""
    return save_slow(tmp_path_factory.mktemp("slow") / "slow.png")


def wait_until_at_work(pid: int) -> None:
    """Return in the middle of the slow picture: reading it takes no measurable time."""
    wait_for(lambda: ticks(pid) >= AT_WORK, "the decoder works")


def test_the_crops_are_those_of_decoding_here(make: Make, tmp_path: Path) -> None:
    names = ["a.png", "b.jpg", "c.webp", "d.gif", "e.bmp", "f.tiff", "g.avif"]
    paths = [save("discs", seed, tmp_path / name) for seed, name in enumerate(names)]
    decoders = make(2)
    for path, future in [(path, decoders.submit(task(path))) for path in paths]:
        decoded = future.result()
        assert decoded.source is not None
        assert decoded.crops is not None
        assert decoded.source.path == path
        assert decoded.source.identity == Identity.of(path.stat())
        assert decoded.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert decoded.source.content is None
        with path.open("rb") as file:
            for ours, theirs in zip(decode(file, TRANSFORMS), decoded.crops, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_what_is_wrong_with_an_image_comes_through(make: Make, picture: Path, tmp_path: Path) -> None:
    def written(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    whole = picture.read_bytes()
    decoders = make(2)
    cases = [
        ("empty", task(written("empty.jpg", b""))),
        ("not-an-image", task(written("text.jpg", b"no picture"))),
        ("truncated", task(written("cut.png", whole[:-300]))),
        ("corrupt", task(written("corrupt.png", whole[:29] + bytes(4) + whole[33:]))),
        ("too-large", task(picture, max_bytes=100)),
        ("too-large", task(picture, max_pixels=100)),
    ]
    for expected, each in cases:
        decoded = decoders.submit(each).result()
        assert reason(decoded) == expected
        assert decoded.error is not None
        assert str(decoded.error).endswith(".")
        assert decoded.source is not None
        assert decoded.source.identity == Identity.of(each.path.stat())
        assert (decoded.source.sha256 is None) == (each.max_bytes == 100)
    assert len(decoders.pids()) == 3


def test_what_cannot_be_taken_is_said_by_kind(make: Make, picture: Path, tmp_path: Path) -> None:
    folder, link, fifo = (tmp_path / name for name in ("folder.jpg", "link.jpg", "fifo.jpg"))
    folder.mkdir()
    link.symlink_to(picture)
    os.mkfifo(fifo)
    cases: list[tuple[type[Exception], Path]] = [
        (SourceGone, tmp_path / "gone.jpg"),
        (NotAFile, folder),
        (NotAFile, link),
        (NotAFile, fifo),
        (NotAFile, Path("/dev/null")),
        (SourceChanged, Path("/proc/version")),  # it has more bytes than it says
        (SourceUnreadable, tmp_path / ("x" * 300)),
    ]
    decoders = make()
    for expected, path in cases:
        assert type(decoders.submit(task(path)).result().error) is expected


def test_names_of_any_bytes(make: Make, picture: Path, tmp_path: Path) -> None:
    decoders = make()
    for name in (os.fsdecode(b"\xff\xfe.png"), "new\nline.png", "한글.png", "x" * 251 + ".png"):
        path = tmp_path / name
        shutil.copy(picture, path)
        assert decoders.submit(task(path)).result().crops is not None


def test_a_decoder_is_limited(make: Make, picture: Path) -> None:
    decoders = make()
    assert decoders.submit(task(picture)).result().crops is not None
    nursery, pid = decoders.pids()
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft_and_hard = {line[:26].strip(): line[26:].split()[:2] for line in limits[1:]}
    assert soft_and_hard["Max data size"] == [str(LIMITS.memory)] * 2
    assert soft_and_hard["Max open files"] == ["32"] * 2
    assert soft_and_hard["Max file size"] == ["0"] * 2
    assert soft_and_hard["Max core file size"] == ["0"] * 2
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"
    for process in (nursery, pid):
        assert len(list(Path(f"/proc/{process}/task").iterdir())) == 1, "threads are not safely forked"
    assert all(Path(f"/proc/{pid}/fd/{number}").readlink() == Path(os.devnull) for number in (0, 1, 2))


def test_a_file_that_needs_too_much_memory_is_too_large(make: Make, slow: Path, picture: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.jpg"
    sparse.write_bytes(b"\xff\xd8\xff")
    os.truncate(sparse, 300 << 20)
    decoders = make(limits=Limits(memory=200 << 20, seconds=30))
    for path, is_read in [(slow, True), (sparse, False)]:
        decoded = decoders.submit(task(path)).result()
        assert reason(decoded) == "too-large"
        assert decoded.source is not None
        assert (decoded.source.sha256 is not None) == is_read
        assert decoders.submit(task(picture)).result().crops is not None


def test_a_decoder_that_hangs_costs_one_file(make: Make, slow: Path, picture: Path) -> None:
    decoders = make(2, Limits(memory=1 << 30, seconds=1))
    before = set(decoders.pids())
    hanging = decoders.submit(task(slow))
    wait_for(lambda: any(ticks(pid) >= AT_WORK for pid in decoders.pids()[1:]), "a decoder works")
    stopped = max(decoders.pids()[1:], key=ticks)
    os.kill(stopped, signal.SIGSTOP)
    neighbours = [decoders.submit(task(picture)) for _ in range(8)]
    assert all(neighbour.result().crops is not None for neighbour in neighbours)
    decoded = hanging.result()
    assert reason(decoded) == "timeout"
    assert decoded.source is not None
    assert decoded.source.identity == Identity.of(slow.stat())
    assert not is_alive(stopped)
    assert [decoders.submit(task(picture)).result().error for _ in range(4)] == [None] * 4
    assert stopped in before - set(decoders.pids())


def test_a_decoder_that_hangs_while_it_reads_blames_the_storage(
    make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READING", 0.5)
    decoders = make()
    os.kill(decoders.pids()[1], signal.SIGSTOP)
    assert type(decoders.submit(task(picture)).result().error) is SourceUnreadable
    assert decoders.submit(task(picture)).result().crops is not None


def test_a_file_whose_decoder_is_killed_is_tried_once_more(make: Make, slow: Path, logged: list[str]) -> None:
    decoders = make()
    (pid,) = decoders.pids()[1:]
    future = decoders.submit(task(slow))
    wait_until_at_work(pid)
    os.kill(pid, signal.SIGKILL)
    assert future.result().crops is not None
    assert any("killed by SIGKILL" in line for line in logged)
    assert not is_alive(pid)


def test_a_file_that_kills_two_decoders_is_a_crasher(make: Make, slow: Path, picture: Path) -> None:
    decoders = make(2)
    future = decoders.submit(task(slow))
    killed: set[int] = set()
    while len(killed) < 2:
        wait_for(
            lambda: any(ticks(pid) >= AT_WORK for pid in decoders.pids()[1:] if pid not in killed), "a decoder works"
        )
        pid = max(set(decoders.pids()[1:]) - killed, key=ticks)
        os.kill(pid, signal.SIGSEGV)
        killed.add(pid)
    decoded = future.result()
    assert reason(decoded) == "crashed-decoder"
    assert "SIGSEGV" in str(decoded.error)
    assert decoded.source is not None
    assert decoded.source.sha256 == hashlib.sha256(slow.read_bytes()).hexdigest()
    assert [decoders.submit(task(picture)).result().error for _ in range(4)] == [None] * 4


def test_losing_the_process_they_are_forked_from_costs_nothing(make: Make, slow: Path, picture: Path) -> None:
    decoders = make(2)
    before = decoders.pids()
    futures = [decoders.submit(task(slow)), decoders.submit(task(picture))]
    os.kill(before[0], signal.SIGKILL)
    assert [future.result().error for future in futures] == [None, None]
    assert all(decoders.submit(task(picture)).result().crops is not None for _ in range(4))
    assert not any(is_alive(pid) for pid in before)


def test_the_process_they_are_forked_from_may_hang(make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.nursery._ANSWERING", 4.0)
    decoders = make()
    nursery, pid = decoders.pids()
    os.kill(nursery, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "the decoder is dead")
    assert decoders.submit(task(picture)).result().crops is not None
    assert decoders.pids()[0] != nursery
    assert not is_alive(nursery)


def test_decoders_that_died_idle_are_passed_over(make: Make, picture: Path, logged: list[str]) -> None:
    decoders = make(3)
    for pid in decoders.pids()[1:]:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not is_alive(pid), "the decoder is dead")  # type: ignore[misc]
    assert decoders.submit(task(picture)).result().crops is not None
    assert logged == []


def test_larger_crops_than_a_decoder_has_room_for(make: Make, picture: Path) -> None:
    decoders = make()
    before = decoders.pids()
    huge = Transform(resize=2000, crop=2000, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
    decoded = decoders.submit(Task(path=picture, transforms=[huge], max_bytes=1 << 30, max_pixels=10**9)).result()
    assert decoded.crops is not None
    with picture.open("rb") as file:
        np.testing.assert_array_equal(decoded.crops[0], decode(file, [huge])[0])
    assert decoders.submit(task(picture)).result().crops is not None
    assert len(decoders.pids()) == 2
    assert decoders.pids()[0] == before[0]
    assert not is_alive(before[1])


def test_nothing_is_left_open(make: Make, picture: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    decoders = make(2)
    for _ in range(3):
        for pid in decoders.pids()[1:]:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: not is_alive(pid), "the decoder is dead")  # type: ignore[misc]
        assert decoders.submit(task(picture)).result().crops is not None
    decoders.close()
    assert descriptors() == before


def test_signals_for_everybody_end_no_decoder(make: Make, slow: Path) -> None:
    decoders = make(2)
    future = decoders.submit(task(slow))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for pid in decoders.pids():
            os.kill(pid, number)
    assert future.result().crops is not None
    assert all(is_alive(pid) for pid in decoders.pids())


@pytest.mark.parametrize(("name", "bound"), [("_MOST_FILES", 1), ("_MOST_RESIDENT", 1 << 20)])
def test_an_old_or_fat_decoder_makes_room(
    make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch, name: str, bound: int
) -> None:
    decoders = make()
    pids = []
    for _ in range(3):
        monkeypatch.setattr(module, name, bound)
        pids += decoders.pids()[1:]
        assert decoders.submit(task(picture)).result().crops is not None
        monkeypatch.undo()
        assert decoders.submit(task(picture)).result().crops is not None
    assert len(set(pids)) == 3


def test_other_limits_hold_from_the_next_image_on(make: Make, slow: Path, picture: Path) -> None:
    decoders = make(2)
    before = decoders.pids()
    decoders.adopt(Limits(memory=200 << 20, seconds=30))
    assert [reason(decoders.submit(task(slow)).result()) for _ in range(2)] == ["too-large"] * 2
    decoders.adopt(LIMITS)
    assert decoders.submit(task(slow)).result().crops is not None
    assert before[0] == decoders.pids()[0]


def test_closing_ends_everything_at_once(make: Make, slow: Path) -> None:
    decoders = make(2)
    pids = decoders.pids()
    futures = [decoders.submit(task(slow)) for _ in range(6)]
    wait_for(lambda: any(ticks(pid) >= AT_WORK for pid in pids[1:]), "a decoder works")
    decoders.close()
    for future in futures:
        with pytest.raises((DecoderLost, CancelledError)):
            future.result(0)
    wait_for(lambda: not any(map(is_alive, pids)), "the processes end")


def test_they_end_with_the_daemon(slow: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from daemon.decoders import *;"
        "from models.images import Transform;"
        "decoders = Decoders(2, Limits());"
        "exec('while len(decoders.pids()) < 3: time.sleep(0.01)');"
        "task = Task(path=Path(sys.argv[1]), transforms=[Transform(resize=64, crop=56, interpolation='bicubic',"
        " mean=(0, 0, 0), std=(1, 1, 1))] * 60, max_bytes=1 << 30, max_pixels=10**9);"
        "decoders.submit(task); print(*decoders.pids(), flush=True); time.sleep(600)"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(slow)],
        stdout=subprocess.PIPE,
        env=environment() | {"TMPDIR": str(scratch)},
        cwd=scratch,
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 3
        wait_for(lambda: any(ticks(pid) >= AT_WORK for pid in pids[1:]), "a decoder works")
        process.kill()
    wait_for(lambda: not any(map(is_alive, pids)), "the processes end")
    assert list(scratch.iterdir()) == []


GOOD = {"identity": [1, 2, 3, 4], "sha256": "0" * 64}


FINE = {"resident": 1}


@pytest.mark.parametrize(
    ("note", "answer", "is_known"),
    [
        (None, FINE, False),
        (None, {"trouble": "SystemExit", "message": ""}, False),
        ({}, FINE, False),
        ({"identity": [1, 2, 3], "sha256": None}, FINE, False),
        ({"identity": [1, 2, 3, "x"], "sha256": None}, FINE, False),
        ({"identity": [1, 2, 3, 4], "sha256": "../x"}, FINE, False),
        ({"identity": [1, 2, 3, 4], "sha256": 7}, FINE, False),
        (GOOD, {}, True),
        (GOOD, {"resident": "much"}, True),
        (GOOD, {"resident": 1, "reason": "../../../etc", "message": ""}, True),
        (GOOD, {"resident": 1, "reason": None, "message": ""}, True),
        (GOOD, {"resident": 1, "reason": "empty"}, True),
        (GOOD, None, True),
        (None, None, False),
    ],
)
def test_nonsense_of_a_decoder_is_not_believed(
    note: dict[str, Any] | None, answer: dict[str, Any] | None, is_known: bool, picture: Path
) -> None:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    shared = create(size_for(TRANSFORMS))
    peer, buffer = Channel(theirs), CropBuffer(shared)

    def talk() -> None:
        peer.receive()
        if note is not None:
            buffer.write_note(note)
        if answer is not None:
            peer.send(answer)
        peer.close()

    speaker = threading.Thread(target=talk)
    speaker.start()
    decoder = Decoder(0, ours, CropBuffer(shared), 0)
    with pytest.raises(DecoderLost) as lost:
        decoder.decode(task(picture), 30)
    speaker.join()
    assert (lost.value.source is not None) == is_known
    assert not decoder.is_fit()
    decoder.close()
    buffer.close()
    os.close(shared)
