"""A real cluster of Ray on this machine: one row for each image, that of the local engine, whatever is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.archiving import ray_engine
from daemon.archiving.ray_cluster import connected
from tests.conftest import SHARED_DATA
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS, save
from tests.processes import ROOT, environment

ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # those of Ray are not ours
]

HOSTILE = SHARED_DATA / "nasty_gofuzz"


@pytest.fixture
def large_archive(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """500 files, many batches: pictures, and hostile ones in each batch, where those are at hand."""
    monkeypatch.setattr(ray_engine, "BATCH", 32)
    for seed in range(3, 100):
        for kind in KINDS:
            save(kind, seed, archive.inbox / f"{seed % 10}" / f"{kind}{seed}.jpg")
    hostile = sorted(path for path in HOSTILE.rglob("*") if path.is_file())[::8][:100]
    for number, path in enumerate(hostile):
        shutil.copy(path, archive.inbox / f"{number % 10}" / f"hostile{number}{path.suffix}")
    return archive


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one core each."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    started.add_node(num_cpus=1)
    ray.init(address=started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


def by_ray(archive: Archive, on_progress: Callable[[Any], None] = lambda _: None) -> Any:
    return archive.run(engine="ray", on_progress=on_progress)


def once(action: Callable[[], None], after: int) -> Callable[[Any], None]:
    """Do something in the middle of a job."""
    done: list[bool] = []

    def on_progress(tally: Any) -> None:
        if tally.looked_at >= after and not done:
            done.append(True)
            action()

    return on_progress


def files(archive: Archive) -> list[str]:
    return sorted(path.as_uri() for path in archive.inbox.rglob("*") if path.is_file())


def workers() -> list[int]:
    """The processes of the engine's workers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::Worker"):
                found.append(int(folder.name))
    return found


def test_the_rows_are_those_of_the_local_engine(large_archive: Archive, tmp_path: Path) -> None:
    large_archive.run()
    by_cluster = large_archive._replace(manifest=tmp_path / "by-ray")
    assert by_ray(by_cluster).looked_at == len(files(large_archive))
    local, cluster = ([row | {"looked_at": None} for row in each.rows()] for each in (large_archive, by_cluster))
    assert len(local) == len(files(large_archive))
    assert cluster == local
    assert by_ray(by_cluster).looked_at == 0


def test_a_node_that_is_killed_costs_no_row(large_archive: Archive, cluster: Any) -> None:
    other = next(iter(cluster.worker_nodes))
    tally = by_ray(large_archive, once(lambda: cluster.remove_node(other, allow_graceful=False), 100))
    rows = large_archive.rows()
    assert [row["uri"] for row in rows] == files(large_archive)
    assert tally.looked_at == len(rows)
    assert tally.outcomes["unread"] == 0


def test_a_node_that_joins_is_given_images(large_archive: Archive, cluster: Any) -> None:
    joined = []

    def join() -> None:
        cluster.add_node(num_cpus=1)
        joined.append(True)

    by_ray(large_archive, once(join, 100))
    assert joined
    assert [row["uri"] for row in large_archive.rows()] == files(large_archive)


def test_workers_that_are_killed_cost_no_row(large_archive: Archive, cluster: Any) -> None:
    killed = []

    def kill() -> None:
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    tally = by_ray(large_archive, once(kill, 100))
    assert killed
    assert [row["uri"] for row in large_archive.rows()] == files(large_archive)
    assert tally.outcomes["unread"] == 0


def test_two_jobs_have_clusters_of_their_own(tmp_path: Path) -> None:
    """A job whose cluster is that of another one would end with it."""
    code = (
        "from daemon.archiving.ray_cluster import connected\nwith connected() as ray: print(ray.nodes()[0]['NodeID'])"
    )
    with connected() as ray_here:
        other = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
        )
        assert other.stdout.split()[-1] != ray_here.nodes()[0]["NodeID"]


def test_no_worker_is_left_when_a_job_is_done(large_archive: Archive) -> None:
    by_ray(large_archive)
    deadline = time.monotonic() + 30
    while workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers() == []
