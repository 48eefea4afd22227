"""The registry of backbones: a name stands for an architecture, its transform and where its weights come from.

A backbone is added by adding a file to ``models/backbones/`` whose builder is decorated with `register_backbone`, or
by installing a package with an entry point in the group `allowed.ENTRY_POINTS` that names such a module, once
`allow_plugins` lets it.
Nothing in here imports torch, so that listing the registry is quick and the service stays small.
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
from models.compat import mend_torchvision
from models.errors import BackboneError
from models.images import Transform
from models.text.language import tr
from models.text.spelling import closest
from models.weights import Weights, WeightsSource, WeightsStore

if TYPE_CHECKING:
    import torch

#: The backbone whose weights install with the package.
EMBEDDED = "efficientnet_lite0"

#: The classifier a backbone was pretrained with, over its raw features: weight (k, width), bias (k,).
PretrainedHead = Callable[[], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class TextTower:
    """The half of a backbone that reads text, loaded.

    ``embed`` maps k prompts to embeddings (k, width) in the space of the features. Of an image and a prompt whose
    embeddings have the cosine c, the model was trained to say ``scale * c + bias``, in nats. ``reads`` tells whether
    the tokenizer knows a text's characters; where it does not, the embedding means nothing.
    """

    embed: Callable[[Sequence[str]], npt.NDArray[np.float32]]
    scale: float
    bias: float
    reads: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone whose weights are here.

    ``module()`` builds it in torch: normalised float32 images (n, 3, side, side) in, raw features (n, width) out.
    ``imagenet_head`` gives its own classifier of the 1,000 ImageNet classes, where it is known.
    ``text()`` loads its `TextTower` (torch), for backbones that read text.
    ``tuned`` names fine-tuned weights that replace the original ones; ``digest`` is then theirs.
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


@dataclass(frozen=True, kw_only=True)
class Family:
    """Any number of backbones whose names begin alike; ``entry`` makes the entry of one when it is asked for."""

    prefix: str
    description: str
    entry: Callable[[str], BackboneEntry]


_Kind = TypeVar("_Kind")


class Registered(NamedTuple):
    """What is registered at a moment, by name, and the plug-ins that were loaded by then."""

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
    """Register the decorated builder, which turns located weights into a `Backbone`, under ``name``."""

    def register(build: Builder) -> Builder:
        _claim(name)
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
    """Register the decorated function, which makes the `BackboneEntry` of any name that begins with ``prefix``."""

    def register(entry: Callable[[str], BackboneEntry]) -> Callable[[str], BackboneEntry]:
        _claim(prefix)
        _families[prefix] = Family(prefix=prefix, description=description, entry=entry)
        return entry

    return register


def register_composition(name: str, parts: Sequence[str], *, description: str) -> None:
    """Give a combination of registered backbones a name of its own."""
    _claim(name)
    _compositions[name] = Composition(name=name, description=description, parts=tuple(parts))


def registered() -> Registered:
    """What is registered now, to go back to with `restore`."""
    return Registered(dict(_entries), dict(_families), dict(_compositions), dict(_plugins))


def restore(before: Registered) -> None:
    """Forget what was registered since; the modules that did it stay imported."""
    _put_back(_entries, before.entries)
    _put_back(_families, before.families)
    _put_back(_compositions, before.compositions)
    _put_back(_plugins, before.plugins)


def _put_back(now: dict[str, _Kind], then: dict[str, _Kind]) -> None:
    now.clear()
    now.update(then)


def _claim(name: str) -> None:
    if name in _entries or name in _compositions or name in _families:
        raise BackboneError(tr("two backbones are registered as '{name}': remove one of them", name=name))


def plugins() -> dict[str, str]:
    """Every installed or allowed plug-in, and what is the matter with it: nothing (""), or a sentence."""
    _scan()
    refused = dict.fromkeys(
        _installed_plugins(), tr("it is installed but not allowed: name it in {variable}", variable=PLUGINS_VARIABLE)
    )
    return dict(sorted({**refused, **_plugins}.items()))


def _scan() -> None:
    _scan_built_in()
    for name in allowed_plugins():
        if name not in _plugins:
            _plugins[name] = _load_plugin(name)


@cache
def _scan_built_in() -> None:
    from models import backbones

    for module in sorted(found.name for found in pkgutil.iter_modules(backbones.__path__)):
        importlib.import_module(f"{backbones.__name__}.{module}")


def _installed_plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _load_plugin(name: str) -> str:
    """Import a plug-in; whatever it does wrong is a sentence, and takes nothing else down."""
    point = _installed_plugins().get(name)
    if point is None:
        return report_missing(name)
    before = registered()
    mend_torchvision()
    try:
        point.load()
        _check_compositions()
    except (Exception, SystemExit) as error:  # a plug-in is somebody else's code: it may fail in any way
        restore(before)
        trouble = tr("it cannot be used: {kind}: {error}", kind=type(error).__name__, error=error)
        logger.warning(tr("the plug-in {name}: {trouble}", name=name, trouble=trouble))
        return trouble
    return ""


def entries() -> dict[str, BackboneEntry]:
    """Every registered backbone by name."""
    _scan()
    return dict(sorted(_entries.items()))


def compositions() -> dict[str, Composition]:
    """Every named composition by name."""
    _scan()
    return dict(sorted(_compositions.items()))


def families() -> dict[str, Family]:
    """Every family of backbones by the beginning of its names."""
    _scan()
    return dict(sorted(_families.items()))


def entry(name: str) -> BackboneEntry:
    """What the registry knows of one backbone. Raises `BackboneError` for an unknown name."""
    _scan()
    if name in _entries:
        return _entries[name]
    if (family := _family_of(name)) is not None:
        return family.entry(name)
    raise _unknown(name, _entries)


def _family_of(name: str) -> Family | None:
    return next((family for prefix, family in _families.items() if name.startswith(prefix)), None)


def parts_of(mode: str) -> tuple[str, ...]:
    """The backbones a mode stands for: ``hybrid`` and any ``a+b`` are several. Raises `BackboneError`."""
    _scan()
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
    """Every backbone and composition by name."""
    return sorted({**entries(), **compositions()})


def locate(name: str, weights: str | None, store: WeightsStore) -> Backbone:
    """Find the weights of one backbone (``weights``: a user's own file, folder or hub id) and build its description.

    Raises `BackboneError` for an unknown name and `WeightsUnavailable` when the weights cannot be obtained.
    """
    found = entry(name)
    return found.build(found.weights.locate(weights, store))


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
    meant = tr(" (did you mean {near}?)", near=near) if near else ""
    sentence = tr(
        "there is no backbone '{name}'{meant}: choose one of {names}, or join several with +",
        name=name,
        meant=meant,
        names=", ".join(names),
    )
    troubled = [
        tr("the plug-in {name}: {trouble}", name=plugin, trouble=trouble)
        for plugin, trouble in plugins().items()
        if trouble
    ]
    return BackboneError("; ".join([sentence, *troubled]))
