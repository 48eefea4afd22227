"""Checkpoints: what is written comes back, and nothing is replaced or half-written."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import FILE_NAME, Checkpoint, publish, read, write
from models.errors import CheckpointError
from tests.models.small_checkpoints import pretrained_checkpoint, small_checkpoint, with_taught


def arrays(checkpoint: Checkpoint) -> dict[str, Any]:
    """Every tensor of a checkpoint by some name."""
    named = {**vars(checkpoint.head), **vars(checkpoint.golden)}
    for parts in ("pretrained", "taught"):
        part = named.pop(parts)
        if part is not None:
            named |= {f"{parts}/{name}": tensor for name, tensor in vars(part).items()}
    for part, state in checkpoint.backbones.items():
        named |= {f"{part}/{name}": tensor for name, tensor in state.items()}
    return named


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


# --- writing


@pytest.mark.parametrize("make", [small_checkpoint, pretrained_checkpoint, with_taught])
def test_everything_written_comes_back(path: Path, make: Callable[[], Checkpoint]) -> None:
    original = make()
    digest = write(original, path)
    back = read(path)
    assert back.metadata == original.metadata
    assert back.digest == digest
    wanted, got = arrays(original), arrays(back)
    assert set(got) == set(wanted)
    for name, tensor in wanted.items():
        assert got[name].dtype == tensor.dtype, name
        assert got[name].shape == tensor.shape, name
        np.testing.assert_array_equal(got[name], tensor)


def test_the_digest_is_the_files_sha256(path: Path) -> None:
    digest = write(small_checkpoint(), path)
    assert subprocess.check_output(["sha256sum", path], text=True).split()[0] == digest


def test_a_head_without_groups_and_a_threshold_of_none_come_back(path: Path) -> None:
    ungrouped = small_checkpoint(classes=list("abcde"), threshold=None)
    head = dataclasses.replace(ungrouped.head, groups=None)
    golden = dataclasses.replace(ungrouped.golden, probabilities=np.full((2, 5), 0.2, np.float32))
    write(dataclasses.replace(ungrouped, head=head, golden=golden), path)
    back = read(path)
    assert back.head.groups is None
    assert back.metadata.threshold is None


def test_a_measure_that_is_not_a_number_stays_one(path: Path) -> None:
    write(small_checkpoint(metrics={"recall of an empty class": math.nan, "worst": math.inf}), path)
    metrics = read(path).metadata.metrics
    assert math.isnan(metrics["recall of an empty class"])
    assert metrics["worst"] == math.inf


def test_arrays_that_lie_otherwise_in_memory_are_written_the_same(path: Path) -> None:
    original = small_checkpoint()
    transposed = np.asfortranarray(original.head.weight)
    write(dataclasses.replace(original, head=dataclasses.replace(original.head, weight=transposed)), path)
    np.testing.assert_array_equal(read(path).head.weight, original.head.weight)


def test_the_file_is_for_everybody_to_read_and_nothing_lies_beside_it(path: Path) -> None:
    write(small_checkpoint(), path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == [FILE_NAME]


def test_a_checkpoint_is_never_replaced(path: Path, good: bytes) -> None:
    with pytest.raises(CheckpointError, match="never replaced"):
        write(small_checkpoint(temperature=9.0), path)
    assert path.read_bytes() == good
    assert names(path.parent) == [FILE_NAME]


def test_nor_is_it_replaced_where_there_are_no_hard_links(
    path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(CheckpointError, match="never replaced"):
        write(small_checkpoint(temperature=9.0), path)
    assert path.read_bytes() == good
    other = path.parent.parent / "other" / FILE_NAME
    write(small_checkpoint(), other)
    assert names(other.parent) == [FILE_NAME]
    assert other.read_bytes() == good


def test_what_could_not_be_read_is_not_written(path: Path) -> None:
    fine = small_checkpoint()
    spoilt = fine.head.weight.copy()
    spoilt[1, 1] = np.nan
    for wrong in (
        dataclasses.replace(fine, head=dataclasses.replace(fine.head, weight=spoilt)),
        dataclasses.replace(fine, head=dataclasses.replace(fine.head, bias=fine.head.bias.astype(np.float64))),
        dataclasses.replace(fine, backbones={}),
        small_checkpoint(settings={"note": "x" * (checkpoints.MAX_HEADER_BYTES)}),
    ):
        with pytest.raises(CheckpointError):
            write(wrong, path)
        assert not path.parent.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.models.small_checkpoints import small_checkpoint
from models.files import atomic
from models.checkpoints import checkpoint

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "before the sync":
    os.fsync = die
else:
    atomic._rename_new = die
checkpoint.write(small_checkpoint(), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["before the sync", "before the rename"])
def test_a_writer_that_is_killed_leaves_nothing_under_the_name(path: Path, moment: str) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(path), moment]).returncode == -9
    assert not path.exists()
    assert all(name.startswith(f".{FILE_NAME}.") for name in names(path.parent))
    write(small_checkpoint(), path)
    read(path)


def test_a_file_is_durable_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            steps.append(name)
            return call(*arguments, **options)

        return wrapped

    monkeypatch.setattr(os, "fsync", noting("sync", os.fsync))
    monkeypatch.setattr(Path, "hardlink_to", noting("name", Path.hardlink_to))
    monkeypatch.setattr(Path, "rename", noting("name", Path.rename))
    digest = write(small_checkpoint(), path)
    assert steps == ["sync", "name", "sync"]
    publish(path.parent, digest, "")
    assert steps == ["sync", "name", "sync"] * 2
