"""Locate the backbones of a mode, and compute features of crops with them.

On a CPU they run in ONNX Runtime, or in torch if a backbone cannot be exported. A graph takes uint8 crops, normalises
them and outputs raw features. It is exported once for each weights digest by a child process
(`models.inference.export`), checked there against torch, and cached; a process that finds its graph in the cache
never imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from loguru import logger

from models import registry
from models.children import run_child
from models.decoding.images import Transform
from models.errors import UserError, WeightsUnavailable
from models.files.atomic import is_intact
from models.inference.devices import Device, Precision
from models.inference.engines import Crops, Engine, Features, OnnxEngine, TorchEngine
from models.inference.samples import enlarge
from models.registry import Backbone
from models.text.language import tr
from models.weights.store import WeightsStore, unavailable

#: Increment when the exporter writes graphs differently, so that cached ones are not used.
GRAPH_VERSION = 2


class FeatureExtractor:
    """The backbones of one mode, ready to run."""

    def __init__(self, parts: Sequence[Backbone], engines: Sequence[Engine]) -> None:
        self.parts = tuple(parts)
        self._engines = tuple(engines)
        self._samples: tuple[Crops, Features] | None = None

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transform of each part, in order."""
        return tuple(part.transform for part in self.parts)

    @property
    def width(self) -> int:
        """The number of features per image, all parts together."""
        return sum(part.width for part in self.parts)

    @property
    def engine(self) -> str:
        """The names of the engines: ``onnxruntime``, ``onnxruntime int8`` or ``torch``, joined by + if parts differ."""
        return "+".join(sorted({engine.name for engine in self._engines}))

    def engine_of(self, part: Backbone) -> Engine | None:
        """Return the engine of the part with the same name, weights and transform; None if there is none."""
        key = (part.name, part.digest, part.transform)
        pairs = zip(self.parts, self._engines, strict=True)
        return next((engine for own, engine in pairs if (own.name, own.digest, own.transform) == key), None)

    def uses(self, engines: Sequence[Engine]) -> bool:
        """Return whether its engines are these very objects, in this order."""
        return list(map(id, engines)) == list(map(id, self._engines))

    def features(self, crops: Sequence[Crops]) -> Features:
        """Compute raw features (n, width) of n images; ``crops`` is one (n, side, side, 3) array per part."""
        parts = [engine.features(part_crops) for engine, part_crops in zip(self._engines, crops, strict=True)]
        return np.concatenate(parts, axis=1)

    def part_features(self, part: int, crops: Crops) -> Features:
        """Compute raw features (n, width of the part) of crops (n, side, side, 3) by one part alone."""
        return self._engines[part].features(crops)

    def sample_features(self, pictures: Crops) -> Features:
        """Compute raw features (k, width) of golden samples (k, 32, 32, 3); those of the last call are cached."""
        samples = self._samples
        if samples is None or not np.array_equal(samples[0], pictures):
            samples = pictures, self.features([enlarge(pictures, transform.crop) for transform in self.transforms])
            self._samples = samples  # another thread may have replaced it meanwhile, so return the local one
        return samples[1]


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def open_extractor(
    parts: Sequence[Backbone],
    store: WeightsStore,
    *,
    threads: int = 0,
    precision: Precision = "float32",
    device: Device = "cpu",
    reuse: FeatureExtractor | None = None,
) -> FeatureExtractor:
    """Open an engine for each part, exporting graphs that are not cached yet. ``threads`` 0 means one per core.

    ``reuse`` is an extractor opened with the same options: the parts that both have are loaded only once.
    On ``cuda`` the parts run in torch, in half precision. Raises `UserError` if torch finds no such device.
    With ``int8`` the parts that consist of matrix products (transformers) run in int8, which changes their features
    slightly: the caller must check that they are still good enough.
    """
    if device != "cpu":
        check_device(device)

    def open_engine(part: Backbone) -> Engine:
        shared = None if reuse is None else reuse.engine_of(part)
        if shared is not None:
            return shared
        if device != "cpu":
            return TorchEngine(part, threads or cores(), device)
        return (_int8_engine if precision == "int8" else _onnx_engine)(part, store, threads or cores())

    engines = [open_engine(part) for part in parts]
    if reuse is not None and reuse.uses(engines):
        return reuse
    return FeatureExtractor(parts, engines)


def check_device(device: Device) -> None:
    """Raise `UserError` unless torch can use the device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(tr("there is no CUDA device, or this torch was built without CUDA: use the device cpu"))


def _int8_engine(backbone: Backbone, store: WeightsStore, threads: int) -> Engine:
    """Open a backbone in int8, or in float32 if int8 gains nothing."""
    engine = _onnx_engine(backbone, store, threads)
    graph = graph_path(backbone, store)
    if not graph.is_file():
        return engine
    target = graph.with_name(f"{graph.stem}-int8.onnx")
    with store.locked(f"{graph.stem}.int8"):
        if not is_intact(target):
            try:
                run_child("models.inference.quantize", str(graph), str(target))
            except WeightsUnavailable as error:
                logger.debug("{} stays in float32: {}", backbone.name, error)
                return engine
    return _cached(target, threads, "onnxruntime int8") or engine


def _onnx_engine(backbone: Backbone, store: WeightsStore, threads: int) -> Engine:
    """Open the graph of a backbone, exporting it if it is not cached; fall back to torch if that fails."""
    graph = graph_path(backbone, store)
    if (engine := _cached(graph, threads)) is not None:
        return engine
    with store.locked(f"{graph.stem}.export"):
        if (engine := _cached(graph, threads)) is not None:
            return engine  # exported by another process while this one waited for the lock
        if graph.is_file():
            logger.warning(
                tr(
                    "the cached graph of {name} is damaged and is exported again: {graph}",
                    name=backbone.name,
                    graph=graph,
                )
            )
            graph.unlink()
        logger.info(tr("exporting the graph of {name}; this happens once and takes some seconds", name=backbone.name))
        failure = _export(backbone, graph)
        if failure is None and (engine := _cached(graph, threads)) is not None:
            return engine
    logger.warning(
        tr(
            "{name} runs in torch, which is slower and takes more memory: its ONNX graph could not be made ({failure})",
            name=backbone.name,
            failure=failure or "it does not open",
        ),
    )
    return TorchEngine(backbone, threads)


def _cached(graph: Path, threads: int, name: str = "onnxruntime") -> OnnxEngine | None:
    """Open a graph in the cache; None if it is missing or damaged."""
    if not is_intact(graph):
        return None
    try:
        return OnnxEngine(graph, threads, name)
    except Exception:  # the errors of onnxruntime have no common base class
        return None


def graph_path(backbone: Backbone, store: WeightsStore) -> Path:
    """Return the path in the cache for the graph of these weights and this transform."""
    key = json.dumps([GRAPH_VERSION, backbone.name, backbone.digest, backbone.transform.fingerprint])
    return (
        store.folder("graphs")
        / f"{backbone.name.replace('/', '-')}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.onnx"
    )


def _export(backbone: Backbone, graph: Path) -> str | None:
    """Export a graph in a child process. Returns why that failed, None if it did not."""
    tuned_arguments = [str(backbone.tuned)] if backbone.tuned else []
    try:
        run_child(
            "models.inference.export", backbone.name, backbone.source, backbone.digest, str(graph), *tuned_arguments
        )
    except WeightsUnavailable as error:
        return str(error)
    return None


def locate_backbones(mode: str, weights: Mapping[str, str], store: WeightsStore) -> tuple[Backbone, ...]:
    """Locate the backbones of a mode; ``weights`` maps names of parts to a user's own sources.

    ``auto`` means hybrid if its weights can be obtained, else those backbones of mode embedded that are installed, with
    a warning; a fit serves one alone unless both are better. Any other mode raises `WeightsUnavailable` when a part
    cannot be obtained, and `BackboneError` when it is unknown.
    """
    if mode != "auto":
        names = registry.parts_of(mode)
        if unused := sorted(set(weights) - set(names)):
            raise WeightsUnavailable(
                tr(
                    "weights are given for {names}, which mode {mode} does not use: it uses {used}",
                    names=", ".join(unused),
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
    located, _ = _locate(registry.parts_of("embedded"), {}, store)
    if len(located) > 1:
        warning = tr(
            "mode auto tries {embedded} because weights are missing ({names}); to see why and how to get them, run "
            "python -m models pull hybrid",
            embedded="embedded",
            names=", ".join(missing),
        )
    else:
        warning = tr(
            "mode auto uses {embedded} alone because weights are missing ({names}); to see why and how to get them, "
            "run python -m models pull hybrid",
            embedded=registry.EMBEDDED,
            names=", ".join(missing),
        )
    logger.warning(warning)
    logger.debug(str(unavailable(missing)))
    return located or (registry.locate(registry.EMBEDDED, None, store),)


def _locate(
    names: Sequence[str], weights: Mapping[str, str], store: WeightsStore
) -> tuple[tuple[Backbone, ...], dict[str, WeightsUnavailable]]:
    """Locate parts. Returns those found, and the errors of the others by name."""
    located: list[Backbone] = []
    missing: dict[str, WeightsUnavailable] = {}
    for name in names:
        try:
            located.append(registry.locate(name, weights.get(name), store))
        except WeightsUnavailable as error:
            missing[name] = error
    return tuple(located), missing
