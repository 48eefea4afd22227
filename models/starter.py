"""The starter model, which sorts an inbox before the user has fitted a head.

It is the embedded backbone with its own ImageNet classifier, whose 1,000 classes are grouped into everyday folders. It
is stored as an ordinary checkpoint in the cache, which is made at the first start.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from models import registry
from models.checkpoints import checkpoint
from models.checkpoints.checkpoint import Head, Metadata, PartRecord
from models.classifier import make_checkpoint
from models.files import atomic
from models.groups import starter_groups
from models.inference.runtime import GRAPH_VERSION, open_extractor
from models.registry import Backbone
from models.weights.store import WeightsStore

Language = Literal["en", "ko"]

#: Chosen by ``python -m tests.benchmarks.starter``: of 3,396 photographs two thirds are filed, 93.5 % of them rightly.
TEMPERATURE = 0.7
THRESHOLD = 0.7


def starter_path(store: WeightsStore, language: Language, *, threads: int = 0) -> Path:
    """Return the path of the starter checkpoint, which is made now if it is not in the cache."""
    names, groups = starter_groups(language)
    backbone = registry.locate(registry.EMBEDDED, None, store)
    record = PartRecord.from_backbone(backbone)
    metadata = Metadata(
        mode=backbone.name,
        parts=[record],
        classes=names,
        normalisation="none",
        temperature=TEMPERATURE,
        threshold=THRESHOLD,
        settings={"starter": True, "language": language},
    )
    key = hashlib.sha256(f"{GRAPH_VERSION}{metadata.model_dump_json()}{groups.tolist()}".encode()).hexdigest()
    path = store.folder("starter") / f"starter-{language}-{key[:16]}.safetensors"
    if not atomic.is_intact(path):
        with store.locked(f"{path.stem}.make"):
            if not atomic.is_intact(path):
                path.unlink(missing_ok=True)
                extractor = open_extractor([backbone], store, threads=threads)
                digest = checkpoint.write(make_checkpoint(metadata, _head(backbone, groups), extractor), path)
                atomic.record_digest(path, digest)
    return path


def _head(backbone: Backbone, groups: npt.NDArray[np.int64]) -> Head:
    assert backbone.imagenet_head is not None
    weight, bias = backbone.imagenet_head()
    return Head(
        weight=weight,
        bias=bias,
        mean=np.zeros(backbone.width, np.float32),
        scale=np.ones(backbone.width, np.float32),
        groups=groups,
    )
