"""The files in which a run folder keeps features.

``features.safetensors`` has those of the data set with labels, folds and hashes. It stays the same from lesson to
lesson, so the runs share one file (a hard link). ``labelled.safetensors`` has those of the images that people labelled,
whose labels are given anew for each lesson. Reading is strict: nothing is unpickled, a file must be the very one that
was written, and its tensors must fit each other and the checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from models.checkpoints.checkpoint import parse_header, read_regular_file
from models.checkpoints.metadata import Metadata, PartRecord, Strict
from models.errors import CheckpointError, UserError
from models.files.atomic import atomic_file, file_digest
from models.text.language import tr
from trainer.data.folds import NEVER
from trainer.data.perceptual_hash import PACKED_BYTES
from trainer.heads.recipe import Recipe
from trainer.learning.kept import UNJUDGED, KeptFeatures, LabelledFeatures
from trainer.runs.folder import METRICS

FILE_NAME, LABELLED_FILE_NAME = "features.safetensors", "labelled.safetensors"

#: A file that is larger is not read: it would not fit into memory.
_MAX_BYTES = 8 << 30
_MOST_METRICS = 16 << 20
_METADATA_KEY = "imagesortd"
#: The types that a tensor may have, as the file spells them.
_DTYPES = ("F16", "F32", "I32", "I8", "U8")
_MOST_FOLDS = 100

_Array = npt.NDArray[Any]
#: The type and the shape that a tensor must have.
_Expected = tuple[type[np.generic], tuple[int, ...]]


class FeaturesMissing(UserError):
    """A run keeps no features, or those it keeps cannot be used; the message says why, and what to do."""


class NoFeatures(FeaturesMissing):
    """A run keeps no features, so that its head can only be adapted."""


class _Header(Strict):
    """What a file says of its tensors: the backbones (name, digest, width) that computed the features, and the rest."""

    version: Literal[1] = 1
    parts: list[tuple[str, str, int]] = Field(min_length=1)
    classes: tuple[str, ...] = ()
    recipe: Recipe = Recipe()
    fold_count: int = Field(default=2, ge=2, le=_MOST_FOLDS)
    seed: int = Field(default=0, ge=0)


class FileRecord(Strict):
    """What ``metrics.json`` of a run says of a file with features."""

    sha256: str
    images: int
    bytes: int


def write_features(run: Path, kept: KeptFeatures, parts: Sequence[PartRecord], earlier: Path | None) -> FileRecord:
    """Write the features of a data set into a run folder, as a link to those of an ``earlier`` run if they are equal.

    Raises `OSError`.
    """
    header = _Header(
        parts=_described(parts),
        classes=tuple(kept.classes),
        recipe=kept.recipe,
        fold_count=kept.fold_count,
        seed=kept.seed,
    )
    tensors: dict[str, _Array] = {
        "features": kept.features,
        "labels": kept.labels.astype(np.int32),
        "predicted": kept.predicted.astype(np.int32),
        "folds": kept.folds.astype(np.int8),
        "pictures": kept.pictures.astype(np.int32),
        "sha256": kept.hashes,
    }
    if kept.texts is not None:
        tensors["texts"] = kept.texts.astype(np.float32)
    return _write(run / FILE_NAME, header, tensors, None if earlier is None else earlier / FILE_NAME)


def write_labelled(run: Path, labelled: LabelledFeatures, parts: Sequence[PartRecord]) -> FileRecord:
    """Write the features of labelled images into a run folder. Raises `OSError`."""
    tensors: dict[str, _Array] = {"features": labelled.features, "sha256": labelled.hashes, "looks": labelled.looks}
    return _write(run / LABELLED_FILE_NAME, _Header(parts=_described(parts)), tensors, None)


def features_figures(features: FileRecord | None, labelled: FileRecord | None = None) -> dict[str, object]:
    """Return what ``metrics.json`` says of the files with features; None where none is kept."""
    figures: dict[str, object] = {"features": None if features is None else features.model_dump()}
    return figures if labelled is None else figures | {"labelled": labelled.model_dump()}


def _described(parts: Sequence[PartRecord]) -> list[tuple[str, str, int]]:
    return [(part.name, part.digest, part.width) for part in parts]


def _write(path: Path, header: _Header, tensors: Mapping[str, _Array], earlier: Path | None) -> FileRecord:
    from safetensors.numpy import save

    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    data = save(contiguous, {_METADATA_KEY: header.model_dump_json()})
    record = FileRecord(sha256=hashlib.sha256(data).hexdigest(), images=len(tensors["features"]), bytes=len(data))
    if earlier is None or not _link_equal(earlier, path, record):
        with atomic_file(path, replace=False) as file:
            file.write(data)
    return record


def link_features(parent: Path, run: Path, record: FileRecord) -> None:
    """Give a run folder the features that its parent keeps: as a link, or a copy where there are no links.

    Raises `OSError`.
    """
    if not _link_equal(parent / FILE_NAME, run / FILE_NAME, record):
        with atomic_file(run / FILE_NAME, replace=False) as file, (parent / FILE_NAME).open("rb") as kept:
            shutil.copyfileobj(kept, file)


def _link_equal(earlier: Path, path: Path, record: FileRecord) -> bool:
    """Link ``path`` to an earlier file if that is the recorded one; return whether it was."""
    with contextlib.suppress(OSError):
        if earlier.stat().st_size == record.bytes and file_digest(earlier) == record.sha256:
            os.link(earlier, path)
            return True
    return False


def kept_record(run: Path, key: str = "features") -> FileRecord:
    """Return what ``metrics.json`` of a run says of a file with features. Raises `FeaturesMissing`."""
    try:
        metrics = json.loads(read_regular_file(run / METRICS, _MOST_METRICS))
        recorded = metrics[key]
    except (KeyError, TypeError, FileNotFoundError) as error:
        raise NoFeatures(
            tr(
                "the run {name} keeps no features, since it is of an older version, made from names or from elsewhere, "
                "so it cannot learn from labels: fit again",
                name=run.name,
            )
        ) from error
    except (OSError, ValueError, RecursionError, CheckpointError) as error:
        raise FeaturesMissing(
            tr("{path} is damaged, so the run cannot learn from labels: fit again", path=run / METRICS)
        ) from error
    if recorded is None:
        raise NoFeatures(
            tr(
                "the run {name} keeps no features, so it cannot learn from labels: fit again with a larger "
                "--keep-features",
                name=run.name,
            )
        )
    try:
        return FileRecord.model_validate(recorded)
    except ValidationError as error:
        raise FeaturesMissing(
            tr("{path} is damaged, so the run cannot learn from labels: fit again", path=run / METRICS)
        ) from error


def read_features(run: Path, record: FileRecord, metadata: Metadata) -> KeptFeatures:
    """Read the features of a data set that a run keeps, which must fit its checkpoint. Raises `FeaturesMissing`."""
    with _errors_naming(run / FILE_NAME):
        header, tensors = _read(run / FILE_NAME, record, metadata)
        count, classes = record.images, len(header.classes)
        expected: dict[str, _Expected] = {
            "features": (np.float16, (count, metadata.width)),
            "labels": (np.int32, (count,)),
            "predicted": (np.int32, (count,)),
            "folds": (np.int8, (count,)),
            "pictures": (np.int32, (count,)),
            "sha256": (np.uint8, (count, 32)),
        }
        if header.recipe.from_texts:
            expected["texts"] = (np.float32, (classes, metadata.width))
        _check_tensors(tensors, expected)
        _check_range("labels", tensors["labels"], 0, classes)
        _check_range("predicted", tensors["predicted"], UNJUDGED, classes)
        _check_range("folds", tensors["folds"], NEVER, header.fold_count)
        _check_range("pictures", tensors["pictures"], 0, count)
        if set(header.classes) - set(metadata.classes):
            raise CheckpointError(tr("its classes are not those of the checkpoint"))
    return KeptFeatures(
        tensors["features"],
        tensors["labels"].astype(np.int64),
        tensors["predicted"].astype(np.int64),
        tensors["folds"].astype(np.int64),
        tensors["pictures"].astype(np.int64),
        tensors["sha256"],
        header.classes,
        header.recipe,
        header.fold_count,
        header.seed,
        tensors.get("texts"),
    )


def read_labelled(run: Path, record: FileRecord, metadata: Metadata) -> LabelledFeatures:
    """Read the features of labelled images that a run keeps. Raises `FeaturesMissing`."""
    with _errors_naming(run / LABELLED_FILE_NAME):
        _, tensors = _read(run / LABELLED_FILE_NAME, record, metadata)
        expected: dict[str, _Expected] = {
            "features": (np.float16, (record.images, metadata.width)),
            "sha256": (np.uint8, (record.images, 32)),
            "looks": (np.uint8, (record.images, PACKED_BYTES)),
        }
        tensors.setdefault("looks", np.zeros((record.images, PACKED_BYTES), np.uint8))  # an earlier version has none
        _check_tensors(tensors, expected)
    return LabelledFeatures(tensors["features"], tensors["sha256"], tensors["looks"])


@contextlib.contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Turn errors in the block into `FeaturesMissing` with the name of the file."""
    try:
        yield
    except OSError as error:
        raise FeaturesMissing(
            tr(
                "{path} cannot be read ({reason}), so nothing can be learned from labels: fit again",
                path=path,
                reason=error.strerror,
            )
        ) from error
    except CheckpointError as error:
        raise FeaturesMissing(
            tr("{path} is not used ({error}), so nothing can be learned from labels: fit again", path=path, error=error)
        ) from error


def _read(path: Path, record: FileRecord, metadata: Metadata) -> tuple[_Header, dict[str, _Array]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_regular_file(path, _MAX_BYTES)
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise CheckpointError(tr("it is damaged: it is not the file that was written"))
    entries = parse_header(data, _DTYPES).get("__metadata__")
    text = entries.get(_METADATA_KEY) if isinstance(entries, dict) else None
    try:
        header = _Header.model_validate_json(text if isinstance(text, str) else "")
        tensors = load(data)
    except ValidationError as error:
        raise CheckpointError(tr("it is of another version of this program")) from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(tr("it is damaged: {error}", error=error)) from error
    if header.parts != _described(metadata.parts):
        raise CheckpointError(tr("its features are of other backbones than those of the checkpoint"))
    return header, tensors


def _check_tensors(tensors: Mapping[str, _Array], expected: Mapping[str, _Expected]) -> None:
    """Raise `CheckpointError` unless the tensors are those expected, of their types and shapes, and finite."""
    if set(tensors) != set(expected):
        raise CheckpointError(
            tr(
                "it holds the tensors {names}, expected {wanted}",
                names=", ".join(sorted(tensors))[:200],
                wanted=", ".join(sorted(expected)),
            )
        )
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != shape:
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
        if np.issubdtype(dtype, np.floating) and not np.isfinite(tensor).all():
            raise CheckpointError(tr("the tensor {name} holds values that are not numbers", name=name))


def _check_range(name: str, tensor: _Array, least: int, end: int) -> None:
    if len(tensor) and not (tensor.min() >= least and tensor.max() < end):
        raise CheckpointError(tr("the tensor {name} holds values out of range", name=name))
