"""The engine of a cluster gives each image to a worker until it has one row, whichever workers are lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daemon import config
from daemon.archiving.manifest import table_of
from daemon.archiving.ray_engine import RayEngine
from daemon.archiving.ray_worker import Looked, Worker
from daemon.archiving.rows import Listed, hash_of
from daemon.commands.archive import main as archive_main
from daemon.reloading.checkpoint_source import checkpoint_file
from models.cluster import connection, workers
from models.cluster.nodes import Share, nodes
from models.cluster.workers import Work, Workers
from models.errors import UserError
from models.text.language import Language, use
from tests.daemon.archiving.conftest import Archive
from tests.one_process_ray import CallFailed, OneProcessRay, WorkerLost

DIGEST = "0" * 64


def listed(count: int) -> list[Listed]:
    uris = [f"file:///{number:05}.jpg" for number in range(count)]
    return [Listed(uri, hash_of(uri), 1, 1) for uri in uris]


def looked_at(images: Sequence[Listed]) -> Looked:
    return Looked(table_of([image.row("sure", DIGEST) for image in images]), ["a warning"])


@pytest.fixture
def look_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Do a job of some images by a Ray; returns the rows."""
    (tmp_path / "checkpoint.safetensors").write_bytes(b"weights")

    def run(ray: OneProcessRay, count: int, stopping: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []

        ray.use(monkeypatch)
        checkpoint = checkpoint_file(tmp_path / "checkpoint.safetensors")
        engine = RayEngine(
            config.load({}), checkpoint, DIGEST, "file:///", lambda table: rows.extend(table.to_pylist())
        )
        engine.look_at(listed(count), stopping)
        return rows

    return run


def test_every_image_has_one_row(look_at: Any, logged: list[str]) -> None:
    ray = OneProcessRay(looked_at)
    rows = look_at(ray, 3000)
    assert sorted(row["uri"] for row in rows) == [image.uri for image in listed(3000)]
    assert len(ray.handles) == 2
    assert all(handle.is_lost for handle in ray.handles)
    assert "a warning" in logged


def test_what_a_lost_worker_had_is_given_to_another_one(look_at: Any) -> None:
    calls = Counter[int]()

    def lose_now_and_then(images: Sequence[Listed]) -> Looked:
        calls[0] += 1
        if calls[0] % 3 == 2:
            raise WorkerLost("the worker died")
        return looked_at(images)

    rows = look_at(OneProcessRay(lose_now_and_then), 3000)
    assert sorted(row["uri"] for row in rows) == [image.uri for image in listed(3000)]
    assert {row["outcome"] for row in rows} == {"sure"}


@pytest.mark.parametrize("error", [WorkerLost("the worker died"), ValueError("a fault")])
def test_an_image_that_costs_every_worker_is_a_row_alone(look_at: Any, error: Exception) -> None:
    bad = {listed(3000)[number].uri for number in (0, 1, 777, 2999)}

    def lose(images: Sequence[Listed]) -> Looked:
        if bad & {image.uri for image in images}:
            raise error if isinstance(error, WorkerLost) else CallFailed(error)
        return looked_at(images)

    rows = look_at(OneProcessRay(lose), 3000)
    assert sorted(row["uri"] for row in rows) == [image.uri for image in listed(3000)]
    assert {row["uri"] for row in rows if row["outcome"] == "unread"} == bad
    assert all(str(error) in row["detail"] for row in rows if row["outcome"] == "unread")


def test_where_no_node_can_work_it_is_said_why(look_at: Any) -> None:
    with pytest.raises(UserError, match="one: file:/// is not a folder|two: file:/// is not a folder"):
        look_at(OneProcessRay(looked_at, problem="file:/// is not a folder"), 10)
    with pytest.raises(UserError, match="no machine of the Ray cluster"):
        look_at(OneProcessRay(looked_at, machines=[]), 10)


def test_where_no_worker_lasts_it_is_said_that_none_goes_on(look_at: Any) -> None:
    def lose(_: Sequence[Listed]) -> Looked:
        raise WorkerLost("the worker died")

    with pytest.raises(UserError, match="no machine of the Ray cluster can do this; (one|two): .*again") as raised:
        look_at(OneProcessRay(lose), 3000)
    assert "WorkerLost: the worker died" in str(raised.value)
    assert "another one goes on" not in str(raised.value)


def test_a_node_that_was_given_up_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker on it may answer all the same."""
    taken: list[Sequence[int]] = []

    def take(numbers: Sequence[int]) -> str | None:
        taken.append(numbers)
        return "a disk is missing" if len(taken) == 1 else None

    ray = OneProcessRay(lambda numbers: numbers, machines=["one"], cores=8)
    ray.use(monkeypatch)
    with pytest.raises(UserError, match="no machine of the Ray cluster can do this; one: a disk is missing"):
        Workers(Work[int, Sequence[int]](object, lambda _: lambda _: (), take, lambda *_: None)).look_at(range(3000))
    assert len(ray.handles) == 2
    assert len(taken) == 1


def test_while_another_job_has_the_cores_it_is_said_once(
    look_at: Any, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = iter(range(10))

    class BusyRay(OneProcessRay):
        def wait(self, refs: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
            return ([], refs) if next(busy, None) is not None else super().wait(refs, num_returns, timeout)

    monkeypatch.setattr(workers, "WAITING_SECONDS", 0.0)
    assert len(look_at(BusyRay(looked_at), 10)) == 10
    assert sum("another job may have its cores" in line for line in logged) == 1


def test_a_job_that_is_stopped_takes_what_is_answered(look_at: Any) -> None:
    asked = iter([False] * 3)
    ray = OneProcessRay(looked_at)
    rows = look_at(ray, 30_000, lambda: next(asked, True))
    assert ray.stopped
    assert 0 < len(rows) < 30_000
    assert len({row["uri"] for row in rows}) == len(rows)


def test_a_node_is_shared_out_by_gpus_or_cores() -> None:
    def shares(cores: int, gpus: int, *, with_gpus: bool) -> tuple[Share, ...]:
        node = {"NodeID": "1", "NodeManagerAddress": "1", "Alive": True, "Resources": {"CPU": cores, "GPU": gpus}}
        found = nodes(SimpleNamespace(nodes=lambda: [node]), with_gpus=with_gpus)
        return found[0].shares if found else ()

    assert shares(2, 0, with_gpus=False) == (Share(2, 0),)
    assert [share.cores for share in shares(9, 1, with_gpus=False)] == [3, 3, 3]
    assert shares(16, 2, with_gpus=True) == (Share(8, 1), Share(8, 1))
    assert shares(0, 0, with_gpus=False) == ()


def test_a_worker_makes_the_rows_of_the_local_engine(archive: Archive) -> None:
    archive.run()
    expected = [row | {"looked_at": None} for row in archive.rows()]
    checkpoint = archive.settings.checkpoint / "run" / "checkpoint.safetensors"
    worker = Worker(archive.settings, str(archive.inbox), checkpoint.read_bytes(), "en")
    assert worker.open() is None
    images = [Listed(row["uri"], row["uri_hash"], row["size"], row["mtime_ns"]) for row in expected]
    gone = Listed("file:///gone.jpg", hash_of("file:///gone.jpg"), 1, 1)
    rows = [*worker.look_at([*images[:5], gone]).rows.to_pylist(), *worker.look_at(images[5:]).rows.to_pylist()]
    worker.stop()
    assert len(worker.look_at(images).rows) < len(images)
    worker.close()
    assert sorted((row | {"looked_at": None} for row in rows), key=lambda row: row["uri"]) == expected


def test_a_worker_deletes_what_a_killed_one_left(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "imagesortd-worker-1/fetched").mkdir(parents=True)
    checkpoint = (archive.settings.checkpoint / "run" / "checkpoint.safetensors").read_bytes()
    two = [Worker(archive.settings, str(archive.inbox), checkpoint, "en") for _ in range(2)]
    assert [worker.open() for worker in two] == [None, None]
    left = {path.name for path in tmp_path.glob("imagesortd-*")}
    assert len(left) == 2
    assert "imagesortd-worker-1" not in left
    for worker in two:
        worker.close()
    assert not [*tmp_path.glob("imagesortd-*")]


@pytest.mark.parametrize(("spoken", "said"), [("en", "is not a folder"), ("ko", "폴더가 아닙니다")])
def test_a_worker_says_what_is_missing_on_its_node_in_the_language_of_the_command(
    archive: Archive, tmp_path: Path, spoken: Language, said: str
) -> None:
    worker = Worker(archive.settings, str(tmp_path / "unmounted"), b"", spoken)
    try:
        assert said in (worker.open() or "")
    finally:
        use("en")


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"install it with pip install '\.\[cluster\]'"):
        archive_main([str(tmp_path), "--manifest", str(tmp_path / "m"), "--engine", "ray"])
