"""The rule by which an image goes into the folder of its class, or to the others, as unsure or unknown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `status` needs the words alone
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

#: An image that is stranger than this is unknown: it is like nothing that the head was fitted on.
_STRANGEST_KNOWN = 1.0


class Fate(StrEnum):
    """What the rule decides for a classified image.

    SURE: into the folder of its class. UNSURE and UNKNOWN: into the folder of the others. No image has two fates: one
    that is unknown is not called unsure, however improbable its class is.
    """

    SURE = "filed"  # into the folder of its class; reports of the trainer have this word for it
    UNSURE = "unsure"  # less probable than the threshold
    UNKNOWN = "unknown"  # so strange that its class means nothing


def are_unknown(strangeness: npt.NDArray[np.floating[Any]]) -> Mask:
    """Tell which images (n,) are like nothing that the head was fitted on."""
    result: Mask = strangeness > _STRANGEST_KNOWN
    return result


@dataclass(frozen=True)
class Rule:
    """A ``threshold`` in 0..1, and whether unknown images are refused, however probable their class is."""

    threshold: float
    refuses_unknown: bool = True

    def fates(self, confidence: npt.NDArray[np.floating[Any]], unknown: Mask) -> list[Fate]:
        """Decide for n images by the probability of their class (n,), and by whether they are ``unknown`` (n,).

        Probabilities are compared in single precision, as the classifier gives them.
        """
        import numpy as np

        sure = confidence.astype(np.float32).astype(np.float64) >= self.threshold
        refused = unknown & self.refuses_unknown
        return [
            Fate.UNKNOWN if is_refused else Fate.SURE if is_sure else Fate.UNSURE
            for is_sure, is_refused in zip(sure.tolist(), refused.tolist(), strict=True)
        ]

    def fate(self, confidence: float, *, unknown: bool) -> Fate:
        """Decide for one image."""
        import numpy as np

        return self.fates(np.array([confidence]), np.array([unknown]))[0]
