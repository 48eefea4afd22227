"""A cluster computes what this machine would: the same features, refused images, cache and checkpoint."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints.checkpoint import FILE_NAME, read
from models.cluster import connection, workers
from models.cluster.workers import BATCH
from models.errors import UserError
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.text.language import use
from models.weights.store import WeightsStore
from tests.one_process_ray import CallFailed, OneProcessRay, WorkerLost
from tests.processes import processes_named
from tests.trainer.conftest import make_shapes
from trainer.__main__ import main as trainer_main
from trainer.data.cache import FeatureCache
from trainer.data.cluster_features import extract_by_ray
from trainer.data.cluster_worker import FeatureWorker, Needed, Numbered
from trainer.data.dataset import ClassFolders, scan
from trainer.data.features import Extracted, extract
from trainer.fit import fit
from trainer.fitted import EngineName, FitOptions

#: What several batches need to be.
SMALL = 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> ClassFolders:
    """Pictures of three classes, one of them twice, and files that cannot be read. Not to be changed."""
    root = make_shapes(tmp_path_factory.mktemp("shapes"), 7)
    (root / "circle" / "empty.jpg").touch()
    (root / "cross" / "text.png").write_text("not a picture")
    shutil.copy(root / "square" / "000.png", root / "square" / "999.png")
    return scan(root)


@pytest.fixture
def extractor(store: WeightsStore) -> FeatureExtractor:
    return open_extractor(locate_backbones("efficientnet_lite0", {}, store), store)


@pytest.fixture
def by_ray(
    folders: ClassFolders, extractor: FeatureExtractor, store: WeightsStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Extracted]:
    """Compute by a Ray, with a cache in a folder."""
    assert BATCH > SMALL
    monkeypatch.setattr(workers, "BATCH", SMALL)

    def run(ray: OneProcessRay, cache: Path, weights: dict[str, str] | None = None) -> Extracted:
        ray.use(monkeypatch)
        with FeatureCache(extractor.parts, WeightsStore(cache)) as opened:
            return extract_by_ray(folders.files, extractor, opened, weights or {}, store.root)

    return run


def local(folders: ClassFolders, extractor: FeatureExtractor, cache: Path) -> Extracted:
    with FeatureCache(extractor.parts, WeightsStore(cache)) as opened:
        return extract(folders.files, extractor, opened)


def same(first: Extracted, second: Extracted) -> bool:
    """Whether two passes found the same, whatever time they took."""
    plain, other = ({**vars(each), "seconds": 0, "features": each.features.tolist()} for each in (first, second))
    return plain == other


def test_it_is_what_this_machine_computes(
    folders: ClassFolders, extractor: FeatureExtractor, by_ray: Callable[..., Extracted], tmp_path: Path
) -> None:
    expected = local(folders, extractor, tmp_path / "local")
    assert len(expected.unreadable) == 2
    assert same(by_ray(OneProcessRay(), tmp_path / "ray"), expected)
    again = local(folders, extractor, tmp_path / "ray")
    assert again.cached == len(again.samples) == 22
    assert (again.features == expected.features).all()
    assert same(by_ray(OneProcessRay(), tmp_path / "local"), again)


@pytest.mark.parametrize("error", [WorkerLost("the worker died"), CallFailed(MemoryError("no memory"))])
def test_a_picture_that_ends_every_worker_is_left_out_alone(
    by_ray: Callable[..., Extracted], tmp_path: Path, error: Exception
) -> None:
    bad = {"circle/003.png", "square/999.png"}

    def lose(files: Sequence[Numbered]) -> None:
        if bad & {each.file.name for each in files}:
            raise error

    found = by_ray(OneProcessRay(before=lose), tmp_path)
    assert len(found.samples) == 20
    assert {each.name for each in found.unreadable if each.reason == "crashed-decoder"} == bad


def hide(names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers not find files that are there."""
    look_at = FeatureWorker.look_at

    def without(worker: FeatureWorker, files: Sequence[Numbered]) -> Any:
        elsewhere = [
            each._replace(file=replace(each.file, path=Path("/unmounted"))) if each.file.name in names else each
            for each in files
        ]
        return look_at(worker, elsewhere)

    monkeypatch.setattr(FeatureWorker, "look_at", without)


def test_a_node_without_the_files_is_given_none(
    by_ray: Callable[..., Extracted], folders: ClassFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide({file.name for file in folders.files}, monkeypatch)
    with pytest.raises(UserError, match=r"(one|two): .*can be read where the command runs, and not there"):
        by_ray(OneProcessRay(), tmp_path / "cache")


def test_a_file_that_could_not_be_read_for_a_moment_is_read_here(
    folders: ClassFolders,
    extractor: FeatureExtractor,
    by_ray: Callable[..., Extracted],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = local(folders, extractor, tmp_path / "local")
    hide({folders.files[8].name, folders.files[-1].name}, monkeypatch)
    assert same(by_ray(OneProcessRay(), tmp_path / "ray"), expected)


def test_a_worker_speaks_the_language_of_the_command(store: WeightsStore) -> None:
    needed = Needed({"efficientnet_lite0": "0" * 64}, {}, (), store.root, "ko")
    try:
        assert "efficientnet_lite0의 가중치가" in (FeatureWorker(needed, [frozenset()], 1).open() or "")
    finally:
        use("en")


def test_other_weights_on_a_node_are_refused(
    by_ray: Callable[..., Extracted], extractor: FeatureExtractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [replace(part, digest="0" * 64) for part in extractor.parts]
    monkeypatch.setattr(extractor, "parts", tuple(others))
    with pytest.raises(UserError, match="the weights of efficientnet_lite0 here differ"):
        by_ray(OneProcessRay(), tmp_path)


def test_what_the_cache_loses_meanwhile_is_computed_here(
    folders: ClassFolders, extractor: FeatureExtractor, by_ray: Callable[..., Extracted], tmp_path: Path
) -> None:
    expected = local(folders, extractor, tmp_path)

    def lose(_: Sequence[Numbered]) -> None:
        with sqlite3.connect(tmp_path / "features" / "features.sqlite") as database:
            database.execute("DELETE FROM entries")

    found = by_ray(OneProcessRay(before=lose), tmp_path)
    assert (found.features == expected.features).all()
    assert (found.samples, found.hashes) == (expected.samples, expected.hashes)


def test_a_fit_makes_the_same_checkpoint(
    folders: ClassFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OneProcessRay().use(monkeypatch)
    monkeypatch.chdir(folders.root.parent)
    engines: tuple[EngineName, ...] = ("local", "ray")
    files = [
        fit(
            FitOptions(
                data_dir=Path(folders.root.name),
                mode="efficientnet_lite0",
                engine=engine,
                output_dir=tmp_path,
                publish="never",
                cache_size=0,
            )
        ).run
        / FILE_NAME
        for engine in engines
    ]
    first, second = (file.read_bytes().replace(read(file).metadata.created.encode(), b"") for file in files)
    assert second == first


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Ray are not ours
def test_workers_of_a_real_cluster_that_are_killed_cost_nothing(
    extractor: FeatureExtractor, store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    monkeypatch.setattr(workers, "BATCH", SMALL)
    folders = scan(make_shapes(tmp_path / "shapes", 60))
    expected = local(folders, extractor, tmp_path / "local")
    killed: list[int] = []

    class Killing(FeatureCache):
        def put_perceptual_hash(self, *arguments: Any) -> None:
            super().put_perceptual_hash(*arguments)
            if not killed:
                killed.extend(processes_named("ray::FeatureWorker"))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)

    with Killing(extractor.parts, WeightsStore(tmp_path / "ray")) as opened:
        found = extract_by_ray(folders.files, extractor, opened, {}, store.root)
    assert killed
    assert same(found, expected)
    assert same(local(folders, extractor, tmp_path / "ray"), local(folders, extractor, tmp_path / "local"))


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"install it with pip install '\.\[cluster\]'"):
        trainer_main(["fit", "--data-dir", str(tmp_path), "--engine", "ray"])
