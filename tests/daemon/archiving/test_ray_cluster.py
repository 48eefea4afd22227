"""A real cluster of Ray on this machine: one row for each image, that of the local engine, whatever is killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.cluster import workers
from models.cluster.connection import connected
from tests.conftest import SHARED_DATA
from tests.daemon.archiving.conftest import Archive
from tests.pictures import KINDS, save
from tests.processes import PATIENCE, ROOT, environment, processes_named, wait_for

ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # those of Ray are not ours
]

HOSTILE = SHARED_DATA / "nasty_gofuzz"


@pytest.fixture
def large_archive(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """500 files, many batches: pictures, and hostile ones in each batch, where those are at hand."""
    monkeypatch.setattr(workers, "BATCH", 32)
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


def worker_processes() -> list[int]:
    """The processes of the engine's workers."""
    return processes_named("ray::Worker")


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
        for pid in worker_processes():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    tally = by_ray(large_archive, once(kill, 100))
    assert killed
    assert [row["uri"] for row in large_archive.rows()] == files(large_archive)
    assert tally.outcomes["unread"] == 0


#: ``archive``, which makes a file once it has looked at a hundred images.
ARCHIVE = """
import sys
from pathlib import Path
from daemon.commands import archive
from models.cluster import workers
from models.text.commandline import run

class Count:
    def update(self, count):
        if count >= 100:
            Path(sys.argv[1]).touch()

archive.Count = Count
workers.BATCH = 32
sys.exit(run(archive.main, sys.argv[2:]))
"""


def start_archive(archive: Archive, flag: Path, **more: str) -> subprocess.Popen[str]:
    given = [str(archive.inbox), "--manifest", str(archive.manifest), "--engine", "ray", "--threshold", "0"]
    given += ["--checkpoint", str(archive.settings.checkpoint), "--log-level", "WARNING"]
    return subprocess.Popen(
        [sys.executable, "-c", ARCHIVE, str(flag), *given],
        cwd=ROOT,
        env=environment() | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_when_the_head_is_killed_the_rows_are_kept(large_archive: Archive, tmp_path: Path) -> None:
    """It has all workers: another node might do the rest before it is noticed."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    head = started.address
    running = start_archive(large_archive, tmp_path / "flag", RAY_ADDRESS=head)
    wait_for((tmp_path / "flag").exists, "a hundred images")
    started.remove_node(started.head_node, allow_graceful=False)
    _, said = running.communicate(timeout=PATIENCE)
    started.shutdown()
    assert running.returncode == 2
    assert len(said.splitlines()) == 1
    assert f"the head of the Ray cluster, {head}, does not answer any more" in said
    assert 100 <= len(large_archive.rows()) < len(files(large_archive))
    large_archive.run()
    assert [row["uri"] for row in large_archive.rows()] == files(large_archive)


@pytest.mark.parametrize("token", [False, True])
def test_of_a_cluster_that_is_gone_one_sentence_is_said(archive: Archive, tmp_path: Path, *, token: bool) -> None:
    """It was killed with its machine, and what it left says where it was."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = f"127.0.0.1:{server.getsockname()[1]}"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(gone)
    more = {"RAY_TMPDIR": str(tmp_path)}
    if token:
        (tmp_path / "token").write_text("0123456789abcdef" * 4)
        more |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    running = start_archive(archive, tmp_path / "flag", **more)
    _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, said
    assert len(said.splitlines()) == 1
    assert f"the Ray cluster {gone} that was started here is gone" in said
    assert len(archive.rows()) == len(files(archive))
    named = start_archive(archive._replace(manifest=tmp_path / "other"), tmp_path / "flag", **more, RAY_ADDRESS=gone)
    _, said = named.communicate(timeout=PATIENCE)
    assert (named.returncode, len(said.splitlines())) == (2, 1)
    assert f"nothing answers at {gone}" in said


def test_two_jobs_have_clusters_of_their_own(tmp_path: Path) -> None:
    """A job whose cluster is that of another one would end with it."""
    code = "from models.cluster.connection import connected\nwith connected() as ray: print(ray.nodes()[0]['NodeID'])"
    with connected() as ray_here:
        other = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
        )
        assert other.stdout.split()[-1] != ray_here.nodes()[0]["NodeID"]


def test_no_worker_is_left_when_a_job_is_done(large_archive: Archive) -> None:
    by_ray(large_archive)
    deadline = time.monotonic() + 30
    while worker_processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert worker_processes() == []
