"""When a head sees the features, and when the classes that the backbone was pretrained with."""

from __future__ import annotations

import csv
import itertools
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.checkpoints.checkpoint import Pretrained
from models.classifier import open_classifier
from models.decoding.images import decode
from models.inference.runtime import FeatureExtractor, locate_backbones, open_extractor
from models.scoring import likeness
from models.weights.store import WeightsStore
from tests.trainer.clusters import Floats, Ints, clusters, folded
from tests.trainer.conftest import draw
from trainer import fit as fitting
from trainer.data.dataset import scan
from trainer.data.features import extract
from trainer.evaluate import EvaluateOptions, evaluate
from trainer.fit import fit
from trainer.fitted import FitOptions
from trainer.heads.choice import Choice
from trainer.heads.choosing import FEW_IMAGES, choose_head
from trainer.heads.linear import GradientOptions
from trainer.heads.views import Part, view_of_all_parts
from trainer.measuring.calibration import accuracy

OPTIONS = GradientOptions(epochs=3)
CORNERS = np.array(list(itertools.product([-1, 1], repeat=3)), np.float32)
#: A backbone that tells the corners of a cube apart.
CORNER = Pretrained.rounded(8 * CORNERS, np.zeros(8, np.float32))


def cube(count: int, seed: int = 0) -> tuple[Floats, Ints]:
    """Corners of a cube with noise; neighbours are of two classes, so that no plane parts these."""
    random = np.random.default_rng(seed)
    corner = random.integers(0, 8, count)
    features = CORNERS[corner] + random.normal(0, 0.2, (count, 3))
    return features.astype(np.float32), (CORNERS[corner] > 0).sum(axis=1) % 2


def of_two_parts(*, drop: bool) -> Choice:
    features, labels = cube(300)
    noise = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    parts = [Part("one", 4), Part("two", 3, pretrained=CORNER)]
    return choose_head(
        np.concatenate([noise, features], axis=1), labels, folded(300), 2, parts, OPTIONS, drop_parts=drop
    )


def test_features_are_in_memory_once() -> None:
    features = np.random.default_rng(0).normal(size=(8192, 64)).astype(np.float32)
    labels, folds = np.arange(8192) % 2, folded(8192)
    tracemalloc.start()
    try:
        view = view_of_all_parts(features, labels, 2, folds, [Part("one", 40), Part("two", 24)])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert view.task.scaled is features
    assert most < 0.5 * features.nbytes


def test_the_classes_of_a_backbone_are_taken_where_they_tell_more() -> None:
    features, labels = cube(300)
    choice = choose_head(features, labels, folded(300), 2, [Part("one", 3, pretrained=CORNER)], OPTIONS)
    assert choice.pretrained is CORNER
    assert choice.winner.startswith("as ImageNet classes: ")
    assert "the ImageNet classes are clearly better than the features themselves" in choice.reason
    kinds = [candidate.name.partition(",")[0] for candidate in choice.candidates]
    assert kinds == ["logistic", "as ImageNet classes: logistic", "as ImageNet classes: gradient"]
    assert (choice.head.weight.shape, choice.scaling.mean.shape) == ((2, 8), (8,))
    assert choice.span is not None
    assert choice.span.basis.shape[1] == 8
    # Fine-tuning changes what the features are, so it begins from these.
    assert (choice.start.head.weight.shape, choice.start.scaling.mean.shape) == ((2, 3), (3,))
    new, truth = cube(200, seed=1)
    assert accuracy(choice.head.logits(choice.scaling.apply(likeness(new, CORNER))), truth) > 0.98


def test_the_features_are_taken_where_the_classes_are_not_clearly_better() -> None:
    features, labels = clusters(300, 3, spread=0.8)
    random = np.random.default_rng(2)
    pretrained = Pretrained.rounded(random.normal(size=(8, 12)).astype(np.float32), np.zeros(8, np.float32))
    choice = choose_head(features.copy(), labels, folded(300), 3, [Part("one", 12, pretrained=pretrained)], OPTIONS)
    plain = choose_head(features, labels, folded(300), 3, [Part("one", 12)], OPTIONS)
    assert choice.pretrained is None
    assert (choice.winner, choice.reason) == (plain.winner, plain.reason)
    assert (choice.head.weight == plain.head.weight).all()
    seen = [candidate.name for candidate in choice.candidates if candidate.name.startswith("as ImageNet classes: ")]
    assert seen == ["as ImageNet classes: logistic, C 0.003"]  # one look was enough


def test_few_images_are_folded_in_several_ways_before_their_classes_are_taken() -> None:
    features, labels = cube(48)
    corners = np.asarray((features > 0) @ [4, 2, 1], np.int64)  # no head saw the corner that it judges
    hint = 2 * labels + np.random.default_rng(1).normal(0, 1, 48)
    features = np.concatenate([features, hint[:, None]], axis=1).astype(np.float32)
    pretrained = Pretrained.rounded(np.pad(CORNER.weight, ((0, 0), (0, 1))), CORNER.bias)
    parts = [Part("one", 4, pretrained=pretrained)]
    alone = choose_head(features.copy(), labels, corners, 2, parts, OPTIONS)
    redrawn = [folded(48, seed=seed) for seed in range(4)]
    several = choose_head(features, labels, corners, 2, parts, OPTIONS, redrawn_folds=redrawn)
    assert alone.pretrained is None
    assert several.pretrained is pretrained
    assert (several.judged == alone.judged).all()
    assert several.out_of_fold.shape == (48, 2)


def test_few_images_keep_the_features_where_the_classes_mean_nothing() -> None:
    features, labels = clusters(48, 3, spread=0.8)
    random = np.random.default_rng(2)
    pretrained = Pretrained.rounded(random.normal(size=(8, 12)).astype(np.float32), np.zeros(8, np.float32))
    redrawn = [folded(48, seed=seed) for seed in range(1, 5)]
    parts = [Part("one", 12, pretrained=pretrained)]
    assert choose_head(features, labels, folded(48), 3, parts, OPTIONS, redrawn_folds=redrawn).pretrained is None


def drawn(count: int, seed: int) -> Choice:
    """A choice on a cube with little or much noise, whose labels a plane parts where the seed is odd."""
    random = np.random.default_rng([count, seed])
    features, labels = cube(count, seed)
    if seed % 2:
        labels = np.asarray(features[:, 0] > 0, np.int64)
    features += random.normal(0, random.uniform(0, 1), features.shape).astype(np.float32)
    folds, *redrawn = [folded(count, seed=number) for number in range(seed, seed + 5)]
    return choose_head(features, labels, folds, 2, [Part("one", 3, pretrained=CORNER)], OPTIONS, redrawn_folds=redrawn)


@pytest.mark.parametrize("count", [8, 12, 20, 40, 80, 120])
def test_what_is_said_of_a_choice_follows_from_its_table(count: int) -> None:
    for seed in range(6):
        choice = drawn(count, seed)
        rows = {row.name: row for row in choice.candidates}
        plain, classes = (
            {name: row for name, row in rows.items() if name.startswith(view)}
            for view in ("logistic", "as ImageNet classes: logistic")
        )
        refolded = [row.refolded_loss for row in (*plain.values(), *classes.values()) if row.refolded_loss is not None]
        if count < FEW_IMAGES:
            than, loss = refolded
            assert f"several divisions into folds ({loss:.4f} and {than:.4f})" in choice.reason
        else:
            assert not refolded
            than, loss = (min(row.loss for row in view.values()) for view in (plain, classes))
        better = "the ImageNet classes are clearly better than the features" in choice.reason
        assert better == choice.winner.startswith("as ImageNet classes: ")
        assert loss < than or not better
        taken = rows[choice.winner]
        other = min(classes.values(), key=lambda row: row.loss) if better else rows["the mean of gradient and logistic"]
        ahead = "it is more accurate than" in choice.reason
        assert ahead == (taken is not other)
        assert (taken.accuracy > other.accuracy and taken.loss < other.loss) or not ahead


def test_a_part_alone_may_be_served_as_its_classes_but_not_in_place_of_parts_that_were_asked_for() -> None:
    dropped, kept = of_two_parts(drop=True), of_two_parts(drop=False)
    assert (dropped.parts, dropped.pretrained) == ((1,), CORNER)
    assert dropped.winner.startswith("two as ImageNet classes: ")
    assert (kept.parts, kept.pretrained) == ((0, 1), None)
    assert "two as ImageNet classes alone would do as well: fit with --drop-parts" in kept.reason


def memorised(folder: Path, extractor: FeatureExtractor) -> tuple[Floats, Floats]:
    """A classifier over raw features that has learned the folder's images by heart, whatever their labels mean."""
    found = extract(scan(folder).files, extractor, None)
    labels = np.array([sample.label == "a" for sample in found.samples])
    middle = found.features.mean(axis=0)
    row = np.linalg.lstsq(found.features - middle, np.where(labels, 8.0, -8.0), rcond=None)[0]
    weight = np.stack([row, -row]).astype(np.float32)
    return weight, np.asarray(-weight @ middle, np.float32)


def test_evaluate_and_the_daemon_serve_it_as_it_was_fitted(
    store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels are drawn by lot, so only a backbone that was pretrained on these very images can tell them."""
    folder = tmp_path / "data"
    for number, label in enumerate(np.random.default_rng(0).permutation(["a", "b"] * 24)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        draw("circle", number).save(folder / label / f"{number}.png")
    (backbone,) = locate_backbones("efficientnet_lite0", {}, store)
    head = memorised(folder, open_extractor([backbone], store))
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "locate_backbones", lambda *_: (replace(backbone, imagenet_head=lambda: head),))
        outcome = fit(
            FitOptions(data_dir=folder, mode="efficientnet_lite0", output_dir=tmp_path / "runs", verbose=True)
        )
    assert "the ImageNet classes are clearly better" in capsys.readouterr().out
    assert outcome.published
    classifier = open_classifier(tmp_path / "runs", store)
    assert classifier.metadata.normalisation == "pretrained"
    assert classifier.metadata.unknown is not None
    report = tmp_path / "report"
    summary = evaluate(EvaluateOptions(data_dir=folder, checkpoint=outcome.run, output_dir=report, batch_size=7))
    assert summary["figures"]["accuracy"] == 1
    with (report / "predictions.csv").open(encoding="utf-8", newline="") as file:
        predicted = {row["file"]: row for row in csv.DictReader(file)}
    assert len(predicted) == 48
    for name, row in predicted.items():
        with (folder / name).open("rb") as picture:
            crops = decode(picture, classifier.transforms)
        (prediction,) = classifier.predict([crop[None] for crop in crops])
        assert prediction.label == row["predicted"]
        assert prediction.confidence == pytest.approx(float(row["confidence"]), abs=1e-4)
