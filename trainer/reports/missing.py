"""What would become of pictures of a kind that has no class, judging by each class as if it were missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from models.text.language import tr
from trainer.data.dataset import shown
from trainer.heads.near import Absence

#: Classes that are named, and the share of filed images from which on one is.
_NAMED, _POOR = 5, 0.1


def missing_figures(absence: Absence, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """For each class, were it missing, the shares of its images that would be filed or refused as unknown."""
    return {
        "threshold": threshold,
        "filed_share": _overall(absence, threshold),
        "classes": {
            classes[label]: {
                "images": int((absence.labels == label).sum()),
                "filed_share": absence.filed_share(label, threshold),
                "refused_as_unknown_share": float(absence.unknown[absence.labels == label].mean()),
            }
            for label in np.unique(absence.labels).tolist()
        },
    }


def missing_sentence(absence: Absence, threshold: float) -> str:
    """What becomes of pictures of no class on the whole."""
    return tr(
        "of pictures that resemble yours but are of none of your classes, about {share:.0%} would be filed "
        "(judging by each class left out in turn; advice.txt names the worst)",
        share=_overall(absence, threshold),
    )


def missing_classes(absence: Absence, classes: Sequence[str], threshold: float) -> Iterator[str]:
    """The classes whose absence would be noticed least, the worst first."""
    shares = {label: absence.filed_share(label, threshold) for label in np.unique(absence.labels).tolist()}
    for label in sorted(shares, key=lambda label: -shares[label])[:_NAMED]:
        if shares[label] >= _POOR:
            yield tr(
                "{name}: if pictures of a kind like this came and there were no such class, about {share:.0%} of them "
                "would be filed into other classes",
                name=shown(classes[label]),
                share=shares[label],
            )


def _overall(absence: Absence, threshold: float) -> float:
    """The mean share of images filed, over classes."""
    return float(np.mean([absence.filed_share(label, threshold) for label in np.unique(absence.labels).tolist()]))
