"""Memory that a decoder and the daemon share."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import numpy as np
import pytest

from daemon.decoding.shared_crops import SLOTS, CropBuffer, create, size_for, slots_for
from models.decoding.images import Transform
from tests.processes import opened

TRANSFORMS = [
    Transform(resize=8, crop=side, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1)) for side in (5, 7, 5)
]


@pytest.fixture
def shared() -> Iterator[int]:
    descriptor = create(size_for(TRANSFORMS))
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def both(shared: int) -> Iterator[tuple[CropBuffer, CropBuffer]]:
    """The same memory as the daemon and as a decoder see it."""
    ours, theirs = CropBuffer(shared), CropBuffer(shared)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_crops_come_over_and_stay_when_others_are_written(both: tuple[CropBuffer, CropBuffer]) -> None:
    ours, theirs = both
    random = np.random.default_rng(1)
    written = [random.integers(0, 256, (each.crop, each.crop, 3), np.uint8) for each in TRANSFORMS]
    theirs.write_crops(1, written)
    read = ours.crops(1, TRANSFORMS)
    for slot in range(3):
        theirs.write_crops(slot, [np.zeros_like(crop) for crop in written])
    for crop, expected in zip(read, written, strict=True):
        np.testing.assert_array_equal(crop, expected)


def test_every_slot_has_room_of_its_own(both: tuple[CropBuffer, CropBuffer]) -> None:
    ours, theirs = both
    for slot in range(SLOTS):
        theirs.write_crops(slot, [np.full((each.crop, each.crop, 3), slot, np.uint8) for each in TRANSFORMS])
        theirs.write_source(slot, {"slot": slot, "long": "x" * 900})
    for slot in range(SLOTS):
        assert all((crop == slot).all() for crop in ours.crops(slot, TRANSFORMS))
        assert ours.source(slot) == {"slot": slot, "long": "x" * 900}


def test_what_is_finished_is_so_from_the_first_slot_on(both: tuple[CropBuffer, CropBuffer]) -> None:
    ours, theirs = both
    assert ours.finished_count() == 0
    for slot, expected in [(0, 1), (2, 1), (1, 3)]:
        theirs.mark_finished(slot)
        assert ours.finished_count() == expected
    for slot in range(SLOTS):
        theirs.mark_finished(slot)
    assert ours.finished_count() == SLOTS
    ours.clear()
    assert ours.finished_count() == 0


@pytest.mark.parametrize(("crops", "slots"), [([], SLOTS), ([224], SLOTS), ([224, 384], SLOTS), ([480] * 4, 3)])
def test_as_many_images_at_once_as_there_is_room_for(crops: list[int], slots: int) -> None:
    transforms = [
        Transform(resize=side, crop=side, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1)) for side in crops
    ]
    assert slots_for(transforms) == slots
    descriptor = create(size_for(transforms))
    try:
        buffer = CropBuffer(descriptor)
        assert [len(buffer.crops(slot, transforms)) for slot in range(slots)] == [len(crops)] * slots
        buffer.close()
    finally:
        os.close(descriptor)


def test_a_note_is_there_until_it_is_cleared(both: tuple[CropBuffer, CropBuffer]) -> None:
    ours, theirs = both
    assert ours.source(3) is None
    theirs.write_source(3, {"a": 1})
    assert [ours.has_source(slot) for slot in (2, 3, 4)] == [False, True, False]
    assert ours.source(3) == {"a": 1}
    ours.clear()
    assert not ours.has_source(3)
    assert ours.source(3) is None


@pytest.mark.parametrize(
    "nonsense", [b"\xff" * 1024, b"\x02" + bytes(7) + b"[]", b"\x01" + bytes(7) + b"{", b"[" * 1024]
)
def test_a_note_of_nonsense_is_a_value_error(shared: int, both: tuple[CropBuffer, CropBuffer], nonsense: bytes) -> None:
    os.pwrite(shared, nonsense, 0)
    assert both[0].has_source(0)
    with pytest.raises(ValueError):  # noqa: PT011 - of json or ours
        both[0].source(0)


def test_there_is_room_for_crops_of_any_size() -> None:
    large = Transform(resize=4000, crop=4000, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
    descriptor = create(size_for([large]))
    try:
        buffer = CropBuffer(descriptor)
        assert [crop.shape for crop in buffer.crops(0, [large])] == [(4000, 4000, 3)]
        assert slots_for([large]) == 1
        buffer.close()
    finally:
        os.close(descriptor)


def test_nobody_can_cut_it_short(shared: int) -> None:
    """Else a decoder that was taken over could kill the daemon with a bus error."""
    for size in (0, size_for(TRANSFORMS) * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(shared, size)


def test_it_takes_no_memory_before_it_is_written_to(shared: int) -> None:
    buffer = CropBuffer(shared)
    assert os.fstat(shared).st_blocks == 0
    buffer.write_crops(0, [np.ones((7, 7, 3), np.uint8)])
    assert 0 < os.fstat(shared).st_blocks * 512 <= 2 << 20  # one page, which may be a huge one
    buffer.close()


def test_an_older_linux_does_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 6.3 there is no ``MFD_NOEXEC_SEAL``."""
    real = os.memfd_create

    def older(name: str, flags: int) -> int:
        if flags & ~(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(name, flags)

    monkeypatch.setattr(os, "memfd_create", older)
    descriptor = create(4096)
    assert os.fstat(descriptor).st_size == 4096
    os.close(descriptor)


def test_a_descriptor_is_not_leaked_where_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int, __: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    before = opened()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        create(4096)
    assert opened() <= before
