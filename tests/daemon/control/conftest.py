"""The control socket of a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.control.desk import ControlDesk, control_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ControlDesk]:
    with control_desk(tmp_path) as desk:
        yield desk
