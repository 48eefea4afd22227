"""What a decoder may use, and when it makes room for another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from daemon.decoding import decoder as client
from daemon.decoding.pool import Limits
from tests.daemon.decoding.conftest import LIMITS, Make, reason, task
from tests.processes import is_alive, opened, wait_for


def test_a_decoder_is_limited(make: Make, picture: Path) -> None:
    decoders = make()
    assert decoders.submit(task(picture)).result().crops is not None
    fork_server, pid = decoders.pids()
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft_and_hard = {line[:26].strip(): line[26:].split()[:2] for line in limits[1:]}
    assert soft_and_hard["Max data size"] == [str(LIMITS.memory)] * 2
    assert soft_and_hard["Max open files"] == ["32"] * 2
    assert soft_and_hard["Max file size"] == ["0"] * 2
    assert soft_and_hard["Max core file size"] == ["0"] * 2
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"
    for process in (fork_server, pid):
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


@pytest.mark.parametrize(("name", "bound"), [("MOST_FILES", 1), ("MOST_RESIDENT", 1 << 20)])
def test_an_old_or_fat_decoder_makes_room(
    make: Make, picture: Path, monkeypatch: pytest.MonkeyPatch, name: str, bound: int
) -> None:
    decoders = make()
    pids = []
    for _ in range(3):
        monkeypatch.setattr(client, name, bound)
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


def test_nothing_is_left_open(make: Make, picture: Path) -> None:
    before = opened()
    decoders = make(2)
    for _ in range(3):
        for pid in decoders.pids()[1:]:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: not is_alive(pid), "the decoder is dead")  # type: ignore[misc]
        assert decoders.submit(task(picture)).result().crops is not None
    decoders.close()
    assert opened() <= before
