"""Classify crops: features, head, calibrated probabilities, predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from loguru import logger

from models import registry
from models.checkpoints import checkpoint as checkpoints
from models.checkpoints.checkpoint import Array, Checkpoint, Golden, Head, Metadata, PartRecord
from models.checkpoints.tuned import tuned_backbone
from models.deciding.rule import Prediction as Prediction
from models.decoding.images import Transform
from models.errors import CheckpointError, WeightsUnavailable
from models.inference.devices import Device, Precision
from models.inference.engines import Crops, Features
from models.inference.runtime import FeatureExtractor, graph_path, open_extractor
from models.inference.samples import sample_pictures
from models.registry import Backbone
from models.scoring import (
    Probabilities,
    Strangeness,
    by_part,
    directions,
    head_probabilities,
    mean_by_logits,
    score,
)
from models.text.language import tr
from models.weights.hub import HubFolder
from models.weights.store import WeightsStore


class Bounds(NamedTuple):
    """How much golden samples may differ from when the checkpoint was made.

    ``cosine`` is the least cosine between features; the others are the largest differences.
    """

    cosine: float
    probability: float
    strangeness: float


#: Torch and ONNX Runtime differ by 1e-6 on one machine; processor generations may differ by more, and a wrong model by
#: far more than this.
FLOAT32 = Bounds(0.999, 0.02, 0.05)
#: For int8, compared with float32.
INT8 = Bounds(0.98, 0.05, 0.3)


class Scores(NamedTuple):
    """Calibrated probabilities (n, classes) and strangeness (n,) of n images; see `Prediction`."""

    probabilities: Probabilities
    strangeness: Strangeness


class Seen(NamedTuple):
    """What was seen in one image, to decide it together with others that are alike.

    ``direction`` (width,) is that of its features, at length 1: the product of two, their cosine, is how much alike the
    images are.
    """

    probabilities: Probabilities
    strangeness: float
    direction: Features


class Classifier:
    """A checkpoint ready to predict: the daemon and ``sort`` call `predict`, ``evaluate`` calls `score`."""

    def __init__(self, checkpoint: Checkpoint, extractor: FeatureExtractor) -> None:
        self.metadata = checkpoint.metadata
        self.digest = checkpoint.digest
        self.extractor = extractor
        self.head = checkpoint.head
        self.tree = checkpoint.metadata.tree

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities."""
        return self.metadata.classes

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transforms to decode an image with: one crop for each."""
        return self.extractor.transforms

    def probabilities(self, crops: Sequence[Crops]) -> Probabilities:
        """Compute calibrated probabilities (n, classes) of n images; ``crops``: (n, side, side, 3) for each part."""
        return head_probabilities(self.metadata, self.head, self.extractor.features(crops))

    def score(self, crops: Sequence[Crops]) -> Scores:
        """Compute probabilities and strangeness of n images in one pass; ``crops`` as for `probabilities`."""
        features = self.extractor.features(crops)
        return Scores(*score(self.metadata, self.head, features))

    def predict(self, crops: Sequence[Crops]) -> list[Prediction]:
        """Predict the class of each image; ``crops`` as for `probabilities`."""
        return self._predictions(self.score(crops))

    def see(self, crops: Sequence[Crops]) -> list[Seen]:
        """Return what `predict_together` needs of each image; ``crops`` as for `probabilities`."""
        features = self.extractor.features(crops)
        probabilities, strangeness = score(self.metadata, self.head, features)
        return list(map(Seen, probabilities, strangeness.tolist(), directions(features, self.metadata)))

    def predict_together(self, seen: Sequence[Seen]) -> Prediction:
        """Predict the class that several images have in common: by the means of their logits and their strangeness.

        Of a single image it is what `predict` returns.
        """
        if len(seen) == 1:
            probabilities = seen[0].probabilities
        else:
            probabilities = mean_by_logits(np.stack([image.probabilities for image in seen]))
        strangeness = np.array([np.mean([image.strangeness for image in seen])], np.float32)
        return self._predictions(Scores(probabilities[None], strangeness))[0]

    def _predictions(self, scores: Scores) -> list[Prediction]:
        probabilities, strangeness = scores
        best = probabilities.argmax(axis=1)
        groups = self.tree.score(probabilities)
        return [
            Prediction(
                self.classes[index],
                float(probabilities[row, index]),
                float(strangeness[row]),
                tuple(group.of(row) for group in groups),
            )
            for row, index in enumerate(best.tolist())
        ]


def make_checkpoint(
    metadata: Metadata,
    head: Head,
    extractor: FeatureExtractor,
    backbones: Mapping[str, Mapping[str, Array]] | None = None,
) -> Checkpoint:
    """Make a checkpoint with golden samples, by which every machine that loads it checks that it computes the same."""
    pictures = sample_pictures()
    features = extractor.sample_features(pictures)
    probabilities, strangeness = score(metadata, head, features)
    golden = Golden(pictures, features, probabilities, None if metadata.unknown is None else strangeness)
    return Checkpoint(metadata, head, golden, backbones or {})


def open_classifier(
    path: Path,
    store: WeightsStore,
    *,
    threads: int = 0,
    precision: Precision = "float32",
    device: Device = "cpu",
    sha256: str = "",
    reuse: Classifier | None = None,
    on_transforms: Callable[[Sequence[Transform]], None] | None = None,
) -> Classifier:
    """Load the checkpoint at ``path`` (a file, a run folder or a ``checkpoints/`` folder); check its golden samples.

    ``sha256`` is the digest that the file must have, if known. ``reuse`` is a classifier in use, opened with the same
    options: backbones that both have are loaded only once. ``on_transforms`` is called with the transforms as soon as
    they are known, long before the classifier is ready.

    With ``int8``, transformers run in int8 if the golden samples stay within `INT8`; otherwise a warning is logged and
    they run in float32.

    Raises `CheckpointError` when the checkpoint is damaged, unsafe or no longer computes the same, and
    `WeightsUnavailable` when the weights of a backbone cannot be obtained.
    """
    checkpoint = checkpoints.read_published(path, sha256) if sha256 else checkpoints.load(path)
    parts = [_open_backbone(record, checkpoint, store) for record in checkpoint.metadata.parts]
    if on_transforms is not None:
        on_transforms([part.transform for part in parts])
    extractor = open_extractor(
        parts,
        store,
        threads=threads,
        precision=precision,
        device=device,
        reuse=None if reuse is None else reuse.extractor,
    )
    classifier = Classifier(checkpoint, extractor)
    if "int8" in extractor.engine:
        try:
            _check_golden(classifier, checkpoint, path, INT8)
            return classifier
        except CheckpointError as error:
            logger.warning(tr("precision int8 is not used, float32 is: {error}", error=error))
        classifier = Classifier(checkpoint, open_extractor(parts, store, threads=threads))
    _check_golden(classifier, checkpoint, path, FLOAT32)
    return classifier


def _open_backbone(record: PartRecord, checkpoint: Checkpoint, store: WeightsStore) -> Backbone:
    """Return the backbone of a record: without its weights if its graph is cached, else with located weights."""
    transform = record.as_transform()
    if transform.fingerprint != record.fingerprint:
        raise CheckpointError(
            tr(
                "the checkpoint was made by a version that decodes images differently for {name}: fit again",
                name=record.name,
            )
        )
    recorded = Backbone(
        name=record.name,
        source=record.source,
        digest=record.digest,
        transform=transform,
        width=record.width,
        module=lambda: locate_part(record, store).module(),
    )
    if record.fine_tuned:
        tuned = tuned_backbone(recorded, checkpoint.backbones[record.name], store)
        if tuned.digest != record.digest:
            raise CheckpointError(
                tr("the fine-tuned weights of {name} are damaged: their digest does not match", name=record.name)
            )
        return tuned
    if graph_path(recorded, store).is_file():
        return recorded
    located = locate_part(record, store)
    if located.digest != record.digest:
        raise CheckpointError(
            tr(
                "the weights of {name} from {source} are not those the checkpoint was made with (sha256 "
                "{digest}, expected {wanted}): fit again, or bring the old ones back",
                name=record.name,
                source=record.source,
                digest=located.digest[:12],
                wanted=record.digest[:12],
            )
        )
    if located.transform != transform:
        raise CheckpointError(
            tr(
                "the checkpoint was made with other preprocessing of images for {name} ({transform}) than this "
                "program uses ({ours}): fit again",
                name=record.name,
                transform=transform,
                ours=located.transform,
            )
        )
    return located


def locate_part(record: PartRecord, store: WeightsStore) -> Backbone:
    """Locate a backbone at the source that the checkpoint records, else at its usual source.

    A checkpoint may name any repository: only those that this program knows are downloaded for it.
    """
    usual_source = registry.entry(record.name).weights
    if isinstance(usual_source, HubFolder) and usual_source.known_model(record.source) is None:
        store = store.without_network(tr("are not fetched because a checkpoint names them"))
    try:
        return registry.locate(record.name, record.source, store)
    except WeightsUnavailable:
        try:
            backbone = registry.locate(record.name, None, store)
        except WeightsUnavailable:
            backbone = None
        if backbone is None or backbone.digest != record.digest:
            raise
        return backbone


def _check_golden(classifier: Classifier, checkpoint: Checkpoint, path: Path, bounds: Bounds) -> None:
    """Compute the golden samples again, and raise `CheckpointError` unless they agree; features part by part."""
    golden, metadata = checkpoint.golden, checkpoint.metadata
    features = classifier.extractor.sample_features(golden.pictures)
    if features.shape != golden.features.shape:
        raise CheckpointError(
            tr(
                "the checkpoint {path} is not used: its backbones give {shape} features",
                path=path,
                shape=features.shape[1],
            )
        )
    for record, actual, expected in zip(
        metadata.parts, by_part(features, metadata), by_part(golden.features, metadata), strict=True
    ):
        norms = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1)
        if not np.all(np.sum(actual * expected, axis=1) >= bounds.cosine * norms):
            raise CheckpointError(
                tr(
                    "the checkpoint {path} is not used: {name} computes different features here than when the "
                    "checkpoint was made",
                    path=path,
                    name=record.name,
                )
            )
    probabilities, strangeness = score(metadata, checkpoint.head, features)
    distance = float(np.abs(probabilities - golden.probabilities).max())
    if not distance <= bounds.probability:
        raise CheckpointError(
            tr(
                "the checkpoint {path} is not used: its golden samples give different results than when it "
                "was made (probabilities differ by {distance:.3f})",
                path=path,
                distance=distance,
            )
        )
    if golden.strangeness is None:
        return
    if not np.all(np.abs(strangeness - golden.strangeness) <= bounds.strangeness * np.maximum(golden.strangeness, 1)):
        raise CheckpointError(
            tr(
                "the checkpoint {path} is not used: it measures another strangeness of its golden samples than "
                "when it was made",
                path=path,
            )
        )
