"""Features of crops: ONNX Runtime on a CPU, torch where a backbone does not export.

A graph takes uint8 crops, normalises inside and gives raw features. It is exported once for each weights digest by a
child process (`models.export`), checked there against torch, and cached; a process that finds its graph in the cache
never imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from loguru import logger

from models import registry
from models.atomic import is_whole
from models.children import run_child
from models.engines import Crops, Device, Engine, Features, OnnxEngine, TorchEngine
from models.errors import UserError, WeightsUnavailable
from models.images import Transform
from models.registry import Backbone
from models.samples import enlarge
from models.text.language import tr
from models.weights import WeightsStore, unavailable

#: Raised when the exporter writes graphs differently, so that old ones are not used.
GRAPH_VERSION = 2

Precision = Literal["float32", "int8"]


class FeatureExtractor:
    """The backbones of one mode, ready to run."""

    def __init__(self, parts: Sequence[Backbone], engines: Sequence[Engine]) -> None:
        self.parts = tuple(parts)
        self._engines = tuple(engines)
        self._samples: tuple[Crops, Features] | None = None

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """How each part wants to see an image, in order."""
        return tuple(part.transform for part in self.parts)

    @property
    def width(self) -> int:
        """How many features an image has, all parts together."""
        return sum(part.width for part in self.parts)

    @property
    def engine(self) -> str:
        """What computes: ``onnxruntime``, ``onnxruntime int8``, ``torch``, or several where parts differ."""
        return "+".join(sorted({engine.name for engine in self._engines}))

    def engine_of(self, part: Backbone) -> Engine | None:
        """The engine of the very same backbone, if it is one of the parts: same weights, seen in the same way."""
        same = (part.name, part.digest, part.transform)
        pairs = zip(self.parts, self._engines, strict=True)
        return next((engine for own, engine in pairs if (own.name, own.digest, own.transform) == same), None)

    def runs(self, engines: Sequence[Engine]) -> bool:
        """Whether these are its engines, in this order."""
        return list(map(id, engines)) == list(map(id, self._engines))

    def features(self, crops: Sequence[Crops]) -> Features:
        """Raw features (n, width) of n images, given as one (n, side, side, 3) array for each part."""
        parts = [engine.features(each) for engine, each in zip(self._engines, crops, strict=True)]
        return np.concatenate(parts, axis=1)

    def part_features(self, part: int, crops: Crops) -> Features:
        """Raw features (n, width of the part) of n images by one part alone; ``crops`` are (n, side, side, 3)."""
        return self._engines[part].features(crops)

    def sample_features(self, pictures: Crops) -> Features:
        """Raw features (k, width) of golden samples (k, 32, 32, 3); of the same ones they are computed once."""
        samples = self._samples
        if samples is None or not np.array_equal(samples[0], pictures):
            samples = pictures, self.features([enlarge(pictures, each.crop) for each in self.transforms])
            self._samples = samples  # another thread may have put those of other pictures here meanwhile
        return samples[1]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def open_extractor(
    parts: Sequence[Backbone],
    store: WeightsStore,
    *,
    threads: int = 0,
    precision: Precision = "float32",
    device: Device = "cpu",
    beside: FeatureExtractor | None = None,
) -> FeatureExtractor:
    """Make the parts ready to run, exporting graphs that are not cached yet. ``threads`` 0 means one per core.

    ``beside`` is an extractor opened in the same manner: the parts that both have are loaded once.
    On ``cuda`` they run in torch, in half precision. Raises `UserError` where torch finds no such device.
    With ``int8`` the parts that are made of matrix products (transformers) run in int8, which changes their features
    a little: it is for the caller to judge whether that may be.
    """
    if device != "cpu":
        check_device(device)

    def engine(part: Backbone) -> Engine:
        shared = None if beside is None else beside.engine_of(part)
        if shared is not None:
            return shared
        if device != "cpu":
            return TorchEngine(part, threads or cores(), device)
        return (_int8_engine if precision == "int8" else _engine)(part, store, threads or cores())

    engines = [engine(part) for part in parts]
    if beside is not None and beside.runs(engines):
        return beside
    return FeatureExtractor(parts, engines)


def check_device(device: Device) -> None:
    """Raise `UserError` unless torch can use the device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(tr("the device cuda is not there, or this torch is a build without CUDA: use the device cpu"))


def _int8_engine(backbone: Backbone, store: WeightsStore, threads: int) -> Engine:
    """The part in int8, or in float32 where there is nothing to gain."""
    engine = _engine(backbone, store, threads)
    graph = graph_path(backbone, store)
    if not graph.is_file():
        return engine
    target = graph.with_name(f"{graph.stem}-int8.onnx")
    with store.locked(f"{graph.stem}.int8"):
        if not is_whole(target):
            try:
                run_child("models.quantize", str(graph), str(target))
            except WeightsUnavailable as error:
                logger.debug("{} stays in float32: {}", backbone.name, error)
                return engine
    return _cached(target, threads, "onnxruntime int8") or engine


def _engine(backbone: Backbone, store: WeightsStore, threads: int) -> Engine:
    graph = graph_path(backbone, store)
    if (engine := _cached(graph, threads)) is not None:
        return engine
    with store.locked(f"{graph.stem}.export"):
        if (engine := _cached(graph, threads)) is not None:
            return engine  # another process made it while this one waited
        if graph.is_file():
            logger.warning(
                tr(
                    "the graph of {name} in the cache is damaged and is made again: {graph}",
                    name=backbone.name,
                    graph=graph,
                )
            )
            graph.unlink()
        logger.info(tr("preparing the graph of {name}, once; this takes some seconds", name=backbone.name))
        failure = _export(backbone, graph)
        if failure is None and (engine := _cached(graph, threads)) is not None:
            return engine
    logger.warning(
        tr(
            "{name} runs in torch, slower and larger: its ONNX graph could not be made ({failure})",
            name=backbone.name,
            failure=failure or "it does not open",
        ),
    )
    return TorchEngine(backbone, threads)


def _cached(graph: Path, threads: int, name: str = "onnxruntime") -> OnnxEngine | None:
    """The engine of a graph in the cache; None where it is missing, or what a failing disk has left of it."""
    if not is_whole(graph):
        return None
    try:
        return OnnxEngine(graph, threads, name)
    except Exception:  # onnxruntime's errors have no common base
        return None


def graph_path(backbone: Backbone, store: WeightsStore) -> Path:
    """Where the graph of these weights, seen through this transform, is cached."""
    key = json.dumps([GRAPH_VERSION, backbone.name, backbone.digest, backbone.transform.fingerprint])
    return (
        store.folder("graphs")
        / f"{backbone.name.replace('/', '-')}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.onnx"
    )


def _export(backbone: Backbone, graph: Path) -> str | None:
    """Export in a child process; None, or why it did not work."""
    tuned = [str(backbone.tuned)] if backbone.tuned else []
    try:
        run_child("models.export", backbone.name, backbone.source, backbone.digest, str(graph), *tuned)
    except WeightsUnavailable as error:
        return str(error)
    return None


def select(mode: str, weights: Mapping[str, str], store: WeightsStore) -> tuple[Backbone, ...]:
    """The located backbones of a mode; ``weights`` gives a user's own source for parts by name.

    ``auto`` means hybrid where its weights can be had, else the embedded backbone, and a warning. Any other
    mode raises `WeightsUnavailable` when a part of it cannot be obtained, and `BackboneError` when it is unknown.
    """
    if mode != "auto":
        names = registry.parts_of(mode)
        if strangers := sorted(set(weights) - set(names)):
            raise WeightsUnavailable(
                tr(
                    "weights are given for {names}, which mode {mode} does not use: it uses {used}",
                    names=", ".join(strangers),
                    mode=mode,
                    used=", ".join(names),
                )
            )
        located, missing = _locate(names, weights, store)
        if missing:
            raise unavailable(missing)
        return located
    located, missing = _locate(registry.parts_of("hybrid"), weights, store)
    if not missing:
        return located
    if weights:
        raise unavailable(missing)
    logger.warning(
        tr(
            "mode auto uses {embedded} alone, since weights are missing ({names}); this tells why, and how to get "
            "them: python -m models pull hybrid",
            embedded=registry.EMBEDDED,
            names=", ".join(missing),
        ),
    )
    logger.debug(str(unavailable(missing)))
    return (registry.locate(registry.EMBEDDED, None, store),)


def _locate(
    names: Sequence[str], weights: Mapping[str, str], store: WeightsStore
) -> tuple[tuple[Backbone, ...], dict[str, WeightsUnavailable]]:
    """The parts that are there, and what is wrong with the others by name."""
    located: list[Backbone] = []
    missing: dict[str, WeightsUnavailable] = {}
    for name in names:
        try:
            located.append(registry.locate(name, weights.get(name), store))
        except WeightsUnavailable as error:
            missing[name] = error
    return tuple(located), missing
