"""Checkpoint files: one safetensors file with a head, its metadata, golden samples and any fine-tuned weights.

Reading is strict and never unpickles: the size of the header is limited, the metadata must match a schema, and the
tensors must have the expected names, types and shapes. Writing is atomic. ``<run>/checkpoint.safetensors`` never
changes once written; ``current.json`` beside the runs names the one in use.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, field_validator

from models.checkpoints.head import Array, Golden, Head, Pretrained
from models.checkpoints.metadata import SCHEMA_VERSION, Metadata, PartRecord, Strict
from models.checkpoints.tensors import BACKBONE_PREFIX, take_tensors
from models.deciding.class_names import check_class_name
from models.errors import CheckpointError
from models.files.atomic import atomic_file
from models.text.language import tr

__all__ = [
    "FILE_NAME",
    "POINTER",
    "Array",
    "Checkpoint",
    "Golden",
    "Head",
    "Metadata",
    "PartRecord",
    "Pointer",
    "Pretrained",
    "check_class_name",
    "is_starter_published",
    "load",
    "parse_header",
    "publish",
    "publish_starter",
    "read",
    "read_metadata",
    "read_pointer",
    "read_published",
    "read_regular_file",
    "resolve",
    "write",
]

FILE_NAME = "checkpoint.safetensors"
POINTER = "current.json"

#: The header holds tensor names and metadata: a few kilobytes in practice.
MAX_HEADER_BYTES = 4 << 20
#: A fine-tuned ViT-L has 1.2 GB.
MAX_FILE_BYTES = 2 << 30
MAX_POINTER_BYTES = 1 << 16
#: The types that a tensor may have, as the file spells them.
_DTYPES = ("F32", "F16", "I64", "U8")

#: Versions of the metadata that can be read; fields that an older one lacks get their defaults.
_READABLE = (1, 2, 3, 4, SCHEMA_VERSION)

#: First bytes of files written by torch.save: a zip archive, or before torch 1.6 a pickle of protocol 2 or later.
_PICKLES = (b"PK\x03\x04", *(bytes([0x80, protocol]) for protocol in range(2, 6)))

_METADATA_KEY = "imagesortd"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory. ``backbones``: fine-tuned tensors by part, then name. ``digest``: sha256 of its file."""

    metadata: Metadata
    head: Head
    golden: Golden
    backbones: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    digest: str = ""


def read(path: Path) -> Checkpoint:
    """Read one checkpoint file into memory and check it. Raises `CheckpointError`."""
    with _errors_naming(path):
        return _parse(read_regular_file(path, MAX_FILE_BYTES))


def read_metadata(path: Path) -> Metadata:
    """Read the metadata of a checkpoint file alone, such as the names of its classes. Raises `CheckpointError`.

    That takes no longer for a large file, but the tensors are not checked, nor is the digest.
    """
    with _errors_naming(path), _opened(path) as (file, _):
        length = file.read(8)
        return _parse_metadata(
            parse_header(length + file.read(min(int.from_bytes(length, "little"), MAX_HEADER_BYTES)))
        )


def read_regular_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes. Raises `CheckpointError` for any other."""
    with _opened(path) as (file, size):
        if size > limit:
            raise CheckpointError(tr("it is too large ({size} bytes)", size=size))
        return file.read(size)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file, with its size. Raises `CheckpointError` for any other."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a named pipe would block
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(tr("it is not a file"))
        yield file, status.st_size


def _parse(data: bytes) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    metadata = _parse_metadata(parse_header(data))
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(tr("it is damaged: {error}", error=error)) from error
    head, golden, backbones = take_tensors(tensors, metadata)
    return Checkpoint(metadata, head, golden, backbones, hashlib.sha256(data).hexdigest())


@contextlib.contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Turn errors in the block into `CheckpointError`s that name the file."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            tr("there is no checkpoint {path}: give an existing file or run folder", path=path)
        ) from error
    except OSError as error:
        raise CheckpointError(
            tr("the checkpoint {path} cannot be read: {reason}", path=path, reason=error.strerror)
        ) from error
    except CheckpointError as error:
        raise CheckpointError(tr("the checkpoint {path} is not used: {error}", path=path, error=error)) from error


def parse_header(data: bytes, dtypes: Sequence[str] = _DTYPES) -> dict[str, Any]:
    """Parse the JSON header of a safetensors file, before anything is allocated for the tensors that it announces.

    These must be of the ``dtypes``, as the file spells them. Raises `CheckpointError`.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        if data.startswith(_PICKLES) or data[257:262] == b"ustar":
            raise CheckpointError(
                tr(
                    "it is a PyTorch pickle (.pth, .pt, .pth.tar), which is never opened because it can run any "
                    "code: make a new checkpoint from the same images with python -m trainer fit --data-dir DIR"
                )
            )
        raise CheckpointError(tr("it is not a safetensors file, or is truncated"))
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(tr("its header is too large ({length} bytes)", length=length))
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(tr("it is not a safetensors file")) from error
    if not isinstance(header, dict):
        raise CheckpointError(tr("it is not a safetensors file"))
    for name, tensor in header.items():
        dtype = tensor.get("dtype") if isinstance(tensor, dict) else None
        if name != "__metadata__" and not (isinstance(dtype, str) and dtype in dtypes):
            raise CheckpointError(
                tr(
                    "the tensor {name} is of type {dtype}; it may be one of {names}",
                    name=name,
                    dtype=dtype,
                    names=", ".join(dtypes),
                )
            )
    return header


def _parse_metadata(header: dict[str, Any]) -> Metadata:
    entries = header.get("__metadata__")
    text = entries.get(_METADATA_KEY) if isinstance(entries, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            tr("it holds weights but is not a checkpoint of imagesortd: make one with python -m trainer fit")
        )
    try:
        content = json.loads(text)
        version = content["schema_version"]
        text = json.dumps(content | {"schema_version": SCHEMA_VERSION})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(tr("its metadata is damaged")) from error
    if version not in _READABLE:
        raise CheckpointError(
            tr(
                "its format version is {version} and this program reads up to {known}: update the program, or "
                "fit again with this one",
                version=str(version)[:40],
                known=SCHEMA_VERSION,
            )
        )
    try:
        return Metadata.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(step) for step in problem["loc"])
        raise CheckpointError(
            tr("its metadata is wrong at {where}: {first}", where=where or "the top", first=problem["msg"])
        ) from error


def write(checkpoint: Checkpoint, path: Path) -> str:
    """Write a checkpoint atomically and durably; return the sha256 of the file.

    Raises `CheckpointError` when the file exists already, and when the checkpoint would not pass `read`.
    """
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
    optional: dict[str, Array | None] = {
        "head.groups": head.groups,
        "unknown.basis": head.basis,
        "golden.strangeness": golden.strangeness,
    }
    if head.pretrained is not None:
        optional["pretrained.weight"] = head.pretrained.weight.astype(np.float16)
        optional["pretrained.bias"] = head.pretrained.bias
    if head.taught is not None:
        taught = head.taught
        optional |= {
            "taught.weight": taught.weight,
            "taught.bias": taught.bias,
            "taught.groups": taught.groups,
            "taught.known": taught.known.astype(np.float16),
            "taught.reach": taught.reach,
        }
    tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
    for part, state in checkpoint.backbones.items():
        tensors |= {f"{BACKBONE_PREFIX}{part}:{name}": tensor for name, tensor in state.items()}
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    data = save(contiguous, {_METADATA_KEY: checkpoint.metadata.model_dump_json()})
    digest = _parse(data).digest
    try:
        with atomic_file(path, replace=False) as file:
            file.write(data)
    except FileExistsError as error:
        raise CheckpointError(
            tr("{path} exists, and a checkpoint is never replaced: give another run folder", path=path)
        ) from error
    return digest


class Pointer(Strict):
    """The content of ``current.json``: which run is in use, and the sha256 that its checkpoint must have."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    run: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    published: str = ""  # when, in ISO 8601

    @field_validator("run")
    @classmethod
    def _check_run_name(cls, run: str) -> str:
        if run in {"", ".", ".."} or "/" in run or "\0" in run or len(run.encode()) > 255:
            raise ValueError("run is not the name of a folder")
        return run


def read_pointer(checkpoints: Path) -> Pointer | None:
    """Read the pointer of a ``checkpoints/`` folder; None when no run is published. Raises `CheckpointError`."""
    path = checkpoints / POINTER
    try:
        return Pointer.model_validate_json(read_regular_file(path, MAX_POINTER_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(tr("{path} cannot be read: {reason}", path=path, reason=error.strerror)) from error
    except (ValidationError, CheckpointError) as error:
        if is_starter_published(checkpoints):
            return None
        raise CheckpointError(
            tr("{path} is damaged: publish again with python -m trainer publish", path=path)
        ) from error


def resolve(path: Path) -> Path:
    """Find the checkpoint file of a file, a run folder or a ``checkpoints/`` folder. Raises `CheckpointError`."""
    if not path.is_dir():
        if path.exists():
            return path
        raise CheckpointError(
            tr(
                "there is no checkpoint {path}: make one with python -m trainer fit, or give a checkpoint file, a run "
                "folder or its parent",
                path=path,
            )
        )
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    pointer = read_pointer(path)
    if pointer is None:
        raise CheckpointError(_nothing_published(path))
    target = path / pointer.run / FILE_NAME
    if not target.is_file():
        raise CheckpointError(
            tr("{path} names the run {run}, which does not exist", path=path / POINTER, run=pointer.run)
        )
    return target


def _nothing_published(folder: Path) -> str:
    """Say that a folder of runs has none that is published, and what to do about it."""
    if any(folder.glob(f"*/{FILE_NAME}")):
        return tr(
            "no run is published in {folder}: give a run folder, or publish the newest run with "
            "python -m trainer publish latest --output-dir {folder}",
            folder=folder,
        )
    return tr("nothing is published in {folder}: make a checkpoint with python -m trainer fit", folder=folder)


def load(path: Path) -> Checkpoint:
    """Read the checkpoint that `resolve` finds; a published one must still have the sha256 that was published."""
    pointer = None if (path / FILE_NAME).is_file() else read_pointer(path)
    if pointer is None:
        return read(resolve(path))
    return read_published(path / pointer.run / FILE_NAME, pointer.sha256)


def read_published(path: Path, sha256: str) -> Checkpoint:
    """Read the checkpoint file of a run; raise `CheckpointError` unless it has the sha256 that was published."""
    checkpoint = read(path)
    if sha256 != checkpoint.digest:
        raise CheckpointError(
            tr(
                "the checkpoint of run {name} is not the file that was published (its sha256 begins "
                "{digest}, not {sha256}): go back with python -m trainer rollback, or fit again",
                name=path.parent.name,
                digest=checkpoint.digest[:12],
                sha256=sha256[:12],
            )
        )
    return checkpoint


def publish_starter(folder: Path, published_at: str) -> None:
    """Publish the starter model, atomically. ``published_at`` is the time in ISO 8601.

    It is published by a pointer that says so, not by removing the pointer: that may have been lost by accident, and
    then the daemon keeps the model in use.
    """
    with atomic_file(folder / POINTER) as file:
        file.write(json.dumps({"starter": True, "published": published_at}, indent=1).encode() + b"\n")


def is_starter_published(folder: Path) -> bool:
    """Whether the starter model is published in a ``checkpoints/`` folder."""
    try:
        content = json.loads(read_regular_file(folder / POINTER, MAX_POINTER_BYTES))
    except (OSError, ValueError, RecursionError, CheckpointError):
        return False
    return isinstance(content, dict) and content.get("starter") is True and "run" not in content


def publish(run: Path, sha256: str, published_at: str) -> None:
    """Point ``current.json`` beside the run folder at the run, atomically. ``published_at`` is the time in ISO 8601."""
    pointer = Pointer(run=run.name, sha256=sha256, published=published_at)
    with atomic_file(run.parent / POINTER) as file:
        file.write(pointer.model_dump_json(indent=1).encode() + b"\n")
