"""Model after model is published while images keep coming, and none of them is lost, left or sorted by half a model."""

from __future__ import annotations

import ctypes
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from daemon.journal.journal import Journal, read_history
from daemon.reloading.loader import CheckpointOptions
from daemon.reloading.reloader import Reloader
from daemon.state import journal_path
from models import registry
from models.classifier import Classifier
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore
from tests.processes import Daemon, daemon, wait_for
from tests.publishing import Heads, Run, Stream, make_runs, point_at

#: Images that come after a publication before the next one.
_WORK = 5


def resident(running: Daemon) -> int:
    """The memory of the daemon itself, in MB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


def publish_all(tmp_path: Path, runs: Sequence[Run], count: int, seconds: float) -> list[int]:
    """Publish so many times, under a stream of images; returns the memory after each, when it has worked a little."""
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
                seen = len(stream.put)
                wait_for(lambda seen=seen: len(stream.put) >= seen + _WORK, "some images for it")  # type: ignore[misc]
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


def growth(sizes: Sequence[float], period: int) -> float:
    """How much the memory grows with each publication, whatever single ones take.

    The median slope of all pairs that serve the same run (Theil and Sen's estimator, kept to the same season as by
    Hirsch, Slack and Smith, Water Resources Research 1982).
    """
    pairs = ((at, later) for at in range(len(sizes)) for later in range(at + period, len(sizes), period))
    return statistics.median((sizes[later] - sizes[at]) / (later - at) for at, later in pairs)


def test_growth_is_told_from_what_single_models_take() -> None:
    models = [100.0, 300.0, 200.0]
    flat = [models[at % 3] + 40 * (at % 7 == 0) for at in range(60)]
    assert growth(flat, 3) == 0
    assert growth([size + 0.5 * at for at, size in enumerate(flat)], 3) == pytest.approx(0.5)


def test_ten_publications_in_a_row(tmp_path: Path, store: WeightsStore) -> None:
    backbone = registry.locate(registry.EMBEDDED, None, store)
    heads = Heads(open_extractor([backbone], store), tmp_path / "examples")
    publish_all(tmp_path, make_runs(tmp_path / "checkpoints", [heads]), 10, 0.1)


def three_modes(folder: Path, store: WeightsStore, small_weights: Path) -> list[Heads]:
    """Heads over one backbone, over another, and over both."""
    lite = registry.locate(registry.EMBEDDED, None, store)
    small = registry.locate("mobilenet_small", str(small_weights), store)
    return [Heads(open_extractor(parts, store), folder / "examples") for parts in ([lite], [small], [lite, small])]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_publications_of_changing_modes(
    tmp_path: Path, store: WeightsStore, tiny_mobilenet_small: Path
) -> None:
    runs = make_runs(tmp_path / "checkpoints", three_modes(tmp_path, store, tiny_mobilenet_small))
    sizes = publish_all(tmp_path, runs, 200, 0.1)
    typical, slope = statistics.median(sizes[100:]), growth(sizes[100:], len(runs))
    print(f"MB after each 20 publications: {sizes[19::20]}; usually {typical}, at most {max(sizes)}")
    print(f"growth over the second hundred: {100 * slope:.1f} MB")
    assert 100 * slope < 0.1 * typical, "memory grows"


class Info(ctypes.Structure):
    """``struct mallinfo2`` of malloc.h: what the C library's heaps hold."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905
    )


def in_use() -> int:
    """Bytes that somebody has asked the C library for and not given back, however scattered."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Info
    info = mallinfo()
    return int(info.uordblks) + int(info.hblkhd)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_with_the_same_model_the_same_memory_is_in_use(
    tmp_path: Path, store: WeightsStore, tiny_mobilenet_small: Path
) -> None:
    """What a process has resident depends on how free memory is scattered; what is in use does not."""
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("this C library is not a glibc that tells")
    runs = make_runs(tmp_path / "checkpoints", three_modes(tmp_path, store, tiny_mobilenet_small))
    point_at(runs[0].folder, runs[0].digest)
    journal = Journal(tmp_path / "journal")
    reloader = Reloader(CheckpointOptions(location=tmp_path / "checkpoints", threads=2), store, journal)
    classifier = reloader.first()
    sizes = []
    for run in islice(cycle([*runs[1:], runs[0]]), 5 * len(runs)):
        point_at(run.folder, run.digest)
        for batch in (1, 8):
            classifier.predict([np.zeros((batch, each.crop, each.crop, 3), np.uint8) for each in classifier.transforms])
        classifier = taken_over(reloader)
        sizes.append(in_use())
    reloader.close()
    journal.close()
    slope = growth(sizes[len(runs) :], len(runs))
    print(f"MB in use while the first run serves: {[size >> 20 for size in sizes[len(runs) - 1 :: len(runs)]]}")
    print(f"growth with each publication: {slope:.0f} bytes")
    assert slope < 10_000, "memory grows"


def taken_over(reloader: Reloader) -> Classifier:
    """What was published, when it serves."""
    found: list[Classifier] = []

    def look() -> bool:
        found.extend(filter(None, [reloader.poll()]))
        return bool(found)

    wait_for(look, "the model that was published")
    return found[0]
