"""Write ``history.csv`` of a run: the losses and the accuracy of every epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.heads.linear import Epoch


def write_epochs(path: Path, stages: Mapping[str, Sequence[Epoch]]) -> None:
    """Write one row for each epoch of each stage."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["stage", "epoch", "train_loss", "held_out_loss", "held_out_accuracy", "seconds"])
        for stage, epochs in stages.items():
            for epoch in epochs:
                losses = (epoch.train_loss, epoch.held_out_loss, epoch.held_out_accuracy)
                rows.writerow([stage, epoch.number, *(f"{value:.6f}" for value in losses), f"{epoch.seconds:.2f}"])
