"""Hot reload: what is published is taken over, what is broken is not."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

import daemon.reloading.loader
import daemon.reloading.reloader
from daemon.journal.journal import Journal, JournalBusy
from daemon.monitoring.messages import describe_change
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.reloader import Reloader
from daemon.watching.wakeup import Wakeup
from models.backoff import Backoff
from models.checkpoints.checkpoint import FILE_NAME, POINTER, publish_starter
from models.classifier import Classifier, open_classifier
from models.errors import CheckpointError, WeightsUnavailable
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.processes import PATIENCE, wait_for
from trainer.runs.folder import METRICS
from trainer.runs.retention import retain


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def reloader(checkpoints: Path, store: WeightsStore) -> Reloader:
    return Reloader(CheckpointOptions(location=checkpoints), store)


def next_one(reloading: Reloader) -> Classifier:
    found: list[Classifier] = []

    def look() -> bool:
        newer = reloading.poll()
        found.extend([newer] if newer else [])
        return bool(found)

    wait_for(look, "a newly published classifier")
    return found[0]


def settle(reloading: Reloader) -> None:
    """Poll until nothing is being loaded; nothing may come of it."""
    assert reloading.poll() is None
    if reloading.loading is not None:
        reloading.loading.join(300)
    assert reloading.poll() is None


def test_the_starter_serves_until_something_is_published(
    checkpoints: Path, store: WeightsStore, publish: Publish
) -> None:
    reloading = reloader(checkpoints, store)
    starter = reloading.first()
    assert starter.metadata.settings["starter"] is True
    assert reloading.poll() is None
    digest = publish(checkpoints / "run-1", ["a", "b"])
    newer = next_one(reloading)
    assert (newer.digest, newer.classes) == (digest, ["a", "b"])
    assert reloading.poll() is None


def test_each_published_run_is_taken_over_once(checkpoints: Path, store: WeightsStore, publish: Publish) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading = reloader(checkpoints, store)
    assert reloading.first().classes == ["a", "b"]
    publish(checkpoints / "run-2", ["b", "c", "d"])
    assert next_one(reloading).classes == ["b", "c", "d"]
    settle(reloading)


def damaged(run: Path) -> None:
    file = run / FILE_NAME
    data = bytearray(file.read_bytes())
    data[-100] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: damaged(folder / "run-2"), "is not the file that was published"),
        (lambda folder: (folder / POINTER).write_text("{"), "is damaged"),
        (lambda folder: (folder / POINTER).write_text(""), "is damaged"),
        (lambda folder: (folder / POINTER).write_text(json.dumps({"run": "../x", "sha256": "0"})), "is damaged"),
        (lambda folder: shutil.rmtree(folder / "run-2"), "there is no checkpoint"),
        (lambda folder: (folder / "run-2" / FILE_NAME).write_bytes(b"PK\x03\x04"), "it is a PyTorch pickle"),
    ],
    ids=["wrong digest", "garbage pointer", "empty pointer", "pointer outside", "run deleted", "pickle"],
)
def test_a_broken_publication_is_said_once_and_the_old_model_stays(
    checkpoints: Path, store: WeightsStore, publish: Publish, spoil: object, sentence: str, logged: list[str]
) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading = reloader(checkpoints, store)
    reloading.first()
    publish(checkpoints / "run-2", ["a", "b", "c"])
    spoil(checkpoints)  # type: ignore[operator]
    settle(reloading)
    settle(reloading)
    complaints = [line for line in logged if line.startswith("the model in use stays")]
    assert len(complaints) == 1
    assert sentence in complaints[0]
    publish(checkpoints / "run-3", ["a", "b", "d"])
    assert next_one(reloading).classes == ["a", "b", "d"]


def test_a_pointer_that_goes_away_changes_nothing(checkpoints: Path, store: WeightsStore, publish: Publish) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading = reloader(checkpoints, store)
    reloading.first()
    (checkpoints / POINTER).unlink()
    settle(reloading)


def test_a_rollback_to_the_starter_is_followed_while_running_and_at_a_start(
    checkpoints: Path, store: WeightsStore, publish: Publish
) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading = reloader(checkpoints, store)
    assert reloading.first().classes == ["a", "b"]
    publish_starter(checkpoints, "2026-02-03T04:05:06+00:00")
    assert "dog" in next_one(reloading).classes
    settle(reloading)
    assert "dog" in reloader(checkpoints, store).first().classes
    publish(checkpoints / "run-2", ["c", "d"])
    assert next_one(reloading).classes == ["c", "d"]


def test_a_checkpoint_may_be_one_file(checkpoints: Path, store: WeightsStore, publish: Publish) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    assert reloader(checkpoints / "run-1" / FILE_NAME, store).first().classes == ["a", "b"]
    assert reloader(checkpoints / "run-1", store).first().classes == ["a", "b"]


def test_a_file_that_was_named_must_be_there(checkpoints: Path, store: WeightsStore) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        reloader(checkpoints / "lost.safetensors", store).first()


def test_a_change_of_classes_is_told_by_name(checkpoints: Path, store: WeightsStore, publish: Publish) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    old = reloader(checkpoints, store).first()
    publish(checkpoints / "run-2", ["b", "c"])
    new = reloader(checkpoints, store).first()
    assert describe_change(old, new) == ("efficientnet_lite0, 2 classes; new: c; gone, their folders stay: a; kept: b")
    assert describe_change(new, new) == "efficientnet_lite0, 2 classes; the same classes"


def test_a_place_that_was_named_must_be_there(checkpoints: Path, store: WeightsStore) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        Reloader(CheckpointOptions(location=checkpoints, was_named=True), store).first()
    checkpoints.mkdir()
    assert (
        Reloader(CheckpointOptions(location=checkpoints, was_named=True), store).first().metadata.settings["starter"]
        is True
    )


def test_the_starter_does_not_step_in_for_trained_runs(
    checkpoints: Path, store: WeightsStore, publish: Publish
) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    (checkpoints / POINTER).unlink()
    with pytest.raises(CheckpointError, match="holds runs, but none of them is published"):
        reloader(checkpoints, store).first()


def test_no_class_takes_the_folder_of_the_unsure(
    checkpoints: Path, store: WeightsStore, publish: Publish, logged: list[str]
) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading = Reloader(CheckpointOptions(location=checkpoints, reserved=("Others", "quarantine")), store)
    reloading.first()
    publish(checkpoints / "run-2", ["a", "others"])
    settle(reloading)
    assert any("has a class others, and the folder Others is for other images" in line for line in logged)


def test_trouble_that_may_pass_is_tried_again(
    checkpoints: Path, store: WeightsStore, publish: Publish, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.setattr(daemon.reloading.reloader, "BACKOFF", Backoff(0.0, 0.0))
    publish(checkpoints / "run-1", ["a", "b"])
    reloading = reloader(checkpoints, store)
    reloading.first()
    real = open_classifier
    failures = iter([WeightsUnavailable("out of reach"), OSError("No space left on device")])

    def failing(*arguments: object, **options: object) -> Classifier:
        if (failure := next(failures, None)) is not None:
            raise failure
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(daemon.reloading.loader, "open_classifier", failing)
    publish(checkpoints / "run-2", ["a", "c"])
    assert next_one(reloading).classes == ["a", "c"]
    assert sum("is tried again" in line for line in logged) == 2


def test_the_runs_in_use_are_kept_from_being_removed(
    checkpoints: Path, store: WeightsStore, publish: Publish, tmp_path: Path
) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading = Reloader(CheckpointOptions(location=checkpoints, probation=10), store, Journal(tmp_path / "journal"))
    reloading.first()
    for name in ("run-2", "run-3"):
        publish(checkpoints / name, [name, "b"])
        next_one(reloading)
    for number, run in enumerate(sorted(checkpoints.glob("run-*"))):
        (run / METRICS).write_text("{}")
        os.utime(run / FILE_NAME, (number, number))
    publish(checkpoints / "run-4", ["a", "d"])
    assert retain(checkpoints, 1, {"run-4"}) == ["run-2"]
    reloading.close()
    assert retain(checkpoints, 1, {"run-4"}) == ["run-1"]


def test_what_cannot_be_written_down_first_is_loaded_later(
    checkpoints: Path,
    store: WeightsStore,
    publish: Publish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[str],
) -> None:
    monkeypatch.setattr(daemon.reloading.reloader, "BACKOFF", Backoff(0.0, 0.0))
    publish(checkpoints / "run-1", ["a", "b"])
    journal = Journal(tmp_path / "journal")
    reloading = Reloader(CheckpointOptions(location=checkpoints), store, journal)
    reloading.first()
    with monkeypatch.context() as patch:

        def busy(key: str, value: str | None) -> None:
            raise JournalBusy("the disk is full")

        patch.setattr(journal, "note", busy)
        publish(checkpoints / "run-2", ["a", "c"])
        for _ in range(3):
            assert reloading.poll() is None
    assert sum("the attempt to load it cannot be recorded (the disk is full)" in line for line in logged) == 1
    assert next_one(reloading).classes == ["a", "c"]


def test_a_place_whose_name_is_no_text_is_remembered(store: WeightsStore, publish: Publish, tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"models \xff")
    digest = publish(place / "run-1", ["a", "b"])
    for _ in range(2):
        reloading = Reloader(CheckpointOptions(location=place), store, Journal(tmp_path / "journal"))
        assert reloading.first().digest == digest
        reloading.close()
        (place / POINTER).unlink(missing_ok=True)


def idle(reloading: Reloader, wakeup: Wakeup) -> Classifier:
    """What an idle work loop does, but that it looks only when it is woken, however long that takes."""
    while (newer := reloading.poll()) is None:
        wakeup.wait(PATIENCE)
    return newer


def test_an_idle_daemon_is_woken_by_a_publication_and_by_the_end_of_its_loading(
    checkpoints: Path, store: WeightsStore, publish: Publish
) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading, wakeup = reloader(checkpoints, store), Wakeup()
    reloading.first()
    reloading.listen(wakeup.set)
    assert reloading.poll() is None
    begun = time.monotonic()
    for name in ("run-2", "run-3"):
        timer = threading.Timer(0.05, publish, [checkpoints / name, [name, "b"]])
        timer.start()
        assert idle(reloading, wakeup).classes == [name, "b"]
        timer.join()
    assert time.monotonic() - begun < PATIENCE
    reloading.close()
    wakeup.close()


def test_what_is_published_while_another_is_loaded_rings_too(
    checkpoints: Path, store: WeightsStore, publish: Publish
) -> None:
    publish(checkpoints / "run-1", ["a", "b"])
    reloading, wakeup = reloader(checkpoints, store), Wakeup()
    reloading.first()
    reloading.listen(wakeup.set, events=False)
    publish(checkpoints / "run-2", ["a", "c"])
    assert reloading.poll() is None
    publish(checkpoints / "run-3", ["a", "d"])
    begun = time.monotonic()
    assert idle(reloading, wakeup).classes == ["a", "c"]
    assert idle(reloading, wakeup).classes == ["a", "d"]
    assert time.monotonic() - begun < PATIENCE
    reloading.close()
    wakeup.close()
