"""The runtime: graphs are made once, whoever asks, and a damaged cache costs time but not the service."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from models import registry
from models.checkpoints import tuned
from models.checkpoints.tuned import tuned_backbone
from models.errors import UserError, WeightsUnavailable
from models.inference import export, runtime
from models.inference.engines import OnnxEngine, TorchEngine
from models.inference.runtime import cores, graph_path, open_extractor
from models.registry import Backbone
from models.weights.store import WeightsStore
from tests.conftest import crops


@pytest.fixture(scope="module")
def clip(tiny_clip: Path, store: WeightsStore) -> Backbone:
    """The tiny CLIP; its graph is in the shared cache."""
    located = registry.locate("clip", str(tiny_clip), store)
    open_extractor([located], store)
    return located


@pytest.fixture
def own(tmp_path: Path, clip: Backbone, store: WeightsStore) -> WeightsStore:
    """A cache of its own that has the tiny CLIP's graph."""
    own = WeightsStore(tmp_path / "cache")
    for suffix in ("", ".sha256"):
        shutil.copy(f"{graph_path(clip, store)}{suffix}", f"{graph_path(clip, own)}{suffix}")
    return own


def flipped(data: bytes) -> bytes:
    """One bit in the middle of the weights is another: the graph still opens, and computes something else."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x40]) + data[middle + 1 :]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Export in this process, which has torch already; the modules that would have run in a child."""
    asked: list[str] = []

    def run_child(module: str, *arguments: str) -> str:
        asked.append(module)
        export.main(*arguments)
        return ""

    monkeypatch.setattr(runtime, "run_child", run_child)
    return asked


def features(backbone: Backbone, store: WeightsStore) -> Any:
    return open_extractor([backbone], store).features([crops(3, 64)])


def test_the_number_of_threads_is_what_was_asked_for(clip: Backbone, store: WeightsStore) -> None:
    for asked, given in ((1, 1), (3, 3), (0, cores())):
        engine = open_extractor([clip], store, threads=asked).engine_of(clip)
        assert isinstance(engine, OnnxEngine)
        assert engine.threads == given
    alone = open_extractor([clip], store, threads=1).features([crops(3, 64)])
    np.testing.assert_allclose(alone, features(clip, store), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "spoil", [lambda data: b"", lambda data: b"garbage" * 99, lambda data: data[: len(data) // 2], flipped]
)
def test_a_damaged_graph_is_made_again_once(
    clip: Backbone, own: WeightsStore, children: list[str], logged: list[str], spoil: Callable[[bytes], bytes]
) -> None:
    graph = graph_path(clip, own)
    expected = features(clip, own)
    assert children == []
    graph.write_bytes(spoil(graph.read_bytes()))
    np.testing.assert_array_equal(features(clip, own), expected)
    np.testing.assert_array_equal(features(clip, own), expected)
    assert children == ["models.inference.export"]
    assert len([line for line in logged if "is damaged and is exported again" in line]) == 1
    assert list(graph.parent.glob("*.onnx")) == [graph]


def test_torch_computes_where_the_graph_cannot_be_made_again(
    clip: Backbone, own: WeightsStore, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    def failing(*_: str) -> str:
        raise WeightsUnavailable("the disk is full")

    def garbage(_: str, *arguments: str) -> str:
        Path(arguments[3]).write_bytes(b"garbage")
        return ""

    expected = features(clip, own)
    for run_child, reason in ((failing, "the disk is full"), (garbage, "it does not open")):
        monkeypatch.setattr(runtime, "run_child", run_child)
        graph_path(clip, own).write_bytes(b"garbage")
        extractor = open_extractor([clip], own)
        assert extractor.engine == "torch"
        np.testing.assert_allclose(extractor.features([crops(3, 64)]), expected, rtol=1e-3, atol=1e-4)
        assert f"its ONNX graph could not be made ({reason})" in logged[-1]


def test_a_graph_that_cannot_be_made_in_this_cache_is_said(clip: Backbone, own: WeightsStore) -> None:
    graph_path(clip, own).unlink()
    (own.root / "locks").write_text("a file in the way")
    with pytest.raises(UserError, match="give a writable one with --cache-dir"):
        open_extractor([clip], own)


EXPORT = """
import sys
from pathlib import Path
from models import registry
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore

store = WeightsStore(Path(sys.argv[1]))
extractor = open_extractor([registry.locate("clip", sys.argv[2], store)], store)
print(extractor.engine, "torch" in sys.modules)
"""


@pytest.mark.slow
def test_two_processes_on_an_empty_cache_make_one_graph(clip: Backbone, tmp_path: Path, store: WeightsStore) -> None:
    command = [sys.executable, "-c", EXPORT, str(tmp_path), clip.source]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate() for each in both]
    assert [printed for printed, _ in said] == ["onnxruntime False\n"] * 2
    assert sum("exporting the graph of clip" in logged for _, logged in said) == 1
    own = WeightsStore(tmp_path)
    assert list((tmp_path / "graphs").glob("*.onnx")) == [graph_path(clip, own)]
    np.testing.assert_array_equal(features(clip, own), features(clip, store))


def test_nothing_but_an_agreeing_graph_enters_the_cache(
    clip: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreement = export.check_graph

    def other(backbone: Backbone, graph: Path, batch: Any, expected: Any) -> None:
        agreement(backbone, graph, batch, expected)
        with pytest.raises(WeightsUnavailable, match=r"disagrees with torch: cosine -1"):
            agreement(backbone, graph, batch, np.full_like(expected, np.nan))
        with pytest.raises(WeightsUnavailable, match="gives features"):
            agreement(replace(backbone, width=5), graph, batch, expected)
        agreement(backbone, graph, batch, -expected)

    monkeypatch.setattr(export, "check_graph", other)
    with pytest.raises(WeightsUnavailable, match="the graph of clip disagrees with torch: cosine -1.0"):
        export.export(clip, tmp_path / "clip.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_changed_in_the_meantime_are_not_exported(clip: Backbone, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="is not what it was: sha256"):
        export.main(clip.name, clip.source, "0" * 64, str(tmp_path / "graphs" / "clip.onnx"))


def test_photographs_are_among_the_crops_that_graphs_are_checked_on(clip: Backbone) -> None:
    checked = export.check_crops(clip)
    assert checked.shape[1:] == (64, 64, 3)
    assert len(checked) == 6


def test_graphs_are_told_apart_by_everything_that_shapes_them(clip: Backbone, store: WeightsStore) -> None:
    other = replace(clip.transform, mean=(0.1, 0.2, 0.3))
    variants = [clip, replace(clip, digest="0" * 64), replace(clip, name="klip"), replace(clip, transform=other)]
    assert len({graph_path(each, store) for each in variants}) == len(variants)


def test_no_name_leads_out_of_the_cache(clip: Backbone, own: WeightsStore) -> None:
    for name in ("../../x", "/etc/x", "timm/x", ".."):
        named = replace(clip, name=name)
        changed = tuned_backbone(named, {"w": np.zeros(2, np.float32)}, own)
        assert changed.tuned is not None
        assert changed.tuned.parent == own.root / "tuned"
        assert graph_path(named, own).parent == own.root / "graphs"


def test_fine_tuned_weights_are_known_by_their_values(clip: Backbone, own: WeightsStore) -> None:
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7), "c": np.ones(2, np.float16)}
    first = tuned_backbone(clip, tensors, own)
    again = tuned_backbone(clip, {name: np.asarray(tensors[name], order="F") for name in sorted(tensors)}, own)
    assert again == first
    assert first.digest != clip.digest
    assert len(list((own.root / "tuned").iterdir())) == 1
    for name, value in (("b", tensors["b"] + 1), ("a", np.array([7])), ("c", tensors["c"].astype(np.float32))):
        assert tuned_backbone(clip, {**tensors, name: value}, own).digest != first.digest


def test_fine_tuned_weights_that_were_not_used_for_long_leave_the_cache_with_their_graphs(
    clip: Backbone, own: WeightsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned, "MOST", 2)
    made = []
    for value in range(4):
        backbone = tuned_backbone(clip, {"w": np.full(2, value, np.float32)}, own)
        assert backbone.tuned is not None
        made.append(backbone)
        for path in (graph := graph_path(backbone, own), graph.with_name(f"{graph.stem}-int8.onnx")):
            path.touch()
            path.with_name(f"{path.name}.sha256").touch()
        os.utime(backbone.tuned, (value, value))
        if value == 2:
            tuned_backbone(clip, {"w": np.full(2, 1, np.float32)}, own)  # in use again
    longer = tuned_backbone(replace(clip, name="clip-large"), {"w": np.zeros(2, np.float32)}, own)
    there = [each.tuned is not None and each.tuned.is_file() for each in (*made, longer)]
    assert there == [False, True, False, True, True]
    assert [graph_path(each, own).is_file() for each in made] == there[:4]
    assert len(list((own.root / "graphs").iterdir())) == 2 + 2 * 4, "the one that was not fine-tuned, and two"


def test_a_warm_process_does_not_import_torch(clip: Backbone, store: WeightsStore) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, str(store.root), clip.source], capture_output=True, text=True, check=True
    )
    assert done.stdout == "onnxruntime False\n"


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_an_engine_that_nobody_uses_is_gone_at_once(
    clip: Backbone, store: WeightsStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that goes over to another model does not look for cycles then: it would keep images waiting."""
    models: list[weakref.ref[Any]] = []

    def watched(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **more: Any) -> Any:
            model = make(*arguments, **more)
            models.append(weakref.ref(model))
            return model

        return made

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched(onnxruntime.InferenceSession))
    graph, fresh = graph_path(clip, store), replace(clip, module=watched(clip.module))
    models.clear()  # of those that checked the graph
    engine = OnnxEngine(graph, 2) if kind == "onnx" else TorchEngine(fresh, 2)
    engine.features(crops(8, clip.transform.crop))
    gc.collect()
    (model,) = models
    assert model() is not None
    gc.disable()
    try:
        del engine
        assert model() is None
    finally:
        gc.enable()
