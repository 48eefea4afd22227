"""The fault table: whatever is published, the last good model goes on, and it is said once why; after a restart too."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loguru import logger

import daemon.reloading.reloader
from daemon.journal.journal import Journal
from daemon.reloading import memory
from daemon.reloading.loader import CheckpointOpener, CheckpointOptions, NameTaken
from daemon.reloading.reloader import Reloader
from models.backoff import Backoff
from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import FILE_NAME, MAX_FILE_BYTES, POINTER
from models.classifier import Classifier
from models.errors import CheckpointError
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.filing_desk import bound_by_modes
from tests.models.small_checkpoints import join, split, with_metadata
from tests.processes import environment, run, wait_for

Spoil = Callable[[Path], object]


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What is logged as an error or a warning."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    yield lines
    logger.remove(sink)


@dataclasses.dataclass
class Service:
    """A place to publish to, and the reloader that looks there; ``start`` is what a restart of the daemon does."""

    folder: Path
    store: WeightsStore
    journal: Path

    def start(self, reserved: Sequence[str] = ()) -> Reloader:
        options = CheckpointOptions(location=self.folder, threads=1, reserved=reserved)
        return Reloader(options, self.store, Journal(self.journal))


@pytest.fixture
def service(tmp_path: Path, store: WeightsStore) -> Service:
    return Service(tmp_path / "checkpoints", store, tmp_path / "state" / "journal.sqlite")


def looked(reloader: Reloader) -> object:
    """Poll until nothing is being loaded any more; what came of it."""
    for _ in range(4):
        if reloader.loading is not None:
            reloader.loading.join(300)
        if (newer := reloader.poll()) is not None:
            return newer
    return None


def run_of(folder: Path) -> Path:
    return folder / "run-2" / FILE_NAME


def point(folder: Path, sha256: str | None = None) -> None:
    """Publish run-2 anew, as the file that it is now."""
    sha256 = sha256 or hashlib.sha256(run_of(folder).read_bytes()).hexdigest()
    checkpoints.publish(folder / "run-2", sha256, datetime.now(UTC).isoformat())


def forge(change: Callable[[bytes], bytes]) -> Spoil:
    """Publish what ``change`` makes of a good checkpoint's bytes."""

    def spoil(folder: Path) -> None:
        run_of(folder).write_bytes(change(run_of(folder).read_bytes()))
        point(folder)

    return spoil


def half_written(folder: Path) -> None:
    data = run_of(folder).read_bytes()
    run_of(folder).write_bytes(data[: len(data) // 2])


def not_a_number(data: bytes) -> bytes:
    header, body = split(data)
    start, _ = header["head.weight"]["data_offsets"]
    return join(header, body[:start] + np.float32(np.nan).tobytes() + body[start + 4 :])


def of_a_plug_in(data: bytes) -> bytes:
    parts = json.loads(split(data)[0]["__metadata__"]["imagesortd"])["parts"]
    return with_metadata(data, parts=[parts[0] | {"name": "regions"}])


def golden_mismatch(folder: Path) -> None:
    found = checkpoints.read(run_of(folder))
    run_of(folder).unlink()
    bias = found.head.bias + np.arange(len(found.head.bias), dtype=np.float32) * 9
    checkpoints.write(dataclasses.replace(found, head=dataclasses.replace(found.head, bias=bias)), run_of(folder))
    point(folder)


def enormous(folder: Path) -> None:
    os.truncate(run_of(folder), MAX_FILE_BYTES + 1)  # with a hole: it takes no room on the disk


FAULTS: dict[str, tuple[Spoil, str]] = {
    "half-written file": (half_written, "it is damaged"),
    "wrong digest": (lambda folder: point(folder, "0" * 64), "is not the file that was published"),
    "pointer missing": (lambda folder: (folder / POINTER).unlink(), "published"),
    "pointer empty": (lambda folder: (folder / POINTER).write_bytes(b""), "current.json is damaged"),
    "pointer garbage": (lambda folder: (folder / POINTER).write_bytes(b"\0\xff{"), "current.json is damaged"),
    "pointer at a deleted run": (lambda folder: shutil.rmtree(folder / "run-2"), "there is no checkpoint"),
    "schema too new": (forge(lambda data: with_metadata(data, schema_version=99)), "its format version is 99"),
    "weights that are not numbers": (forge(not_a_number), "head.weight holds values that are not numbers"),
    "golden mismatch": (golden_mismatch, "its golden samples give different results"),
    "too large": (enormous, "it is too large"),
    "class names that are unsafe": (forge(lambda data: with_metadata(data, classes=["../a", "b", "c"])), "class name"),
    "plug-in absent": (forge(of_a_plug_in), "there is no backbone 'regions'"),
}


@pytest.mark.parametrize(("spoil", "sentence"), FAULTS.values(), ids=FAULTS.keys())
def test_the_last_good_model_goes_on_and_it_is_said_once_why(
    service: Service,
    publish: Publish,
    spoil: Spoil,
    sentence: str,
    complaints: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(daemon.reloading.reloader, "BACKOFF", Backoff(0.0, 0.0))  # even if it is tried again at once
    good = publish(service.folder / "run-1", ["a", "b"])
    running = service.start()
    assert running.first().digest == good
    publish(service.folder / "run-2", ["a", "b", "c"])
    spoil(service.folder)
    for _ in range(3):
        assert looked(running) is None
    assert len(complaints) == 1
    assert complaints[0].startswith("the model in use stays")
    assert sentence in complaints[0]
    running.close()

    complaints.clear()
    restarted = service.start()
    assert restarted.first().digest == good
    assert looked(restarted) is None
    assert len(complaints) == 1
    assert complaints[0].startswith("the last good model")
    assert sentence in complaints[0]

    complaints.clear()
    mended = publish(service.folder / "run-3", ["a", "d"])
    wait_for(lambda: getattr(looked(restarted), "digest", None) == mended, "the next good one")
    assert complaints == []
    restarted.close()


def test_a_checkpoint_that_does_not_fit_into_memory_waits_until_it_does(
    service: Service, publish: Publish, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon.reloading.reloader, "BACKOFF", Backoff(0.0, 0.0))
    good = publish(service.folder / "run-1", ["a", "b"])
    fits = 3 * (service.folder / "run-1" / FILE_NAME).stat().st_size
    running = service.start()
    running.first()
    digest = publish(service.folder / "run-2", ["a", "b", "c"])
    monkeypatch.setattr(memory, "SMALL_CHECKPOINT", 0)
    monkeypatch.setattr(memory, "free_memory", lambda: fits)
    for _ in range(3):
        assert looked(running) is None
    assert len(complaints) == 1
    assert "there is not enough memory for the checkpoint" in complaints[0]
    running.close()

    complaints.clear()
    restarted = service.start()
    assert restarted.first().digest == good
    assert looked(restarted) is None
    assert [line.startswith("the last good model") for line in complaints] == [True]
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 40)
    wait_for(lambda: getattr(looked(restarted), "digest", None) == digest, "the one that fits now")
    restarted.close()


def test_a_file_that_was_half_written_is_taken_over_once_it_is_whole(service: Service, publish: Publish) -> None:
    publish(service.folder / "run-1", ["a", "b"])
    running = service.start()
    running.first()
    digest = publish(service.folder / "run-2", ["a", "b", "c"])
    whole = run_of(service.folder).read_bytes()
    half_written(service.folder)
    assert looked(running) is None
    run_of(service.folder).write_bytes(whole)
    wait_for(lambda: getattr(looked(running), "digest", None) == digest, "the whole file")


KILLED = """
import os, signal, sys
from pathlib import Path
import daemon.reloading.loader
from daemon.journal.journal import Journal
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.reloader import Reloader
from models.weights.store import WeightsStore

daemon.reloading.loader.open_classifier = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
reloader = Reloader(CheckpointOptions(location=Path(sys.argv[1])), WeightsStore(), Journal(Path(sys.argv[2])))
{act}
"""
WHILE_RUNNING = KILLED.format(act="reloader.poll(); reloader._loading.join()")
AT_THE_START = KILLED.format(act="reloader.first()")


def be_killed(service: Service, code: str) -> None:
    command = [sys.executable, "-c", code, str(service.folder), str(service.journal)]
    assert subprocess.run(command, env=environment()).returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "code", [WHILE_RUNNING, pytest.param(AT_THE_START, marks=pytest.mark.slow)], ids=["running", "starting"]
)
def test_killed_while_loading_the_last_good_model_boots(
    service: Service, publish: Publish, complaints: list[str], code: str
) -> None:
    good = publish(service.folder / "run-1", ["a", "b"])
    running = service.start()
    running.first()
    running.close()
    bad = publish(service.folder / "run-2", ["a", "b", "c"])
    be_killed(service, code)

    for _ in range(2):
        complaints.clear()
        restarted = service.start()
        assert restarted.first().digest == good
        assert looked(restarted) is None
        assert len(complaints) == 1
        assert "run-2 is not tried again (the daemon ended while loading it)" in complaints[0]
        restarted.close()
    point(service.folder, bad)
    wait_for(lambda: getattr(looked(restarted), "digest", None) == bad, "the one that was published once more")


def test_the_work_loop_never_waits_for_the_disk_and_loading_does(
    service: Service, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(service.folder / "run-1", ["a", "b"])
    reloader = service.start()
    reloader.first()
    done: list[str] = []
    real = CheckpointOpener.open

    def opened(*arguments: Any) -> Classifier:
        done.append("open")
        return real(*arguments)

    monkeypatch.setattr(Journal, "flush", lambda _: done.append(f"flush in {threading.current_thread().name}"))
    monkeypatch.setattr(CheckpointOpener, "open", opened)
    publish(service.folder / "run-2", ["a", "c"])
    assert looked(reloader) is not None
    wait_for(lambda: len(done) == 3, "what came of it is flushed, too")
    assert done == ["flush in reload", "open", "flush in flush"]


def test_where_the_disk_fails_what_is_published_is_tried_later(
    service: Service, publish: Publish, monkeypatch: pytest.MonkeyPatch, complaints: list[str]
) -> None:
    def fail(_: Journal) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    publish(service.folder / "run-1", ["a", "b"])
    reloader = service.start()
    reloader.first()
    newest = publish(service.folder / "run-2", ["a", "c"])
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "flush", fail)
        assert looked(reloader) is None
    assert "and the new one is tried again: OSError" in complaints[0]
    later = time.monotonic() + 2 * daemon.reloading.reloader.BACKOFF.first
    monkeypatch.setattr("daemon.reloading.reloader.time.monotonic", lambda: later)
    assert getattr(looked(reloader), "digest", None) == newest


def test_a_place_that_cannot_be_looked_at_leaves_the_model_in_use(
    service: Service, publish: Publish, complaints: list[str]
) -> None:
    """A dead mount answers so, too."""
    publish(service.folder / "run-1", ["a", "b"])
    reloader = service.start()
    reloader.first()
    service.folder.chmod(0)
    try:
        with bound_by_modes():
            for _ in range(3):
                assert looked(reloader) is None
            with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
                CheckpointOptions(location=service.folder).source.find_or_raise()
    finally:
        service.folder.chmod(0o755)
    assert [line.endswith("cannot be read: Permission denied") for line in complaints] == [True]
    newest = publish(service.folder / "run-2", ["a", "c"])
    wait_for(lambda: getattr(looked(reloader), "digest", None) == newest, "what is published there again")


def test_killed_while_loading_the_only_one_it_is_loaded_again(service: Service, publish: Publish) -> None:
    digest = publish(service.folder / "run-1", ["a", "b"])
    be_killed(service, AT_THE_START)
    assert service.start().first().digest == digest


def test_a_kill_while_the_good_one_is_loaded_says_nothing_against_it(
    service: Service, publish: Publish, complaints: list[str]
) -> None:
    digest = publish(service.folder / "run-1", ["a", "b"])
    service.start().first()
    be_killed(service, AT_THE_START)
    assert service.start().first().digest == digest
    assert complaints == []


def test_told_to_stop_while_loading_the_checkpoint_is_not_to_blame(
    service: Service, publish: Publish, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(service.folder / "run-1", ["a", "b"])
    service.start().first()
    digest = publish(service.folder / "run-2", ["a", "b", "c"])
    with monkeypatch.context() as patch:
        patch.setattr(daemon.reloading.loader, "open_classifier", lambda *_, **__: sys.exit())
        with pytest.raises(SystemExit):
            service.start().first()
    assert service.start().first().digest == digest
    assert complaints == []


def test_a_published_model_with_a_class_named_like_a_folder_is_not_used(
    service: Service, publish: Publish, complaints: list[str]
) -> None:
    good = publish(service.folder / "run-1", ["a", "b"])
    running = service.start(reserved=("개", "quarantine"))
    assert running.first().digest == good
    publish(service.folder / "run-2", ["개", "b"])
    assert looked(running) is None
    assert [line.startswith("the model in use stays") for line in complaints] == [True]
    running.close()

    complaints.clear()
    again = service.start(reserved=("개", "quarantine"))  # nobody may be there when the machine starts anew
    assert again.first().digest == good
    assert [line.startswith("the last good model") for line in complaints] == [True]
    again.close()

    with pytest.raises(NameTaken, match="has a class 개, and the folder 개 is for other images"):
        service.start(reserved=("개", "a")).first()


def test_a_start_that_cannot_use_what_is_published_says_why(tmp_path: Path, publish: Publish) -> None:
    folder = tmp_path / "checkpoints"
    said = run("daemon", "--once", cwd=tmp_path).stderr  # the starter model is known to be good now
    assert f"model: the starter model (efficientnet_lite0), since nothing is published in {folder}\n" in said

    publish(folder / "run-2", ["개", "b"])
    refused = run("daemon", "--once", "--others-dir", "개", cwd=tmp_path)
    assert refused.returncode == 0  # as it did until the restart, the starter model serves
    assert "the last good model" in refused.stderr
    assert "has a class 개, and the folder 개 is for other images" in refused.stderr
    # by the script where it is installed beside our Python
    assert re.search(r"or go back with (python -m trainer|\S*imagesortd) rollback", refused.stderr)

    half_written(folder)
    said = run("daemon", "--once", cwd=tmp_path).stderr
    assert "nothing is published" not in said
    assert f"model: the starter model (efficientnet_lite0), since the checkpoint {run_of(folder)}" in said
