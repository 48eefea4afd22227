"""Model after model is published while images keep coming, and none of them is lost, left or sorted by half a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import pytest

from daemon.journal import read_history
from daemon.state import journal_path
from models import registry
from models.runtime import open_extractor
from models.weights import WeightsStore
from tests.processes import Daemon, daemon, wait_for
from tests.publishing import Heads, Run, Stream, make_runs, point_at


def resident(running: Daemon) -> int:
    """The memory of the daemon itself, in MB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


def publish_all(tmp_path: Path, runs: Sequence[Run], count: int, seconds: float) -> list[int]:
    """Publish so many times, under a stream of images; returns the memory after each publication."""
    inbox, output, state = tmp_path / "inbox", tmp_path / "sorted", tmp_path / "state"
    sizes = []
    first = runs[0]
    point_at(first.folder, first.digest)
    with daemon(tmp_path, "--threshold", "0", "--state-dir", str(state)) as running:
        stream = Stream(inbox, tmp_path / "spare", seconds)
        stream.start()
        try:
            wait_for(lambda: len(stream.put) > 5, "the first images")
            for number, run in enumerate(islice(cycle([*runs[1:], first]), count), 1):
                point_at(run.folder, run.digest)
                taken = f"took over checkpoint {run.digest[:12]}"
                wait_for(lambda number=number: running.log().count("took over") >= number, taken)  # type: ignore[misc]
                sizes.append(resident(running))
        finally:
            stream.stop()
        wait_for(lambda: not any(inbox.iterdir()), "an empty inbox")
        assert "ERROR" not in running.log()
        assert running.terminate() == 0

    rows = list(read_history(journal_path(state, output)))
    assert Counter(row.source.name for row in rows) == Counter(stream.put.keys()), "lost, or filed twice"
    filed = {path.name for path in output.rglob("*.png")}
    assert filed == set(stream.put)
    classes = {run.digest: run.classes for run in runs}
    for row in rows:
        assert row.destination is not None
        assert row.label in classes[row.model_digest or ""]
        assert row.destination.parent.name == row.label
    assert running.log().count("took over checkpoint") == count
    return sizes


def test_ten_publications_in_a_row(tmp_path: Path, store: WeightsStore) -> None:
    backbone = registry.locate(registry.EMBEDDED, None, store)
    heads = Heads(open_extractor([backbone], store), tmp_path / "examples")
    publish_all(tmp_path, make_runs(tmp_path / "checkpoints", [heads]), 10, 0.1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_publications_of_changing_modes(
    tmp_path: Path, store: WeightsStore, tiny_mobilenet_small: Path
) -> None:
    lite = registry.locate(registry.EMBEDDED, None, store)
    small = registry.locate("mobilenet_small", str(tiny_mobilenet_small), store)
    heads = [Heads(open_extractor(parts, store), tmp_path / "examples") for parts in ([lite], [small], [lite, small])]
    sizes = publish_all(tmp_path, make_runs(tmp_path / "checkpoints", heads), 200, 0.1)
    print(f"MB after 20, 100 and 200 publications: {sizes[19]}, {sizes[99]}, {sizes[199]}; at most {max(sizes)}")
    early, late = max(sizes[15:60]), max(sizes[140:])
    assert late <= early * 1.1, "memory grows"
