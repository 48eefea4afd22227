"""How right a fit with the default options is on real pictures that it never saw."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from trainer.evaluate import EvaluateOptions, evaluate
from trainer.fit import fit
from trainer.fitted import FitOptions


def linked(shared: Path, name: str, root: Path, per_class: int | None = None) -> Path:
    """Links to the pictures of a set: fold 4 in ``test``, the others in ``train``."""
    seen: dict[tuple[str, str], int] = {}
    with (shared / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            side = "test" if row["fold"] == "4" else "train"
            count = seen[side, row["cls"]] = seen.get((side, row["cls"]), 0) + 1
            if per_class is None or count <= per_class:
                target = root / side / row["file"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(shared / name / row["file"])
    return root


def accuracy(root: Path, seed: int = 0, max_samples: int | None = None) -> float:
    outcome = fit(
        FitOptions(
            data_dir=root / "train",
            mode="efficientnet_lite0",
            output_dir=root / "runs",
            seed=seed,
            max_samples=max_samples,
            publish="never",
        )
    )
    summary = evaluate(EvaluateOptions(data_dir=root / "test", checkpoint=outcome.run, output_dir=root / "report"))
    assert summary["fitted_on"] == 0
    return float(summary["figures"]["accuracy"])


def test_scenes_from_few_images(shared_data: Path, tmp_path: Path) -> None:
    """16 a class, judged on 16 a class; so many were published to reach 0.89 on all of fold 4."""
    assert accuracy(linked(shared_data, "intel_scenes6", tmp_path, per_class=16)) > 0.82


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_scenes(shared_data: Path, tmp_path: Path) -> None:
    root = linked(shared_data, "intel_scenes6", tmp_path)
    figures = [accuracy(root, seed) for seed in range(3)]
    assert sum(figures) / len(figures) >= 0.91


@pytest.mark.slow
def test_ants_and_bees(shared_data: Path, tmp_path: Path) -> None:
    root = linked(shared_data, "hymenoptera2", tmp_path)
    assert accuracy(root) >= 0.96  # .928 to .94 without the classes of ImageNet, which has ants and bees


@pytest.mark.slow
def test_ants_and_bees_from_few_images(shared_data: Path, tmp_path: Path) -> None:
    """16 of each, drawn five times, of which .954 was measured; .918 where the classes of ImageNet are not taken."""
    root = linked(shared_data, "hymenoptera2", tmp_path)
    figures = [accuracy(root, seed, max_samples=16) for seed in range(5)]
    assert sum(figures) / len(figures) >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("name", ["intel_scenes6", "hymenoptera2"])
def test_of_two_backbones_and_both_together_the_table_shows_and_the_fit_takes_the_best(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    root = linked(shared_data, name, tmp_path, per_class=150)
    mode = "efficientnet_lite0+efficientnet_lite2"
    outcome = fit(FitOptions(data_dir=root / "train", mode=mode, output_dir=root / "runs", drop_parts=True))
    metrics = json.loads((outcome.run / "metrics.json").read_text(encoding="utf-8"))
    quick = {
        candidate["name"].partition(":")[0]: candidate["out_of_fold_loss"]
        for candidate in metrics["candidates"]
        if "logistic, C" in candidate["name"]
    }
    classes = " as ImageNet classes"
    singles = {f"{part}{view}" for part in mode.split("+") for view in ("", classes)}
    assert set(quick) == singles | {"all parts"}
    best = min(singles, key=quick.__getitem__)
    taken = metrics["head"]["taken"].partition(":")[0]
    if taken == "all parts":
        assert quick[taken] < quick[best.removesuffix(classes)]
    else:  # a part's classes are taken only where they are better by more than chance
        assert taken in {best, best.removesuffix(classes)}
    assert outcome.predictions.figures()["log_loss"] < quick["efficientnet_lite0"]
