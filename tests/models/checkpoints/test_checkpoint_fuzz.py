"""Whatever a checkpoint file holds, reading it gives a checkpoint or a `CheckpointError`, in little memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.checkpoints.checkpoint import POINTER, load, read, read_pointer, write
from models.errors import CheckpointError
from models.inference.samples import SAMPLE_SIDE
from tests.models.small_checkpoints import join, pretrained_checkpoint, small_checkpoint, split

#: Many times what any of these small files needs, and far less than any of the sizes they may speak of.
MEMORY_BYTES = 64 << 20

quickly = settings(
    max_examples=70, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "some.safetensors"


@pytest.fixture(scope="module")
def good(path: Path) -> bytes:
    path.unlink(missing_ok=True)
    write(small_checkpoint(), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def kinds(good: bytes, path: Path) -> list[bytes]:
    """That one, and one whose inputs are the classes its backbone was pretrained with."""
    path.unlink()
    write(pretrained_checkpoint(), path)
    return [good, path.read_bytes()]


def check(path: Path, data: bytes) -> None:
    """Read these bytes, and hold whatever comes to the promises of `read`."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        found = read(path)
    except CheckpointError:
        pass
    else:
        outputs, width = found.head.weight.shape
        pretrained = found.head.pretrained
        assert (pretrained is not None) == (found.metadata.normalisation == "pretrained")
        if pretrained is None:
            assert width == found.metadata.width
        else:
            assert pretrained.weight.shape == (width, found.metadata.width)
            assert pretrained.bias.shape == (width,)
            assert np.isfinite(pretrained.weight).all()
        assert found.head.bias.shape == (outputs,)
        assert np.isfinite(found.head.weight).all()
        assert found.golden.pictures.shape[1:] == (SAMPLE_SIDE, SAMPLE_SIDE, 3)
        assert found.golden.probabilities.shape[1] == len(found.metadata.classes)
        told = found.metadata.unknown is not None
        assert (found.head.basis is not None) == (found.golden.strangeness is not None) == told
        if found.head.basis is not None:
            np.testing.assert_allclose(found.head.basis @ found.head.basis.T, np.eye(len(found.head.basis)), atol=2e-3)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY_BYTES


def test_the_files_themselves_are_read(path: Path, kinds: list[bytes]) -> None:
    for good, made in zip(kinds, (small_checkpoint(), pretrained_checkpoint()), strict=True):
        check(path, good)
        assert read(path).metadata == made.metadata


@quickly
@given(data=st.data())
def test_flipped_bits(path: Path, kinds: list[bytes], data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(kinds))
    spoilt = bytearray(good)
    header_bits = 8 * (8 + int.from_bytes(good[:8], "little"))
    anywhere = st.one_of(st.integers(0, header_bits - 1), st.integers(0, 8 * len(good) - 1))
    for bit in data.draw(st.lists(anywhere, min_size=1, max_size=8)):
        spoilt[bit // 8] ^= 1 << bit % 8
    check(path, bytes(spoilt))


@quickly
@given(data=st.data(), piece=st.binary(max_size=64))
def test_missing_inserted_and_doubled_pieces(path: Path, good: bytes, data: st.DataObject, piece: bytes) -> None:
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(good)), st.integers(0, len(good)))))
    check(path, good[:start] + piece + good[end:])
    check(path, good[:end] + piece + good[start:])
    check(path, good[:start])


@quickly
@given(length=st.integers(0, (1 << 64) - 1), body=st.binary(max_size=256))
def test_any_length_of_header(path: Path, good: bytes, length: int, body: bytes) -> None:
    check(path, length.to_bytes(8, "little") + good[8:])
    check(path, length.to_bytes(8, "little") + body)


@quickly
@given(data=st.data())
def test_edited_tensors(path: Path, kinds: list[bytes], data: st.DataObject) -> None:
    header, body = split(data.draw(st.sampled_from(kinds)))
    name = data.draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
    size = st.sampled_from([0, 1, 2, 6, 32, 1 << 31, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1, -1])
    edits: dict[str, st.SearchStrategy[Any]] = {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", "U8", "F64", "BOOL", "C64", "F4"]) | JSON,
        "shape": st.lists(size, max_size=5) | JSON,
        "data_offsets": st.lists(size | st.integers(0, len(body)), min_size=2, max_size=2) | JSON,
    }
    for key in data.draw(st.lists(st.sampled_from(sorted(edits)), min_size=1, unique=True)):
        header[name][key] = data.draw(edits[key])
    new_name = data.draw(
        st.sampled_from([name, "head.groups", "unknown.basis", "pretrained.weight", "backbone.two.x", "other"])
        | st.text(max_size=8)
    )
    header[new_name] = header.pop(name)
    check(path, join(header, body))


@quickly
@given(data=st.data())
def test_edited_metadata(path: Path, kinds: list[bytes], data: st.DataObject) -> None:
    header, body = split(data.draw(st.sampled_from(kinds)))
    metadata = json.loads(header["__metadata__"]["imagesortd"])
    place: Any = metadata
    while isinstance(place, dict | list) and place:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    header["__metadata__"]["imagesortd"] = json.dumps(metadata)
    check(path, join(header, body))
    header["__metadata__"] = data.draw(JSON)
    check(path, join(header, body))


@quickly
@given(content=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_pointer(tmp_path: Path, content: bytes) -> None:
    (tmp_path / POINTER).write_bytes(content)
    with pytest.raises(CheckpointError):
        read_pointer(tmp_path)
    with pytest.raises(CheckpointError):
        load(tmp_path)


@quickly
@given(run=st.text(max_size=300), sha256=st.text(max_size=70) | st.just("a" * 64))
def test_any_run_in_the_pointer(tmp_path: Path, run: str, sha256: str) -> None:
    (tmp_path / POINTER).write_text(json.dumps({"run": run, "sha256": sha256}))
    with pytest.raises(CheckpointError):
        load(tmp_path)
