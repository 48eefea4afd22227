"""One checkpoint, one safetensors file: a head, its metadata, golden samples, fine-tuned weights if there are any.

Reading is strict and never unpickles: the header has a size limit, the metadata a schema, the tensors a list of names,
types and shapes. Writing is atomic. ``<run>/checkpoint.safetensors`` never changes once written;
``current.json`` beside the runs names the one in use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import CheckpointError
from .images import Transform
from .registry import Backbone

SCHEMA_VERSION: Literal[1] = 1
FILE_NAME = "checkpoint.safetensors"
POINTER = "current.json"

#: A header of tensor names and metadata: real ones have a few kilobytes.
MAX_HEADER_BYTES = 4 << 20
#: Everything in one file; a fine-tuned ViT-L has 1.2 GB.
MAX_FILE_BYTES = 2 << 30

_METADATA_KEY = "imagesortd"
_BACKBONE_PREFIX = "backbone."
_RESERVED_NAMES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}

Array = npt.NDArray[Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TransformRecord(_Strict):
    """A `Transform` as the metadata holds it."""

    resize: int = Field(gt=0, le=4096)
    crop: int = Field(gt=0, le=4096)
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class PartRecord(_Strict):
    """One backbone of the mode: which weights made these features, seen through which transform."""

    name: str
    source: str
    digest: str
    transform: TransformRecord
    fingerprint: str
    width: int = Field(gt=0, le=65536)
    fine_tuned: bool = False

    @classmethod
    def of(cls, backbone: Backbone) -> PartRecord:
        """The record of a located backbone."""
        shape = backbone.transform
        return cls(
            name=backbone.name,
            source=backbone.source,
            digest=backbone.digest,
            transform=TransformRecord(
                resize=shape.resize, crop=shape.crop, interpolation=shape.interpolation, mean=shape.mean, std=shape.std
            ),
            fingerprint=shape.fingerprint,
            width=backbone.width,
            fine_tuned=backbone.tuned is not None,
        )

    def as_transform(self) -> Transform:
        """The transform to decode with."""
        return Transform(**self.transform.model_dump())


class Metadata(_Strict):
    """Everything about a checkpoint that is not a tensor."""

    schema_version: Literal[1] = 1
    mode: str
    parts: list[PartRecord] = Field(min_length=1)
    classes: list[str] = Field(min_length=1, max_length=100_000)
    normalisation: Literal["l2", "none"]
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    threshold: float | None = Field(default=None, ge=0, le=1)
    metrics: dict[str, float] = {}
    settings: dict[str, str | int | float | bool | None] = {}
    data_digest: str = ""
    versions: dict[str, str] = {}
    created: str = ""

    @field_validator("classes")
    @classmethod
    def _safe_names(cls, names: list[str]) -> list[str]:
        checked = [check_class_name(name) for name in names]
        if checked != names:
            raise ValueError("class names are not in Unicode NFC")
        check_distinct(names)
        return names

    @property
    def width(self) -> int:
        """Features per image, all parts together."""
        return sum(part.width for part in self.parts)


@dataclass(frozen=True)
class Head:
    """What turns features into class scores.

    ``logits = ((normalised features - mean) * scale) @ weight.T + bias``. Shapes: weight (outputs, width), bias
    (outputs,), mean and scale (width,). ``groups`` (outputs,), where there is one, maps each output to a class, and
    the probabilities of a class's outputs are added up; without it, outputs are classes.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Golden:
    """Golden samples: small pictures (k, 32, 32, 3), their raw features (k, width), probabilities (k, classes)."""

    pictures: npt.NDArray[np.uint8]
    features: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory. ``backbones``: fine-tuned tensors by part and name. ``digest``: sha256 of its file."""

    metadata: Metadata
    head: Head
    golden: Golden
    backbones: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    digest: str = ""


def check_class_name(name: str) -> str:
    """A class name in NFC, fit to be a folder anywhere. Raises `CheckpointError` where it cannot be one."""
    name = unicodedata.normalize("NFC", name)
    problem = None
    if not name or name in {".", ".."} or name != name.strip() or name.endswith("."):
        problem = "is empty, a dot, or begins or ends with a space or ends with a dot"
    elif any(character in '/\\<>:"|?*' or unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        problem = 'holds a control character or one of / \\ < > : " | ? *'
    elif name.startswith("."):
        problem = "begins with a dot"
    elif name.split(".")[0].casefold() in _RESERVED_NAMES:
        problem = "is a reserved device name"
    elif len(name.encode()) > 255:
        problem = "is longer than 255 bytes"
    if problem is not None:
        raise CheckpointError(f"the class name {name!r} cannot be a folder's name: it {problem}")
    return name


def check_distinct(names: list[str]) -> None:
    """Raise `CheckpointError` when two class names are equal but for upper and lower case."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) is not name:
            raise CheckpointError(f"the class names {other!r} and {name!r} are one folder on some file systems")


def read(path: Path) -> Checkpoint:
    """Read and check one checkpoint file into private memory. Raises `CheckpointError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = _read_bytes(path)
    with _blamed_on(path):
        metadata = _metadata(_header(data))
        try:
            tensors = load(data)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"it is damaged: {error}") from error
        head, golden, backbones = _take_tensors(tensors, metadata)
    return Checkpoint(metadata, head, golden, backbones, hashlib.sha256(data).hexdigest())


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise CheckpointError(f"{path} is not used: it has more than {MAX_FILE_BYTES >> 20} MiB")
            return file.read()
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}: give an existing file or run folder") from error
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"the checkpoint {path} is not used: {error}") from error


def _header(data: bytes) -> dict[str, Any]:
    """The JSON header, before anything is allocated for the tensors it speaks of."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise CheckpointError("it is not a safetensors file, or was cut off")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"its header of {length} bytes is larger than any real one")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise CheckpointError("it is not a safetensors file") from error
    if not isinstance(header, dict):
        raise CheckpointError("it is not a safetensors file")
    return header


def _metadata(header: dict[str, Any]) -> Metadata:
    own = header.get("__metadata__")
    text = own.get(_METADATA_KEY) if isinstance(own, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            "it holds weights but is no checkpoint of this program: make one with python -m trainer fit"
        )
    try:
        version = json.loads(text)["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError("its metadata is damaged") from error
    if version != SCHEMA_VERSION:
        raise CheckpointError(
            f"its format has version {version} and this program reads {SCHEMA_VERSION}: update the older of the two"
        )
    try:
        return Metadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise CheckpointError(f"its metadata is wrong at {where or 'the top'}: {first['msg']}") from error


def _take_tensors(tensors: dict[str, Array], metadata: Metadata) -> tuple[Head, Golden, dict[str, dict[str, Array]]]:
    """Every tensor of the file by name, type and shape; none may be missing and none left over."""
    left = dict(tensors)

    def take(name: str, dtype: type[np.generic], *shape: int | None) -> Array:
        if name not in left:
            raise CheckpointError(f"the tensor {name} is missing; it holds {', '.join(sorted(tensors))[:200]}")
        tensor = left.pop(name)
        fits = len(tensor.shape) == len(shape) and all(
            want is None or want == got for want, got in zip(shape, tensor.shape, strict=False)
        )
        if tensor.dtype != dtype or not fits:
            raise CheckpointError(
                f"the tensor {name} is {tensor.dtype}{list(tensor.shape)}, expected {np.dtype(dtype)}{list(shape)}"
            )
        if np.issubdtype(dtype, np.floating) and not np.isfinite(tensor).all():
            raise CheckpointError(f"the tensor {name} holds values that are not numbers")
        return tensor

    width, classes = metadata.width, len(metadata.classes)
    grouped = "head.groups" in left
    weight = take("head.weight", np.float32, None if grouped else classes, width)
    outputs = weight.shape[0]
    groups = take("head.groups", np.int64, outputs) if grouped else None
    if groups is not None and (groups.min() < 0 or groups.max() >= classes):
        raise CheckpointError("the tensor head.groups names a class that does not exist")
    head = Head(
        weight=weight,
        bias=take("head.bias", np.float32, outputs),
        mean=take("head.mean", np.float32, width),
        scale=take("head.scale", np.float32, width),
        groups=groups,
    )
    pictures = take("golden.pictures", np.uint8, None, None, None, 3)
    golden = Golden(
        pictures=pictures,
        features=take("golden.features", np.float32, len(pictures), width),
        probabilities=take("golden.probabilities", np.float32, len(pictures), classes),
    )
    backbones: dict[str, dict[str, Array]] = {}
    for part in metadata.parts:
        prefix = f"{_BACKBONE_PREFIX}{part.name}."
        held = {name.removeprefix(prefix): left.pop(name) for name in list(left) if name.startswith(prefix)}
        if bool(held) != part.fine_tuned:
            raise CheckpointError(f"the fine-tuned weights of {part.name} are {'unannounced' if held else 'missing'}")
        if held:
            backbones[part.name] = held
    if left:
        raise CheckpointError(f"it holds tensors that do not belong there: {', '.join(sorted(left))[:200]}")
    return head, golden, backbones


def write(checkpoint: Checkpoint, path: Path) -> str:
    """Write a checkpoint atomically and durably; returns the sha256 of the file. Never overwrites."""
    from safetensors.numpy import save

    head, golden = checkpoint.head, checkpoint.golden
    tensors: dict[str, Array] = {
        "head.weight": head.weight,
        "head.bias": head.bias,
        "head.mean": head.mean,
        "head.scale": head.scale,
        "golden.pictures": golden.pictures,
        "golden.features": golden.features,
        "golden.probabilities": golden.probabilities,
    }
    if head.groups is not None:
        tensors["head.groups"] = head.groups
    for part, state in checkpoint.backbones.items():
        tensors |= {f"{_BACKBONE_PREFIX}{part}.{name}": tensor for name, tensor in state.items()}
    _take_tensors(dict(tensors), checkpoint.metadata)  # what could not be read is not written
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    data = save(contiguous, {_METADATA_KEY: checkpoint.metadata.model_dump_json()})
    with atomic_file(path) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Any]:
    """A binary file that appears under its name complete and durable, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        partial.rename(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable, fsync(2)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Pointer(_Strict):
    """``current.json``: which run is in use, and the sha256 its checkpoint must have."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    run: str
    sha256: str
    published: str = ""

    @model_validator(mode="after")
    def _inside(self) -> Pointer:
        if Path(self.run).name != self.run or self.run in {"", ".", ".."}:
            raise ValueError("run is not the name of a folder")
        return self


def read_pointer(checkpoints: Path) -> Pointer | None:
    """The pointer of a ``checkpoints/`` folder; None when nothing is published. Raises `CheckpointError`."""
    path = checkpoints / POINTER
    try:
        return Pointer.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged: publish again with python -m trainer publish") from error


def resolve(path: Path) -> Path:
    """The checkpoint file meant by a file, a run folder or a ``checkpoints/`` folder. Raises `CheckpointError`."""
    if not path.is_dir():
        if path.exists():
            return path
        raise CheckpointError(f"there is no checkpoint {path}: give a checkpoint file, a run folder or its parent")
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    pointer = read_pointer(path)
    if pointer is None:
        raise CheckpointError(f"nothing is published in {path}: make a checkpoint with python -m trainer fit")
    target = path / pointer.run / FILE_NAME
    if not target.is_file():
        raise CheckpointError(f"{path / POINTER} names the run {pointer.run}, which is not there")
    return target


def load(path: Path) -> Checkpoint:
    """Read the checkpoint that `resolve` finds; a published one must be the very file that was published."""
    pointer = None if (path / FILE_NAME).is_file() else read_pointer(path)
    if pointer is None:
        return read(resolve(path))
    checkpoint = read(path / pointer.run / FILE_NAME)
    if pointer.sha256 != checkpoint.digest:
        raise CheckpointError(
            f"the checkpoint of run {pointer.run} is not the file that was published (its sha256 begins "
            f"{checkpoint.digest[:12]}, not {pointer.sha256[:12]}): publish again with python -m trainer publish"
        )
    return checkpoint


def publish(run: Path, sha256: str, published: str) -> None:
    """Point ``current.json`` beside the run folder at it, atomically. ``published``: the time, ISO 8601."""
    pointer = Pointer(run=run.name, sha256=sha256, published=published)
    with atomic_file(run.parent / POINTER) as file:
        file.write(pointer.model_dump_json(indent=1).encode() + b"\n")
