"""Fuzzed and broken images of every format, all of them through the real pipeline."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from daemon.decoding.pool import Limits
from daemon.files.malloc import give_back
from daemon.files.output_mark import OUTPUT_MARK
from daemon.filing.filer import Filer, Status
from daemon.journal.journal import Journal
from daemon.pipeline import Pipeline
from daemon.reloading.pipeline_settings import PipelineSettings
from models.classifier import open_classifier
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save, save_slow
from tests.processes import AT_WORK, Daemon, children, daemon, is_alive, run, ticks, wait_for

LIMITS = Limits(memory=700 << 20, seconds=30)
SETTINGS = PipelineSettings(
    threshold=0.0,
    others_dir="others",
    quarantine_dir="quarantine",
    batch_size=8,
    max_pixels=100_000_000,
    max_bytes=64 << 20,
    limits=LIMITS,
)
REASONS = {"empty", "not-an-image", "truncated", "corrupt", "too-large", "timeout"}

#: What the daemon itself may grow by while it handles the whole corpus, in bytes, once it has handled a few of them.
ROOM, WARM = 100 << 20, 64


@pytest.mark.parametrize("corpus", ["nasty_gofuzz", "nasty_heif_avif"])
def test_every_file_of_a_corpus_is_in_one_place_with_a_reason(
    corpus: str,
    shared_data: Path,
    publish: Publish,
    store: WeightsStore,
    tmp_path: Path,
) -> None:
    publish(tmp_path / "checkpoints" / "run")
    classifier = open_classifier(tmp_path / "checkpoints", store)
    inbox, output = tmp_path / "inbox", tmp_path / "sorted"
    inbox.mkdir()
    wanted: Counter[bytes] = Counter()
    for number, path in enumerate(sorted(path for path in (shared_data / corpus).rglob("*") if path.is_file())):
        shutil.copyfile(path, inbox / f"{number:05}{path.suffix or '.jpg'}")
        wanted[path.read_bytes()] += 1
    good = [
        save(kind, 1, inbox / f"{number:05}-good.png") for number, kind in zip(range(0, 200, 50), KINDS, strict=True)
    ]
    wanted.update(path.read_bytes() for path in good)

    journal = Journal(tmp_path / "journal.sqlite")
    pipeline = Pipeline(classifier, Filer(output, journal=journal), SETTINGS, threads=2)
    try:
        paths = sorted(inbox.iterdir())
        outcomes = list(pipeline.process(paths[:WARM]))
        give_back()  # what the allocator keeps of a batch comes and goes
        before = memory("self", "VmRSS")
        outcomes += pipeline.process(paths[WARM:])
        most = [memory(str(pid), "VmHWM") for pid in pipeline.decoders.pids()]
        give_back()
        grown = memory("self", "VmRSS") - before
    finally:
        pipeline.close()
        journal.close()

    # Slow ones come late, and a busy machine has some.
    assert sorted(outcome.path for outcome in outcomes) == paths
    assert {outcome.status for outcome in outcomes} == {Status.FILED}
    assert list(inbox.iterdir()) == []
    filed = [path for path in output.rglob("*") if path.is_file() and not path.name.startswith(".")]
    notes = [path for path in filed if path.suffix == ".json"]
    assert Counter(path.read_bytes() for path in filed if path.suffix != ".json") == wanted
    assert {
        outcome.destination.parent.name for outcome in outcomes if outcome.path in good and outcome.destination
    } == {*KINDS}
    quarantined = [outcome for outcome in outcomes if outcome.reason is not None]
    assert len(notes) == len(quarantined) > 0
    assert {outcome.reason for outcome in quarantined} <= REASONS
    assert {json.loads(note.read_text())["reason"] == note.parent.name for note in notes} == {True}
    assert max(most) < LIMITS.memory
    assert grown < ROOM


@pytest.fixture
def at_home(publish: Publish, tmp_path: Path) -> Path:
    """A folder to start a daemon in, with a checkpoint, an inbox, and a picture that takes a while to decode."""
    publish(tmp_path / "checkpoints" / "run")
    (tmp_path / "inbox").mkdir()
    save_slow(tmp_path / "slow.png")
    return tmp_path


def stop_a_decoder_at_work(running: Daemon, folder: Path) -> int:
    """Have the slow picture decoded, and stop that decoder in the middle of it; its process number."""
    (fork_server,) = children(running.process.pid)
    wait_for(lambda: children(fork_server), "the decoders started")
    (folder / "slow.png").rename(folder / "inbox" / "slow.png")
    wait_for(lambda: any(ticks(pid) >= AT_WORK for pid in children(fork_server)), "a decoder works")
    pid = max(children(fork_server), key=ticks)
    os.kill(pid, signal.SIGSTOP)
    return pid


def processes(running: Daemon) -> list[int]:
    """The daemon and all that it has started."""
    (fork_server,) = children(running.process.pid)
    return [running.process.pid, fork_server, *children(fork_server)]


def test_an_image_that_hangs_is_quarantined_and_its_neighbours_are_filed(at_home: Path) -> None:
    with daemon(at_home, "--decode-seconds", "2", "--threshold", "0") as running:
        stopped = stop_a_decoder_at_work(running, at_home)
        for kind in KINDS:
            save(kind, 1, at_home / f"{kind}.png").rename(at_home / "inbox" / f"{kind}.png")
        note = at_home / "sorted" / "quarantine" / "timeout" / "slow.png.json"
        wait_for(lambda: note.exists() and not list((at_home / "inbox").iterdir()), "everything is filed")
        assert not is_alive(stopped)
        assert running.terminate() == 0
    assert {kind: (at_home / "sorted" / kind / f"{kind}.png").is_file() for kind in KINDS} == dict.fromkeys(KINDS, True)
    assert json.loads(note.read_text())["detail"] == "Decoding took longer than 2 seconds."


def test_stopping_does_not_wait_for_an_image_that_hangs(at_home: Path) -> None:
    with daemon(at_home, "--decode-seconds", "3600", "--threshold", "0") as running:
        stop_a_decoder_at_work(running, at_home)
        everybody = processes(running)
        assert running.terminate() == 0
    wait_for(lambda: not any(map(is_alive, everybody)), "all processes end")
    assert (at_home / "inbox" / "slow.png").is_file()
    assert "Traceback" not in running.log()


def test_a_daemon_that_is_killed_leaves_no_process_and_no_file(at_home: Path) -> None:
    with daemon(at_home, "--threshold", "0") as running:
        stop_a_decoder_at_work(running, at_home)
        everybody = processes(running)
        running.process.kill()
        running.process.wait()
    wait_for(lambda: not any(map(is_alive, everybody)), "all processes end")
    assert [path.name for path in (at_home / "inbox").iterdir()] == ["slow.png"]
    assert not (at_home / "sorted").exists() or [path.name for path in (at_home / "sorted").iterdir()] == [OUTPUT_MARK]
    done = run("daemon", "--once", "--threshold", "0", cwd=at_home)
    assert done.returncode == 0, done.stderr
    assert list((at_home / "inbox").iterdir()) == []
    assert len(list((at_home / "sorted").rglob("slow.png"))) == 1


def memory(pid: str, key: str) -> int:
    """A figure of a process's memory, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(key)
