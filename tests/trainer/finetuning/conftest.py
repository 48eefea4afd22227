from __future__ import annotations

from pathlib import Path

import pytest

from models.weights.store import WeightsStore
from trainer.runs import resume
from trainer.runs.resume import UnfinishedFit


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnfinishedFit:
    """A place that keeps every epoch, however short it is."""
    monkeypatch.setattr(resume, "SAVE_PAUSE_FACTOR", 0)
    return UnfinishedFit(WeightsStore(tmp_path), {})
