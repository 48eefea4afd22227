"""Check the tensors of a checkpoint file: their names, types, shapes and values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.checkpoints.head import NO_CLASS, Array, Golden, Head, Pretrained, Taught
from models.checkpoints.metadata import Metadata
from models.errors import CheckpointError
from models.inference.samples import SAMPLE_SIDE
from models.text.language import tr

#: Limits the work of opening a checkpoint: every part runs on every golden sample.
MAX_GOLDEN = 16
#: Limits the directions of ``unknown.basis``, which are compared with each other when it is read.
MAX_RANK = 1024
#: Limits the labelled images that each image is compared with.
MAX_KNOWN = 4096
#: The prefix of the names of fine-tuned tensors.
BACKBONE_PREFIX = "backbone:"

#: Takes a tensor by its name, type and shape.
_Take = Callable[..., Array]


def take_tensors(tensors: dict[str, Array], metadata: Metadata) -> tuple[Head, Golden, dict[str, dict[str, Array]]]:
    """Take every tensor by name, type and shape. Raises `CheckpointError` if one is missing, wrong or unexpected."""
    remaining = dict(tensors)

    def take(name: str, dtype: type[np.generic], *shape: int | None) -> Array:
        if name not in remaining:
            raise CheckpointError(
                tr("the tensor {name} is missing; it holds {names}", name=name, names=", ".join(sorted(tensors))[:200])
            )
        tensor = remaining.pop(name)
        fits = len(tensor.shape) == len(shape) and all(
            expected is None or expected == actual for expected, actual in zip(shape, tensor.shape, strict=False)
        )
        if tensor.dtype != dtype or not fits:
            raise CheckpointError(
                tr(
                    "the tensor {name} is {dtype}{shape}, expected {wanted_dtype}{wanted_shape}",
                    name=name,
                    dtype=tensor.dtype,
                    shape=list(tensor.shape),
                    wanted_dtype=np.dtype(dtype),
                    wanted_shape=list(shape),
                )
            )
        _check_finite(name, tensor)
        return tensor

    classes, pretrained = len(metadata.classes), None
    if metadata.normalisation == "pretrained":
        stored = take("pretrained.weight", np.float16, None, metadata.width)
        pretrained = Pretrained(stored.astype(np.float32), take("pretrained.bias", np.float32, len(stored)))
    width = metadata.width if pretrained is None else len(pretrained.weight)
    if width == 0:
        raise CheckpointError(tr("the tensor pretrained.weight has no classes"))
    grouped = "head.groups" in remaining
    weight = take("head.weight", np.float32, None if grouped else classes, width)
    outputs = weight.shape[0]
    if outputs == 0:
        raise CheckpointError(tr("the tensor head.weight has no outputs"))
    groups = take("head.groups", np.int64, outputs) if grouped else None
    _check_groups("head.groups", groups, classes)
    head = Head(
        weight=weight,
        bias=take("head.bias", np.float32, outputs),
        mean=take("head.mean", np.float32, width),
        scale=take("head.scale", np.float32, width),
        groups=groups,
        basis=take("unknown.basis", np.float32, None, width) if metadata.unknown else None,
        pretrained=pretrained,
        taught=_take_taught(take, metadata) if metadata.nearness else None,
    )
    _check_orthonormal(head.basis)
    pictures = take("golden.pictures", np.uint8, None, SAMPLE_SIDE, SAMPLE_SIDE, 3)
    if not 1 <= len(pictures) <= MAX_GOLDEN:
        raise CheckpointError(
            tr("it holds {count} golden samples, not 1 to {most}", count=len(pictures), most=MAX_GOLDEN)
        )
    golden = Golden(
        pictures=pictures,
        features=take("golden.features", np.float32, len(pictures), metadata.width),
        probabilities=take("golden.probabilities", np.float32, len(pictures), classes),
        strangeness=take("golden.strangeness", np.float32, len(pictures)) if metadata.unknown else None,
    )
    backbones: dict[str, dict[str, Array]] = {}
    for part in metadata.parts:
        prefix = f"{BACKBONE_PREFIX}{part.name}:"
        state = {name.removeprefix(prefix): remaining.pop(name) for name in list(remaining) if name.startswith(prefix)}
        if bool(state) != part.fine_tuned:
            raise CheckpointError(
                tr("it holds fine-tuned weights of {name} that its metadata does not announce", name=part.name)
                if state
                else tr("the fine-tuned weights of {name} are missing", name=part.name)
            )
        for name, tensor in state.items():
            _check_finite(prefix + name, tensor)
        if state:
            backbones[part.name] = state
    if remaining:
        raise CheckpointError(
            tr("it holds tensors that do not belong there: {names}", names=", ".join(sorted(remaining))[:200])
        )
    return head, golden, backbones


def _take_taught(take: _Take, metadata: Metadata) -> Taught:
    weight = take("taught.weight", np.float32, None, metadata.width)
    groups = take("taught.groups", np.int64, len(weight))
    known = take("taught.known", np.float16, None, metadata.width)
    if not len(weight) or not 1 <= len(known) <= MAX_KNOWN:
        raise CheckpointError(tr("the tensor taught.known holds no images, or too many"))
    _check_groups("taught.groups", groups, len(metadata.classes))
    return Taught(
        weight=weight,
        bias=take("taught.bias", np.float32, len(weight)),
        groups=groups,
        known=known.astype(np.float32),
        reach=take("taught.reach", np.float32, len(metadata.classes)),
    )


def _check_groups(name: str, groups: Array | None, classes: int) -> None:
    if groups is not None and (groups.min() < NO_CLASS or groups.max() >= classes or groups.max() < 0):
        raise CheckpointError(tr("the tensor {name} names a class that does not exist", name=name))


def _check_finite(name: str, tensor: Array) -> None:
    if np.issubdtype(tensor.dtype, np.floating) and not np.isfinite(tensor).all():
        raise CheckpointError(tr("the tensor {name} holds values that are not numbers", name=name))


def _check_orthonormal(basis: Array | None) -> None:
    """Raise `CheckpointError` unless the basis is orthonormal: distances would be meaningless otherwise."""
    if basis is None:
        return
    rank, width = basis.shape
    if not 1 <= rank <= min(width, MAX_RANK):
        raise CheckpointError(
            tr("the tensor unknown.basis has {rank} directions in a space of {width}", rank=rank, width=width)
        )
    with np.errstate(over="ignore", invalid="ignore"):
        products = basis @ basis.T
    if not np.allclose(products, np.eye(rank), atol=1e-3):
        raise CheckpointError(tr("the tensor unknown.basis is not orthonormal"))
