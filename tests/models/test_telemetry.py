"""Nobody is told what the program is used for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from models import registry
from models.inference.runtime import open_extractor
from models.weights.store import WeightsStore
from tests.processes import ROOT

OPEN = "import sys, models, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"


def test_the_runtime_keeps_nothing_for_its_maker(store: WeightsStore, tmp_path: Path) -> None:
    open_extractor([registry.locate(registry.EMBEDDED, None, store)], store)
    graph = next(store.folder("graphs").glob("*.onnx"))
    own = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    unset = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", OPEN, graph], env={**unset, **own}, check=True)
    assert list(tmp_path.iterdir()) == []
