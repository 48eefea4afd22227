"""A day compressed: many small images, and a daemon that is afterwards as it was before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.benchmarks.day import feed

#: ``DAY_IMAGES`` says how many.
IMAGES = int(os.environ.get("DAY_IMAGES", "100000"))
#: Bytes of the journal's write-ahead log, which grows to its size with the first images, and no more.
LOG = 5 << 20


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
def test_a_day(tmp_path: Path) -> None:
    day = feed(tmp_path, IMAGES)
    assert day.memory_slope * IMAGES < 64 << 20
    assert day.descriptors_more <= 16
    assert day.journal_per_image * IMAGES < 1024 * IMAGES + LOG
