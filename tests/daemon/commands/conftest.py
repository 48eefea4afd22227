"""Folders of the tests of commands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short path, since that of a socket in it may have no more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="daemon-") as folder:
        yield Path(folder).resolve()
