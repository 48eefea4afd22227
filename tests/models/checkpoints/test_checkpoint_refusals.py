"""Checkpoints that are damaged or hostile: nothing doubtful is read, and each refusal says why."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import FILE_NAME, Checkpoint, read, write
from models.errors import CheckpointError
from tests.models.small_checkpoints import join, record, refusal, small_checkpoint, split, with_taught


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.safetensors", tmp_path / "no" / FILE_NAME):
        with pytest.raises(CheckpointError, match="there is no checkpoint .*: give an existing file or run folder"):
            read(missing)


def test_a_folder_and_a_pipe_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for each in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(CheckpointError):
            read(each)


@pytest.mark.parametrize("data", [b"", b"1234567", b"\xff" * 8, b"\xff" * 100, b"\x89PNG\r\n\x1a\n" + bytes(64)])
def test_what_is_no_safetensors_file_is_refused(path: Path, good: bytes, data: bytes) -> None:
    assert "it is not a safetensors file" in refusal(path, data)


def test_a_file_that_was_cut_off_is_refused_wherever_it_was_cut(path: Path, good: bytes) -> None:
    for length in [*range(0, len(good), 997), len(good) - 1]:
        refusal(path, good[:length])


def test_other_weights_are_no_checkpoint(path: Path, good: bytes) -> None:
    header, body = split(good)
    del header["__metadata__"]
    assert "not a checkpoint of imagesortd: make one with python -m trainer fit" in refusal(path, join(header, body))


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_under_a_checkpoints_name_is_not_opened(path: Path, good: bytes, tmp_path: Path) -> None:
    made = tmp_path / "made"
    data = pickle.dumps(Evil(made))
    refusal(path, data)
    assert not made.exists()
    pickle.loads(data)
    assert made.exists()


def _tar(content: bytes) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            member = tarfile.TarInfo("state")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        return file.getvalue()


def _zip(content: bytes) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("model/data.pkl", content)
        return file.getvalue()


@pytest.mark.parametrize("name", ["model_best.pth.tar", FILE_NAME])
@pytest.mark.parametrize("wrap", [bytes, _tar, _zip])
def test_weights_that_torch_pickled_are_called_so(name: str, wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(wrap(pickle.dumps({"epoch": 3, "state_dict": {"weight": list(range(500))}}, protocol=2)))
    with pytest.raises(CheckpointError, match=r"it is a PyTorch pickle .* python -m trainer fit"):
        read(path)


def test_a_huge_file_is_not_read(path: Path, good: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(checkpoints.MAX_FILE_BYTES + 1)
    with pytest.raises(CheckpointError, match=r"it is too large \(2147483649 bytes\)"):
        read(path)


def test_a_huge_header_is_not_parsed(path: Path, good: bytes) -> None:
    header, body = split(good)
    header["__metadata__"]["padding"] = "x" * checkpoints.MAX_HEADER_BYTES
    assert "its header is too large" in refusal(path, join(header, body))


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b'{"a": 1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe{}",
        b"1" * 5000,
        b'{"a": {"dtype": []}}',
    ],
)
def test_a_strange_header_is_refused(path: Path, good: bytes, header: bytes) -> None:
    refusal(path, join(header, b""))


@pytest.mark.parametrize("dtype", ["BF16", "F64", "F8_E4M3", "C64", "BOOL", "nonsense"])
def test_types_that_no_checkpoint_holds_are_refused(path: Path, good: bytes, dtype: str) -> None:
    header, body = split(good)
    header["head.bias"]["dtype"] = dtype
    assert f"the tensor head.bias is of type {dtype}" in refusal(path, join(header, body))


def test_a_declared_size_allocates_nothing(path: Path, good: bytes) -> None:
    header, body = split(good)
    header["head.bias"]["shape"] = [1 << 40]
    header["head.bias"]["data_offsets"] = [0, 1 << 42]
    refusal(path, join(header, body))


def spoil(**changes: Any) -> Checkpoint:
    """The small checkpoint with other arrays in its head or its golden samples."""
    fine = small_checkpoint()
    head = {name: changes.pop(name) for name in list(changes) if hasattr(fine.head, name)}
    return dataclasses.replace(
        fine, head=dataclasses.replace(fine.head, **head), golden=dataclasses.replace(fine.golden, **changes)
    )


def f32(*shape: int, fill: float = 0.0) -> Any:
    return np.full(shape, fill, np.float32)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: spoil(weight=f32(5, 7)), r"head.weight is float32\[5, 7\], expected float32\[None, 6\]"),
        (lambda: spoil(weight=f32(6)), r"head.weight is float32\[6\]"),
        (lambda: spoil(weight=f32(0, 6), bias=f32(0), groups=np.zeros(0, np.int64)), "head.weight has no outputs"),
        (lambda: spoil(groups=None), r"head.weight is float32\[5, 6\], expected float32\[3, 6\]"),
        (lambda: spoil(groups=np.array([0, 1, 2, 3, 0])), "names a class that does not exist"),
        (lambda: spoil(groups=np.array([0, 1, 2, -2, 0])), "names a class that does not exist"),
        (lambda: spoil(groups=np.full(5, -1)), "names a class that does not exist"),
        (lambda: spoil(groups=np.array([0, 1, 2, 0])), r"head.groups is int64\[4\], expected int64\[5\]"),
        (lambda: spoil(groups=f32(5)), "head.groups is float32"),
        (lambda: spoil(bias=f32(5).astype(np.float16)), "head.bias is float16"),
        (lambda: spoil(mean=f32(6, fill=np.nan)), "head.mean holds values that are not numbers"),
        (lambda: spoil(scale=f32(6, fill=np.inf)), "head.scale holds values that are not numbers"),
        (lambda: spoil(features=f32(3, 6)), "golden.features"),
        (lambda: spoil(probabilities=f32(2, 5)), "golden.probabilities"),
        (lambda: spoil(pictures=np.zeros((2, 64, 64, 3), np.uint8)), "golden.pictures"),
        (
            lambda: spoil(pictures=np.zeros((0, 32, 32, 3), np.uint8), features=f32(0, 6), probabilities=f32(0, 3)),
            "0 golden samples",
        ),
        (
            lambda: spoil(pictures=np.zeros((17, 32, 32, 3), np.uint8), features=f32(17, 6), probabilities=f32(17, 3)),
            "17 golden samples",
        ),
        (lambda: spoil(basis=None), "unknown.basis is missing"),
        (lambda: spoil(basis=f32(2, 5)), r"unknown.basis is float32\[2, 5\], expected float32\[None, 6\]"),
        (lambda: spoil(basis=f32(0, 6)), "unknown.basis has 0 directions in a space of 6"),
        (lambda: spoil(basis=f32(7, 6)), "unknown.basis has 7 directions in a space of 6"),
        (lambda: spoil(basis=f32(2, 6)), "unknown.basis is not orthonormal"),
        (lambda: spoil(basis=f32(2, 6, fill=1e38)), "unknown.basis is not orthonormal"),
        (lambda: spoil(basis=f32(2, 6, fill=np.nan)), "unknown.basis holds values that are not numbers"),
        (lambda: spoil(strangeness=None), "golden.strangeness is missing"),
        (lambda: spoil(strangeness=f32(3)), r"golden.strangeness is float32\[3\], expected float32\[2\]"),
        (
            lambda: dataclasses.replace(
                small_checkpoint(), metadata=small_checkpoint().metadata.model_copy(update={"unknown": None})
            ),
            "do not belong there: golden.strangeness, unknown.basis",
        ),
        (lambda: dataclasses.replace(small_checkpoint(), backbones={}), "weights of two are missing"),
        (
            lambda: small_checkpoint(parts=[record("one", 4), record("two", 2)]),
            "weights of two that its metadata does not announce",
        ),
        (
            lambda: dataclasses.replace(small_checkpoint(), backbones={"two": {"w": f32(2, fill=-np.inf)}}),
            r"backbone.two.w holds values that are not numbers",
        ),
        (
            lambda: dataclasses.replace(
                small_checkpoint(), backbones={**small_checkpoint().backbones, "three": {"w": f32(2)}}
            ),
            "do not belong there: backbone.three.w",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused_with_both_sides(
    path: Path, wrong: Callable[[], Checkpoint], sentence: str
) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        write(wrong(), path)


def test_a_missing_and_an_extra_tensor_are_named(path: Path, good: bytes) -> None:
    header, body = split(good)
    renamed = {("head.offset" if name == "head.bias" else name): tensor for name, tensor in header.items()}
    sentence = refusal(path, join(renamed, body))
    assert "the tensor head.bias is missing; it holds " in sentence
    assert "head.offset" in sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weight": f32(2, 5)}, "taught.weight is"),
        ({"groups": np.array([1, 3])}, "taught.groups names a class that does not exist"),
        ({"known": f32(0, 6)}, "taught.known holds no images"),
        ({"known": f32(4, 6, fill=np.nan)}, "taught.known holds values that are not numbers"),
        ({"reach": f32(4)}, "taught.reach is"),
    ],
)
def test_what_people_taught_is_checked(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        write(with_taught(**changes), tmp_path / "checkpoint.safetensors")
