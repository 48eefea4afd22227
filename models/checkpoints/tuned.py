"""Extract fine-tuned weights from a checkpoint into the cache, where their graph is cached too.

They can be extracted again, so the least recently used ones are removed. Otherwise weekly fine-tuning would fill a
small disk, by up to a gigabyte each time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.files.atomic import atomic_file
from models.inference.runtime import graph_path
from models.registry import Backbone
from models.weights.store import WeightsStore

#: The number of fine-tuned weights of one backbone that stay in the cache.
MOST = 10


def tuned_backbone(backbone: Backbone, tensors: Mapping[str, npt.NDArray[Any]], store: WeightsStore) -> Backbone:
    """Return the backbone with fine-tuned weights; ``tensors`` is the complete state of its module, by name."""
    from safetensors.numpy import save

    data = save({name: np.asarray(tensors[name], order="C") for name in sorted(tensors)})
    digest = hashlib.sha256(data).hexdigest()
    path = _path(backbone, digest, store)
    if path.is_file():
        with suppress(OSError):  # the cache may be another user's
            os.utime(path)
    else:
        with store.locked(f"{path.stem}.write"), atomic_file(path) as file:
            file.write(data)
        _remove_old(backbone, store)
    return replace(backbone, digest=digest, tuned=path)


def _path(backbone: Backbone, digest: str, store: WeightsStore) -> Path:
    return store.folder("tuned") / f"{backbone.name.replace('/', '-')}-{digest}.safetensors"


def _remove_old(backbone: Backbone, store: WeightsStore) -> None:
    """Remove all but the `MOST` most recently used fine-tuned weights of a backbone, and their graphs."""
    digests = {path: path.stem[-64:] for path in store.folder("tuned").glob("*.safetensors")}
    own = [path for path, digest in digests.items() if path == _path(backbone, digest, store)]
    for path in sorted(own, key=_last_used, reverse=True)[MOST:]:
        graph = graph_path(replace(backbone, digest=digests[path]), store)
        for file in (*graph.parent.glob(f"{graph.stem}*"), path):
            file.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    """Return when a file was last used; 0 if another process has just removed it."""
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
