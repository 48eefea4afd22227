"""Small checkpoints to read, write, damage and forge; no backbone stands behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints.checkpoint import Array, Checkpoint, Golden, Head, Pretrained, read
from models.checkpoints.head import Taught
from models.checkpoints.metadata import Metadata, Nearness, PartRecord, Promise, Unknown
from models.decoding.images import Transform
from models.errors import CheckpointError
from models.inference.samples import sample_pictures
from models.registry import Backbone

TRANSFORM = Transform(resize=8, crop=8, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def record(name: str, width: int, *, fine_tuned: bool = False) -> PartRecord:
    """The record of a part that nothing is registered for."""

    def module() -> Any:
        raise AssertionError("no backbone is built here")

    backbone = Backbone(name=name, source="here", digest="d" * 64, transform=TRANSFORM, width=width, module=module)
    return PartRecord.from_backbone(backbone).model_copy(update={"fine_tuned": fine_tuned})


def small_checkpoint(**metadata: Any) -> Checkpoint:
    """Two parts (widths 4 and 2, the second fine-tuned), five outputs grouped into three classes, all of it random."""
    random = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.normal(size=shape).astype(np.float32)

    given: dict[str, Any] = {
        "mode": "one+two",
        "parts": [record("one", 4), record("two", 2, fine_tuned=True)],
        "classes": ["cat", "개", "sea life"],
        "normalisation": "l2",
        "temperature": 1.5,
        "threshold": 0.25,
        "max_error": 0.02,
        "promises": [
            Promise(max_error=0.02, certainty=0.95, threshold=0.25, coverage=0.5),
            Promise(max_error=0.1, certainty=0.95, threshold=0.125, coverage=0.75),
        ],
        "unknown": Unknown(limit=3.5, refused=0.01),
        "metrics": {"accuracy": 0.875, "loss": 1e-9},
        "settings": {"epochs": 3, "rate": 0.1, "augment": True, "note": "β", "seed": None},
        "data_digest": "e" * 64,
        "versions": {"torch": "2.13.0"},
        "created": "2026-01-02T03:04:05+00:00",
        **metadata,
    }
    head = Head(values(5, 6), values(5), values(6), values(6), np.array([0, 1, 2, 1, 0]))
    golden = Golden(sample_pictures(2), values(2, 6), values(2, 3))
    if given["unknown"] is not None:
        basis = np.linalg.qr(values(6, 2))[0].T
        head, golden = replace(head, basis=basis), replace(golden, strangeness=np.abs(values(2)))
    tuned: dict[str, dict[str, Array]] = {
        "two": {"layer.weight": values(3, 2), "half": values(2).astype(np.float16), "batches": np.array(7)}
    }
    return Checkpoint(Metadata(**given), head, golden, tuned)


def pretrained_checkpoint(**head: Any) -> Checkpoint:
    """One part (width 4) seen as the six classes it was pretrained with; ``head`` are other arrays for the head."""
    checkpoint = small_checkpoint(mode="one", parts=[record("one", 4)], normalisation="pretrained")
    random = np.random.default_rng(1)
    pretrained = Pretrained.rounded(
        random.normal(size=(6, 4)).astype(np.float32), random.normal(size=6).astype(np.float32)
    )
    given = replace(checkpoint.head, **({"pretrained": pretrained} | head))
    golden = replace(checkpoint.golden, features=checkpoint.golden.features[:, :4])
    return Checkpoint(checkpoint.metadata, given, golden)


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the tensors' bytes of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: Mapping[str, Any] | bytes, body: bytes) -> bytes:
    """A safetensors file of that header and body, whether they fit or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def with_metadata(data: bytes, **changes: object) -> bytes:
    """The same checkpoint with other metadata."""
    header, body = split(data)
    text = header["__metadata__"]
    text["imagesortd"] = json.dumps(json.loads(text["imagesortd"]) | changes)
    return join(header, body)


def refusal(path: Path, data: bytes) -> str:
    """The one sentence with which a file of these bytes is refused."""
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as raised:
        read(path)
    sentence = str(raised.value)
    assert sentence.startswith(f"the checkpoint {path} is not used: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"the checkpoint {path} is not used: ")


def with_taught(**changes: Any) -> Checkpoint:
    """The small checkpoint with what people taught it."""
    fine = small_checkpoint(nearness=Nearness(usual=0.7, spread=0.1, limit=2.0, steepness=8.0, neighbours=3))
    known = np.full((4, 6), 0.25, np.float32)
    taught = Taught(
        np.ones((2, 6), np.float32), np.ones(2, np.float32), np.array([1, -1]), known, np.ones(3, np.float32)
    )
    return replace(fine, head=replace(fine.head, taught=replace(taught, **changes)))
