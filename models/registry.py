"""The registry of backbones: a name stands for an architecture, its transform and where its weights come from.

A backbone is added by adding a file to ``models/backbones/`` whose builder is decorated with `register_backbone`.
Nothing in here imports torch, so that listing the registry is quick and the service stays small.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .errors import BackboneError
from .images import Transform
from .weights import Weights, WeightsSource, WeightsStore

if TYPE_CHECKING:
    import torch

#: The backbone whose weights install with the package.
EMBEDDED = "efficientnet_lite0"

#: The classifier a backbone was pretrained with, over its raw features: weight (k, width), bias (k,).
PretrainedHead = Callable[[], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
TextEncoder = Callable[[Sequence[str]], npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone whose weights are here.

    ``module()`` builds it in torch: normalised float32 images (n, 3, side, side) in, raw features (n, width) out.
    ``imagenet_head`` gives its own classifier of the 1,000 ImageNet classes, where it is known.
    ``text`` maps k prompts to embeddings (k, width) in the same space, for backbones that read text.
    ``tuned`` names fine-tuned weights that replace the original ones; ``digest`` is then theirs.
    """

    name: str
    source: str
    digest: str
    transform: Transform
    width: int
    module: Callable[[], torch.nn.Module]
    imagenet_head: PretrainedHead | None = None
    text: TextEncoder | None = None
    tuned: Path | None = None


Builder = Callable[[Weights], Backbone]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the registry knows of a backbone before any weights are looked for."""

    name: str
    description: str
    transform: Transform
    width: int
    weights: WeightsSource
    licence: str
    build: Builder


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A name for several backbones whose features are concatenated."""

    name: str
    description: str
    parts: tuple[str, ...]


_entries: dict[str, Entry] = {}
_compositions: dict[str, Composition] = {}


def register_backbone(
    name: str, *, description: str, transform: Transform, width: int, weights: WeightsSource, licence: str
) -> Callable[[Builder], Builder]:
    """Register the decorated builder, which turns located weights into a `Backbone`, under ``name``."""

    def register(build: Builder) -> Builder:
        _claim(name)
        _entries[name] = Entry(
            name=name,
            description=description,
            transform=transform,
            width=width,
            weights=weights,
            licence=licence,
            build=build,
        )
        return build

    return register


def register_composition(name: str, parts: Sequence[str], *, description: str) -> None:
    """Give a combination of registered backbones a name of its own."""
    _claim(name)
    _compositions[name] = Composition(name=name, description=description, parts=tuple(parts))


def _claim(name: str) -> None:
    if name in _entries or name in _compositions:
        raise BackboneError(f"two backbones are registered as {name!r}: remove one of them")


@cache
def _scan() -> None:
    from . import backbones

    for module in sorted(found.name for found in pkgutil.iter_modules(backbones.__path__)):
        importlib.import_module(f"{backbones.__name__}.{module}")


def entries() -> dict[str, Entry]:
    """Every registered backbone by name."""
    _scan()
    return dict(sorted(_entries.items()))


def compositions() -> dict[str, Composition]:
    """Every named composition by name."""
    _scan()
    return dict(sorted(_compositions.items()))


def parts_of(mode: str) -> tuple[str, ...]:
    """The backbones a mode stands for: ``hybrid`` and any ``a+b`` are several. Raises `BackboneError`."""
    _scan()
    parts: list[str] = []
    for name in mode.split("+"):
        if name in _compositions:
            parts += _compositions[name].parts
        elif name in _entries:
            parts.append(name)
        else:
            known = ", ".join(sorted([*_entries, *_compositions]))
            raise BackboneError(f"there is no backbone {name!r}: choose one of {known}, or join several with +")
    if len(set(parts)) < len(parts):
        raise BackboneError(f"mode {mode!r} names the same backbone twice: name each once")
    return tuple(parts)


def locate(name: str, weights: str | None, store: WeightsStore) -> Backbone:
    """Find the weights of one backbone (``weights``: a user's own file, folder or hub id) and build its description.

    Raises `BackboneError` for an unknown name and `WeightsUnavailable` when the weights are not to be had.
    """
    found = entries().get(name)
    if found is None:
        raise BackboneError(f"there is no backbone {name!r}: choose one of {', '.join(entries())}")
    return found.build(found.weights.locate(weights, store))
