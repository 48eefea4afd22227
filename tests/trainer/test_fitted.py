"""What a fit promises, and what it ships for the daemon."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.promises import CERTAINTY, percent
from models.weights.store import WeightsStore
from tests.trainer.conftest import make_shapes
from trainer.fit import FitOutcome, fit
from trainer.fitted import FitOptions


def test_a_checkpoint_ships_its_promises_and_what_it_takes_for_unknown(fitted: FitOutcome) -> None:
    found = checkpoints.read(fitted.run / checkpoints.FILE_NAME)
    metadata = found.metadata
    assert (metadata.threshold, metadata.max_error) == (None, None)
    assert all(promise.certainty == CERTAINTY for promise in metadata.promises)
    assert metadata.unknown is not None
    assert found.head.basis is not None
    assert found.golden.strangeness is not None
    assert (found.golden.strangeness > 0).all()
    metrics = json.loads((fitted.run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["filing"] == fitted.predictions.counts_at(0.5).figures()
    shipped = metrics["thresholds"]
    assert shipped["max_error"] is None
    assert shipped["promises"] == [promise.model_dump() for promise in metadata.promises]
    assert 60 < shipped["judged"] <= len(fitted.predictions.labels)  # some shapes on noise look much the same


def test_where_a_promise_cannot_be_kept_only_the_surest_are_filed_and_one_sentence_says_why(
    store: WeightsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.root.is_absolute()
    folder = make_shapes(tmp_path / "few", 10, labels=("circle", "cross"))
    options = FitOptions(data_dir=folder, mode="efficientnet_lite0", output_dir=tmp_path / "runs", max_error=0.01)
    outcome = fit(options)
    said = capsys.readouterr().out
    sure = checkpoints.load(outcome.run).metadata.served_threshold
    assert sure >= 0.99
    in_force = (
        f"images it is less than {percent(sure)} % sure of go to others/ (only the surest are filed, since at most "
        "1 % wrong was asked for and nothing can be promised; promising 1 % with 95 % certainty takes about "
    )
    assert in_force in said
    assert in_force in (outcome.run / "report.txt").read_text(encoding="utf-8")
    assert outcome.published
    assert said.count("will get no more images") == 1
    assert said.index("will get no more images") < said.index("\npublished")
    metadata = checkpoints.load(outcome.run).metadata
    assert (metadata.threshold, metadata.max_error, metadata.promises) == (sure, 0.01, [])
    assert metadata.settings["max_error"] == 0.01
    assert np.isfinite(metadata.temperature)
    lax = checkpoints.load(fit(replace(options, threshold=0.5)).run).metadata
    assert (lax.threshold, lax.max_error) == (sure, 0.01)
    assert "--threshold 0.5 is not used" in capsys.readouterr().out
    insisted = checkpoints.load(fit(replace(options, threshold=0.5, publish="always")).run).metadata
    assert (insisted.threshold, insisted.max_error) == (0.5, None)
