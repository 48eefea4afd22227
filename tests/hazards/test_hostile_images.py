"""Fuzzed and broken images of every format, all of them through the real pipeline."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from daemon.decoders import Limits
from daemon.filing import Filer, Status
from daemon.journal import Journal
from daemon.pipeline import Pipeline, Policy
from models.classifier import open_classifier
from models.weights import WeightsStore
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, save

LIMITS = Limits(memory=700 << 20, seconds=30)
POLICY = Policy(
    threshold=0.0,
    others_dir="others",
    quarantine_dir="quarantine",
    batch_size=8,
    max_pixels=100_000_000,
    max_bytes=64 << 20,
    limits=LIMITS,
)
REASONS = {"empty", "not-an-image", "truncated", "corrupt", "too-large", "timeout"}

#: What the daemon itself may grow by while it handles the whole corpus, in bytes.
ROOM = 100 << 20


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
    pipeline = Pipeline(classifier, Filer(output, journal=journal), POLICY, threads=2)
    try:
        before = memory("self", "VmRSS")
        paths = sorted(inbox.iterdir())
        outcomes = list(pipeline.process(paths))
        most = [memory(str(pid), "VmHWM") for pid in pipeline.decoders.pids()]
        grown = memory("self", "VmRSS") - before
    finally:
        pipeline.close()
        journal.close()

    assert [outcome.path for outcome in outcomes] == paths
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


def memory(pid: str, key: str) -> int:
    """A figure of a process's memory, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(key)
