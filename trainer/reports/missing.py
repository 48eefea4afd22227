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
    """Return for each class, as if it were missing, the shares of its images that would be filed or refused."""

    def figures(label: int) -> dict[str, Any]:
        into = absence.mostly_into(label, threshold)
        return {
            "images": int((absence.labels == label).sum()),
            "filed_share": absence.filed_share(label, threshold),
            "mostly_filed_into": None if into is None else classes[into],
            "refused_as_unknown_share": absence.refused_share(label),
        }

    return {
        "threshold": threshold,
        "filed_share": _mean_share(absence, threshold),
        "classes": {classes[label]: figures(label) for label in absence.classes},
    }


def missing_sentence(absence: Absence, threshold: float) -> str:
    """Say what becomes of pictures of no class on the whole."""
    return tr(
        "of pictures that resemble yours but are of none of your classes, about {share:.0%} would be filed "
        "(judging by each class left out in turn; advice.txt names the worst)",
        share=_mean_share(absence, threshold),
    )


def missing_classes(absence: Absence, classes: Sequence[str], threshold: float) -> Iterator[str]:
    """Name the classes whose absence would be noticed least, the worst first."""
    shares = {label: absence.filed_share(label, threshold) for label in absence.classes}
    for label in sorted(shares, key=lambda label: -shares[label])[:_NAMED]:
        into = absence.mostly_into(label, threshold)
        if into is not None and shares[label] >= _POOR:
            yield tr(
                "{name}: without such a class about {share:.0%} of these pictures would be filed wrongly, most of them "
                "into {other}",
                name=shown(classes[label]),
                share=shares[label],
                other=shown(classes[into]),
            )


def _mean_share(absence: Absence, threshold: float) -> float:
    """Return the share of images that would be filed, in the mean over classes."""
    return float(np.mean([absence.filed_share(label, threshold) for label in absence.classes]))
