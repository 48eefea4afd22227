"""The rule by which an image goes into the folder of its class, of several classes, or of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # `status` needs the words alone
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.floating[Any]]
    #: Where each of n images (n,) is filed: `AT_CLASS`, `NOWHERE`, or the depth of the inner folder.
    Places = npt.NDArray[np.int64]

#: An image that is stranger than this is unknown: it is like nothing that the head was fitted on.
_STRANGEST_KNOWN = 1.0

#: Instead of the depth of an inner folder, which is at least 1: in the folder of its class, and in none.
AT_CLASS = 0
NOWHERE = -1


class Fate(StrEnum):
    """What the rule decides for a classified image.

    SURE: into the folder of its class. ROLLED_UP: into an inner folder, which holds those of several classes. UNSURE
    and UNKNOWN: into the folder of the others. No image has two fates: one that is unknown is not called unsure,
    however improbable its class is.
    """

    SURE = "sure"  # of its class
    ROLLED_UP = "rolled up"  # sure to be of one of the classes below a folder, and not of which
    UNSURE = "unsure"  # less probable than the threshold
    UNKNOWN = "unknown"  # so strange that its class means nothing

    @property
    def is_of_class(self) -> bool:
        """Whether the image goes into the folder of its label, not into that of the others."""
        return self in (Fate.SURE, Fate.ROLLED_UP)


class GroupProbability(NamedTuple):
    """The most probable inner folder of its ``depth`` (1: at the top) for one image.

    Its ``probability`` is the sum of those of the classes below ``folder``.
    """

    folder: str
    probability: float
    depth: int


@dataclass(frozen=True)
class Prediction:
    """The most probable class of one image, and its probability in 0..1.

    ``strangeness`` is the distance of the image from the known images; above 1 it is unknown. It is 0 if the checkpoint
    does not measure it. ``groups`` are the most probable inner folders, one for each depth at which there are groups of
    classes (`models.deciding.class_tree`), the deepest first.
    """

    label: str
    confidence: float
    strangeness: float = 0.0
    groups: tuple[GroupProbability, ...] = ()

    @property
    def unknown(self) -> bool:
        """Whether the image is unlike all images that the head was fitted on, so that its class is meaningless."""
        return self.strangeness > _STRANGEST_KNOWN


class Ruling(NamedTuple):
    """What was decided for one image: its fate, the ``label`` that it is given, and the probability of that label.

    The label is the inner folder of an image that is rolled up, else the most probable class.
    """

    fate: Fate
    label: str
    confidence: float


def are_unknown(strangeness: npt.NDArray[np.floating[Any]]) -> Mask:
    """Tell which images (n,) are like nothing that the head was fitted on."""
    result: Mask = strangeness > _STRANGEST_KNOWN
    return result


class Limit(NamedTuple):
    """The threshold of one class or inner folder, and whether unknown images of it are refused."""

    threshold: float
    refuses_unknown: bool


@dataclass(frozen=True)
class DecisionRule:
    """A ``threshold`` in 0..1, and whether unknown images are refused, however probable their class is.

    ``levels`` has the thresholds of inner folders by their depth; at a depth without one nothing is rolled up. ``own``
    has the classes and inner folders that have limits of their own; only `decide` goes by them.
    """

    threshold: float
    refuses_unknown: bool = True
    levels: Mapping[int, float] = field(default_factory=dict)
    own: Mapping[str, Limit] = field(default_factory=dict)

    def places(self, confidence: Floats, unknown: Mask, groups: Sequence[tuple[int, Floats]] = ()) -> Places:
        """Decide for n images by the probability of their class (n,), and by whether they are ``unknown`` (n,).

        ``groups`` has the probability (n,) of the most probable inner folder of each depth. Of the inner folders that
        reach their threshold the deepest is taken. Probabilities are compared in single precision, as the classifier
        gives them.
        """
        import numpy as np

        places = np.full(len(confidence), NOWHERE, np.int64)
        for depth, probability in sorted(groups, key=lambda group: group[0]):
            if depth in self.levels:
                places[_single(probability) >= self.levels[depth]] = depth
        places[_single(confidence) >= self.threshold] = AT_CLASS
        if self.refuses_unknown:
            places[unknown] = NOWHERE
        return places

    def fates(self, confidence: Floats, unknown: Mask, groups: Sequence[tuple[int, Floats]] = ()) -> list[Fate]:
        """Return the fates of n images; for the parameters see `places`."""
        places = self.places(confidence, unknown, groups)
        return [
            Fate.UNKNOWN if is_refused else _FATES.get(place, Fate.ROLLED_UP)
            for place, is_refused in zip(places.tolist(), (unknown & self.refuses_unknown).tolist(), strict=True)
        ]

    def decide(self, prediction: Prediction) -> Ruling:
        """Decide for one image, and what it is filed as."""
        import numpy as np

        if self.own:
            return self._for(prediction).decide(prediction)
        confidence, unknown = np.array([prediction.confidence]), np.array([prediction.unknown])
        groups = [(group.depth, np.array([group.probability])) for group in prediction.groups]
        fate = self.fates(confidence, unknown, groups)[0]
        if fate is Fate.ROLLED_UP:
            depth = int(self.places(confidence, unknown, groups)[0])
            group = next(group for group in prediction.groups if group.depth == depth)
            return Ruling(fate, group.folder, group.probability)
        return Ruling(fate, prediction.label, prediction.confidence)

    def _for(self, prediction: Prediction) -> DecisionRule:
        """Return the rule that holds for the class of a prediction, and for the inner folders above it."""
        limit = self.own.get(prediction.label, Limit(self.threshold, self.refuses_unknown))
        own_levels = {group.depth: self.own[group.folder] for group in prediction.groups if group.folder in self.own}
        levels = {**self.levels, **{depth: own.threshold for depth, own in own_levels.items()}}
        return DecisionRule(limit.threshold, limit.refuses_unknown, levels)


_FATES = {AT_CLASS: Fate.SURE, NOWHERE: Fate.UNSURE}


def _single(probability: Floats) -> npt.NDArray[np.float64]:
    """Round to single precision, and compare in double, as the thresholds are."""
    import numpy as np

    result: npt.NDArray[np.float64] = probability.astype(np.float32).astype(np.float64)
    return result
