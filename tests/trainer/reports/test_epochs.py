from __future__ import annotations

from pathlib import Path

from trainer.heads.linear import Epoch
from trainer.reports.epochs import write_epochs


def test_the_history_has_a_row_for_each_epoch(tmp_path: Path) -> None:
    epochs = [Epoch(1, 0.5, 0.4, 0.9, 1.0), Epoch(2, 0.3, 0.35, 0.92, 1.0)]
    write_epochs(tmp_path / "history.csv", {"head": epochs, "fine-tune": epochs[:1]})
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["head", "1", "0.500000"],
        ["head", "2", "0.300000"],
        ["fine-tune", "1", "0.500000"],
    ]
