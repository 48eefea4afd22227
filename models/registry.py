"""The registry of backbones: each name maps to an architecture, its transform and the source of its weights.

To add a backbone, add a file to ``models/backbones/`` whose builder is decorated with `register_backbone`, or install a
package with an entry point in the group `allowed.ENTRY_POINTS` that names such a module, and allow it with
`allow_plugins`.
This module never imports torch, so that listing the registry is quick and the service stays small.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from loguru import logger

from models.allowed import ENTRY_POINTS, PLUGINS_VARIABLE, allowed_plugins, report_missing
from models.compat import patch_torchvision
from models.decoding.images import Transform
from models.errors import BackboneError
from models.text.language import tr
from models.text.spelling import closest
from models.weights.store import Weights, WeightsSource, WeightsStore

if TYPE_CHECKING:
    import torch

#: The backbone whose weights are installed with the package.
EMBEDDED = "efficientnet_lite0"

#: Loads the classifier that a backbone was pretrained with, over its raw features: weight (k, width), bias (k,).
PretrainedHead = Callable[[], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class TextTower:
    """The loaded text encoder of a backbone.

    ``embed`` maps k prompts to embeddings (k, width) in the space of the image features. For an image and a prompt
    whose embeddings have the cosine c, the model was trained to output the logit ``scale * c + bias``. ``reads`` tells
    whether the tokenizer knows all characters of a text; if not, the embedding is meaningless.
    """

    embed: Callable[[Sequence[str]], npt.NDArray[np.float32]]
    scale: float
    bias: float
    reads: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone whose weights have been located.

    ``module()`` builds it in torch: normalised float32 images (n, 3, side, side) in, raw features (n, width) out.
    ``imagenet_head()`` loads its own classifier of the 1,000 ImageNet classes, if it has one.
    ``text()`` loads its `TextTower` (torch), if it has one.
    ``tuned`` is the file of fine-tuned weights that replace the original ones; ``digest`` is then that of the file.
    """

    name: str
    source: str
    digest: str
    transform: Transform
    width: int
    module: Callable[[], torch.nn.Module]
    imagenet_head: PretrainedHead | None = None
    text: Callable[[], TextTower] | None = None
    tuned: Path | None = None


Builder = Callable[[Weights], Backbone]


@dataclass(frozen=True, kw_only=True)
class BackboneEntry:
    """A registered backbone, before its weights are located."""

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


@dataclass(frozen=True, kw_only=True)
class Family:
    """All backbones whose names share a prefix; ``entry`` returns the entry for any such name."""

    prefix: str
    description: str
    entry: Callable[[str], BackboneEntry]


_Item = TypeVar("_Item")


class Snapshot(NamedTuple):
    """What is registered, by name, and the plug-ins that were tried, with the problem of each or ""."""

    entries: dict[str, BackboneEntry]
    families: dict[str, Family]
    compositions: dict[str, Composition]
    plugins: dict[str, str]


_entries: dict[str, BackboneEntry] = {}
_families: dict[str, Family] = {}
_compositions: dict[str, Composition] = {}
_plugins: dict[str, str] = {}


def register_backbone(
    name: str, *, description: str, transform: Transform, width: int, weights: WeightsSource, licence: str
) -> Callable[[Builder], Builder]:
    """Register the decorated function, which builds a `Backbone` from located weights, under ``name``."""

    def register(build: Builder) -> Builder:
        _check_unused(name)
        _entries[name] = BackboneEntry(
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


def register_family(
    prefix: str, *, description: str
) -> Callable[[Callable[[str], BackboneEntry]], Callable[[str], BackboneEntry]]:
    """Register the decorated function, which returns the `BackboneEntry` for any name that begins with ``prefix``."""

    def register(entry: Callable[[str], BackboneEntry]) -> Callable[[str], BackboneEntry]:
        _check_unused(prefix)
        _families[prefix] = Family(prefix=prefix, description=description, entry=entry)
        return entry

    return register


def register_composition(name: str, parts: Sequence[str], *, description: str) -> None:
    """Register a name for a combination of backbones."""
    _check_unused(name)
    _compositions[name] = Composition(name=name, description=description, parts=tuple(parts))


def snapshot() -> Snapshot:
    """Return a snapshot of the registry, for `restore`."""
    return Snapshot(dict(_entries), dict(_families), dict(_compositions), dict(_plugins))


def restore(earlier: Snapshot) -> None:
    """Reset the registry to a snapshot; the modules that have registered something since stay imported."""
    _reset(_entries, earlier.entries)
    _reset(_families, earlier.families)
    _reset(_compositions, earlier.compositions)
    _reset(_plugins, earlier.plugins)


def _reset(current: dict[str, _Item], earlier: dict[str, _Item]) -> None:
    current.clear()
    current.update(earlier)


def _check_unused(name: str) -> None:
    if name in _entries or name in _compositions or name in _families:
        raise BackboneError(tr("two backbones are registered as '{name}': remove one of them", name=name))


def plugins() -> dict[str, str]:
    """Return every installed or allowed plug-in by name, with its problem in a sentence, or "" if it has none."""
    _load_all()
    not_allowed = dict.fromkeys(
        _installed_plugins(), tr("it is installed but not allowed: name it in {variable}", variable=PLUGINS_VARIABLE)
    )
    return dict(sorted({**not_allowed, **_plugins}.items()))


def _load_all() -> None:
    _load_built_in()
    for name in allowed_plugins():
        if name not in _plugins:
            _plugins[name] = _load_plugin(name)


@cache
def _load_built_in() -> None:
    from models import backbones

    for name in sorted(info.name for info in pkgutil.iter_modules(backbones.__path__)):
        importlib.import_module(f"{backbones.__name__}.{name}")


def _installed_plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _load_plugin(name: str) -> str:
    """Import a plug-in. Returns its problem in a sentence, or "" if it has none; whatever it raises is caught."""
    point = _installed_plugins().get(name)
    if point is None:
        return report_missing(name)
    before = snapshot()
    patch_torchvision()
    try:
        point.load()
        _check_compositions()
    except (Exception, SystemExit) as error:  # third-party code may raise anything
        restore(before)
        problem = tr("it cannot be used: {kind}: {error}", kind=type(error).__name__, error=error)
        logger.warning(tr("the plug-in {name}: {problem}", name=name, problem=problem))
        return problem
    return ""


def entries() -> dict[str, BackboneEntry]:
    """Return every registered backbone by name."""
    _load_all()
    return dict(sorted(_entries.items()))


def compositions() -> dict[str, Composition]:
    """Return every named composition by name."""
    _load_all()
    return dict(sorted(_compositions.items()))


def families() -> dict[str, Family]:
    """Return every family of backbones by its prefix."""
    _load_all()
    return dict(sorted(_families.items()))


def entry(name: str) -> BackboneEntry:
    """Look up one backbone. Raises `BackboneError` for an unknown name."""
    _load_all()
    if name in _entries:
        return _entries[name]
    if (family := _family_of(name)) is not None:
        return family.entry(name)
    raise _unknown(name, _entries)


def _family_of(name: str) -> Family | None:
    return next((family for prefix, family in _families.items() if name.startswith(prefix)), None)


def parts_of(mode: str) -> tuple[str, ...]:
    """Return the names of the backbones that a mode consists of: one, or several for ``hybrid`` and any ``a+b``.

    Raises `BackboneError` for an unknown name, and where a backbone comes twice.
    """
    _load_all()
    parts: list[str] = []
    for name in mode.split("+"):
        if name in _compositions:
            parts += _compositions[name].parts
        elif name in _entries or _family_of(name) is not None:
            parts.append(name)
        else:
            raise _unknown(name, [*_entries, *_compositions])
    if len(set(parts)) < len(parts):
        raise BackboneError(tr("mode '{mode}' names the same backbone twice: name each once", mode=mode))
    return tuple(parts)


def names() -> list[str]:
    """Return the names of all backbones and compositions."""
    return sorted({**entries(), **compositions()})


def locate(name: str, weights: str | None, store: WeightsStore) -> Backbone:
    """Locate the weights of one backbone (``weights``: a user's own file, folder or hub id) and describe it.

    Raises `BackboneError` for an unknown name and `WeightsUnavailable` when the weights cannot be obtained.
    """
    registered = entry(name)
    return registered.build(registered.weights.locate(weights, store))


def _check_compositions() -> None:
    for composition in _compositions.values():
        for part in composition.parts:
            if part not in _entries and _family_of(part) is None:
                raise BackboneError(
                    tr("'{name}' is made of '{part}', and there is no such backbone", name=composition.name, part=part)
                )


def _unknown(name: str, known: Iterable[str]) -> BackboneError:
    names = sorted(known)
    near = closest(name, names)
    suggestion = tr(" (did you mean {near}?)", near=near) if near else ""
    message = tr(
        "there is no backbone '{name}'{meant}: choose one of {names}, or join several with +",
        name=name,
        meant=suggestion,
        names=", ".join(names),
    )
    problems = [
        tr("the plug-in {name}: {problem}", name=plugin, problem=problem)
        for plugin, problem in plugins().items()
        if problem
    ]
    return BackboneError("; ".join([message, *problems]))
