from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.clusters import clusters, folded
from tests.trainer.heads.test_views import CORNER, OPTIONS, cube
from trainer.heads.choosing import choose_head
from trainer.heads.views import Part
from trainer.measuring.against_published import Verdict
from trainer.reports.narrate import choice, verdict


def test_the_table_of_few_images_has_the_figures_that_the_choice_is_made_by(capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = cube(20)
    folds = [folded(20, seed=seed) for seed in range(3)]
    made = choose_head(
        features, labels, folds[0], 2, [Part("one", 3, pretrained=CORNER)], OPTIONS, redrawn_folds=folds[1:]
    )
    choice(made, 20, verbose=True)
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.endswith("  all ways to fold")
    shown = {row.name: f"{row.refolded_loss:.4f}" for row in made.candidates if row.refolded_loss is not None}
    assert set(shown) == {"logistic, C 0.003", "as ImageNet classes: logistic, C 0.003"}
    for name, figure in shown.items():
        (row,) = [row for row in rows if row.strip().startswith(f"{name}  ")]
        assert row.removesuffix("  <- taken").endswith(f"  {figure}")
        assert figure in rows[-1]


def test_the_table_of_many_images_has_no_column_without_figures(capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = clusters(150, 3)
    choice(choose_head(features, labels, folded(150), 3, [Part("one", 12)], OPTIONS), 150, verbose=True)
    assert capsys.readouterr().out.splitlines()[0].endswith("  temperature")


@pytest.mark.parametrize("publishable", [True, False])
def test_a_way_to_use_it_all_the_same_is_named_where_there_is_one(
    capsys: pytest.CaptureFixture[str], publishable: bool
) -> None:
    verdict(Verdict(False, "it is worse", publishable=publishable), Path("runs/one"))
    said = capsys.readouterr().out
    assert "not published: it is worse" in said
    assert ("python -m trainer publish" in said) is publishable
