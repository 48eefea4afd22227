"""Promises from audits: what a lesson can promise by a random sample of the images that came.

People correct mistakes only, so that corrections are no fair sample; but the images of an audit were drawn at random
among those that were filed. The head of a lesson may also file images that went to the others so far, which audits do
not cover. So the sample has such images, too, in the proportion in which they came (`daemon.learning.audited`), and one
whose class nobody has named counts as a mistake. So no mistake is missed at any threshold, and the promise holds for
everything that the lesson files.

Each image is judged as `trainer.learning.gate` does: out of fold where the lesson was fitted on it.

That lessons follow one another while somebody answers is ignored. Somebody who stops as soon as a promise is made more
often gets one that does not hold: with up to 300 answers and a lesson after every 20, one in six times where 5.2 % are
wrong and 5 % is asked for, and one in twenty by the last lesson alone.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.checkpoints.metadata import Level, Metadata, Promise
from models.checkpoints.promises import is_as_requested
from models.classifier import Classifier
from models.deciding.class_tree import ClassTree
from models.deciding.rule import DecisionRule, are_unknown
from models.scoring import score
from models.weights.store import WeightsStore
from trainer.data.cache import FeatureCache
from trainer.data.dataset import File, Mask
from trainer.data.features import extract
from trainer.learning.kept import Half, as_half
from trainer.learning.labels import GivenLabel, read_labels
from trainer.learning.lesson import Judged
from trainer.measuring.bounds import interval
from trainer.measuring.levels import lapsed_levels
from trainer.measuring.promises import Confidence, find_promise
from trainer.measuring.thresholds import STANDARD_MAX_ERRORS, Thresholds

#: How a line of the sample says that a person has judged an image that was drawn among those that were filed.
AUDITED = "audited"
#: Seconds in which features are computed; the cache keeps what was done for the next lesson.
_SECONDS = 60.0
_AT_A_TIME = 32

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Images that came, drawn at random: the content and the class of each, None where nobody can tell that.

    ``is_audited`` (n,): which ones were filed then, and judged since. ``features``, by sha256, are those of the images
    that are there.
    """

    sha256: Sequence[str]
    classes: Sequence[str | None]
    is_audited: Mask
    features: Mapping[str, Half]


def read_sample(
    given: Sequence[GivenLabel], known: Mapping[str, Half], in_use: Classifier, cache: FeatureCache
) -> Sample | None:
    """Compute the features of a sample that are not ``known`` by sha256; None where that takes too long."""
    names = [label.sha256 or "" for label in given]
    features = {name: known[name] for name in names if name in known}
    missing = [label for label in given if label.sha256 not in features and label.path]
    deadline = time.monotonic() + _SECONDS
    for start in range(0, len(missing), _AT_A_TIME):
        if time.monotonic() > deadline:
            return None
        files = [File(label.file, str(label.file), "") for label in missing[start : start + _AT_A_TIME]]
        extracted = extract([file for file in files if file.path.is_file()], in_use.extractor, cache)
        half = as_half(extracted.features)
        if half is not None:
            features |= {sample.sha256: row for sample, row in zip(extracted.samples, half, strict=True)}
    return Sample(
        names,
        [None if label.label is None else unicodedata.normalize("NFC", label.label) for label in given],
        np.array([label.how == AUDITED for label in given]),
        features,
    )


@dataclass(frozen=True)
class InnerOutcome:
    """The same for the folders above classes of one depth: whether the class that a person named lies in the likeliest.

    ``is_audited``: a person has named so much of it that this is known.
    """

    confidence: Confidence
    right: Mask
    is_audited: Mask


@dataclass(frozen=True)
class Outcome:
    """What a lesson makes of the images (n,) of a sample: how sure it is, below 0 where it does not file one.

    ``right`` is True only where a person has named that class. ``is_audited``: a person has judged the image.
    ``inner`` has the folders above classes, by their depth.
    """

    confidence: Confidence
    right: Mask
    is_audited: Mask
    inner: Mapping[int, InnerOutcome] = field(default_factory=dict)

    def promise(self, max_error: float) -> Promise | None:
        """Find the promise, with full certainty, that at most this share is wrong."""
        return find_promise(self.confidence, self.right, max_error)

    def contradicts(self, max_error: float, threshold: float) -> bool:
        """Whether more of the audited images above a threshold are wrong than chance explains at most this share."""
        filed = self.is_audited & (self.confidence.astype(np.float32) >= threshold)
        return _is_over(self.right[filed], max_error)

    def contradicted(self, levels: Sequence[Level], threshold: float) -> list[int]:
        """Return the depths of folders above classes where more of the audited images are wrong than was promised.

        Only those count that the lesson files there, since they are less sure of a class than its ``threshold``.
        """
        rule = DecisionRule(
            threshold, levels={level.depth: level.threshold for level in levels if level.threshold is not None}
        )
        groups = [(depth, inner.confidence) for depth, inner in self.inner.items()]
        places = rule.places(self.confidence, self.confidence < 0, groups)
        contradicted = []
        for level in levels:
            inner = self.inner.get(level.depth)
            if level.promise is not None and inner is not None:
                filed = inner.is_audited & (places == level.depth)
                contradicted += [level.depth] if _is_over(inner.right[filed], level.promise.max_error) else []
        return contradicted


def _is_over(right: Mask, max_error: float) -> bool:
    """Tell whether more filed images (n,) are wrong than chance explains at most this share."""
    return bool(len(right)) and interval(int((~right).sum()), len(right))[0] > max_error


def judge_sample(sample: Sample, fitted: Judged, metadata: Metadata) -> Outcome:
    """Judge a sample by a lesson; images that it was fitted on out of fold. ``metadata`` is that of the lesson.

    What cannot be read any more counts as filed wrongly. So does an image that the lesson was fitted on, if no head
    without it judged it: such an image, alone in its class, is mostly a mistake, and mistakes must not be missing here.
    So does one for which people named only a folder above classes, but it is no evidence against a class below that.
    """
    classes, count = fitted.images.classes, len(sample.sha256)
    confidence, best = np.ones(count), np.full(count, -1)
    judged = np.zeros((count, len(classes)))
    positions = np.full(len(fitted.judged), -1)
    positions[fitted.judged] = np.arange(int(fitted.judged.sum()))
    rows = dict(zip(fitted.images.sha256, positions.tolist(), strict=True))
    unseen = []
    for number, sha256 in enumerate(sample.sha256):
        row = rows.get(sha256)
        if row is None:
            unseen += [number] if sha256 in sample.features else []
        elif row >= 0:
            judged[number] = fitted.probabilities[row]
            best[number] = judged[number].argmax()
            confidence[number] = -1.0 if fitted.is_unknown[row] else judged[number].max()
    if unseen:
        inputs = np.stack([sample.features[sample.sha256[number]] for number in unseen]).astype(np.float32)
        scores, strangeness = score(metadata, fitted.head, inputs)
        judged[unseen], best[unseen] = scores, scores.argmax(axis=1)
        confidence[unseen] = np.where(are_unknown(strangeness), -1.0, scores.max(axis=1))
    named = [None if at < 0 else classes[at] for at in best.tolist()]
    right = np.array([label is not None and label == name for label, name in zip(sample.classes, named, strict=True)])
    tree = ClassTree(classes)
    tells = np.array([label is None or not tree.is_coarse(label) for label in sample.classes], dtype=bool)
    is_audited = sample.is_audited & (best >= 0)
    return Outcome(confidence, right, is_audited & tells, _judge_inner(sample, tree, judged, is_audited))


def _judge_inner(
    sample: Sample, tree: ClassTree, probabilities: Probabilities, is_audited: Mask
) -> dict[int, InnerOutcome]:
    """Judge the folders above classes of each depth by the ``probabilities`` (n, classes) of a sample."""
    found = {}
    for group in tree.score(probabilities):
        pairs = [(label, group.of(row).folder) for row, label in enumerate(sample.classes)]
        right = [label is not None and f"{label}/".startswith(f"{folder}/") for label, folder in pairs]
        tells = [label is None or not folder.startswith(f"{label}/") for label, folder in pairs]
        found[group.depth] = InnerOutcome(
            group.probability.astype(np.float64), np.array(right), is_audited & np.array(tells)
        )
    return found


@dataclass(frozen=True)
class Audits:
    """The sample of a lesson, of which ``source`` is the file, if there is one.

    ``base``: of the checkpoint that the lesson begins from. ``known``: features by sha256.
    """

    source: Path | None
    in_use: Classifier
    base: Metadata
    store: WeightsStore
    known: Mapping[str, Half]

    @cached_property
    def given(self) -> list[GivenLabel]:
        """The images of the sample. Raises `UserError`."""
        return [] if self.source is None else [label for label in read_labels(self.source) if label.sha256 is not None]

    def judge(self, fitted: Judged, *, audited_alone: bool = False) -> Outcome | None:
        """Judge the sample by a lesson, or only what was audited; None where there is none, or no time for it."""
        given = [label for label in self.given if label.how == AUDITED] if audited_alone else self.given
        if not given:
            return None
        with FeatureCache(self.in_use.extractor.parts, self.store) as cache:
            sample = read_sample(given, self.known, self.in_use, cache)
        return None if sample is None else judge_sample(sample, fitted, fitted.metadata(self.base))


def renew(found: Thresholds, base: Metadata, fitted: Judged, audits: Audits) -> Thresholds:
    """Make the promise of a lesson: from the images of the data set, which ``found`` is of, or from audits, or none.

    Without one the threshold of the run before stays in force. Where audits show that more is wrong than the images of
    the data set promise, these promise nothing any more: today's images differ. Each depth of folders above classes
    is doubted by what the lesson files there.
    """
    if base.max_error is None:
        return found
    kept, is_doubted = found.kept_promise, False
    if kept is not None and (alone := audits.judge(fitted, audited_alone=True)) is not None:
        is_doubted = alone.contradicts(kept.max_error, kept.threshold)
        if depths := alone.contradicted(found.levels, kept.threshold):
            found = replace(found, levels=_without(found.levels, depths))
    if is_as_requested(kept, base.max_error) and not is_doubted:
        return found
    outcome = audits.judge(fitted)
    audited = None if outcome is None else outcome.promise(base.max_error)
    levels = lapsed_levels(base, fitted.images.classes)  # what was filed above classes was not judged by itself
    if outcome is not None and audited is not None:
        return replace(_from_audits(found, audited, outcome), levels=levels)
    if kept is not None and not is_doubted:
        return found
    if base.kept_promise is None and not base.promise_lapsed and not is_doubted:
        return found
    lapsed = replace(found, own=base.served_threshold, kept_promise=None, lapsed=True, remedy=None, levels=levels)
    return replace(lapsed, promises=[], standard=[], is_doubted=True) if is_doubted else lapsed


def _without(levels: Sequence[Level], depths: Collection[int]) -> list[Level]:
    """End the promises of some depths; the thresholds stay in force."""
    return [level.model_copy(update={"promise": None}) if level.depth in depths else level for level in levels]


def _from_audits(found: Thresholds, audited: Promise, outcome: Outcome) -> Thresholds:
    """Return the thresholds of a promise that was made from audits, and the other promises that they allow."""
    found_others = (outcome.promise(share) for share in STANDARD_MAX_ERRORS if share != audited.max_error)
    others = [promise for promise in found_others if promise is not None]
    return replace(
        found,
        promises=sorted([*others, audited], key=lambda promise: promise.max_error),
        standard=[],  # report.txt takes these from the data set
        own=audited.threshold,
        kept_promise=audited,
        remedy=None,
        audited=int(outcome.is_audited.sum()),
    )
