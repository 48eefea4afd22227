"""What every test may use: the shared pictures where they exist, and small real models made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures that lies beside the project where it is built; absent elsewhere."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared pictures are not on this machine")
    return SHARED_DATA
