"""Tell what would become of images of a kind that has no class, judging by each class as if it were missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from models.text.language import tr
from trainer.data.dataset import shown
from trainer.heads.missing_classes import MissingClasses

#: At most so many classes are named, each only if at least this share of its images would be filed.
_NAMED, _POOR = 5, 0.1


def missing_figures(missing: MissingClasses, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """Return for each class, as if it were missing, the shares of its images that would be filed or refused."""

    def figures(label: int) -> dict[str, Any]:
        into = missing.mostly_into(label, threshold)
        return {
            "images": int((missing.labels == label).sum()),
            "filed_share": missing.filed_share(label, threshold),
            "mostly_filed_into": None if into is None else classes[into],
            "refused_as_unknown_share": missing.refused_share(label),
        }

    return {
        "threshold": threshold,
        "filed_share": _mean_share(missing, threshold),
        "classes": {classes[label]: figures(label) for label in missing.classes},
    }


def missing_sentence(missing: MissingClasses, threshold: float) -> str:
    """Say what becomes of images of no class, over all classes."""
    return tr(
        "of images that resemble yours but are of none of your classes, about {share:.0%} would be filed "
        "(judging by each class left out in turn; advice.txt names the worst)",
        share=_mean_share(missing, threshold),
    )


def missing_class_lines(missing: MissingClasses, classes: Sequence[str], threshold: float) -> Iterator[str]:
    """Name the classes of which the most images would be filed if it were missing, the worst first."""
    shares = {label: missing.filed_share(label, threshold) for label in missing.classes}
    for label in sorted(shares, key=lambda label: -shares[label])[:_NAMED]:
        into = missing.mostly_into(label, threshold)
        if into is not None and shares[label] >= _POOR:
            yield tr(
                "{name}: without such a class about {share:.0%} of these images would be filed wrongly, most "
                "of them into {other}",
                name=shown(classes[label]),
                share=shares[label],
                other=shown(classes[into]),
            )


def _mean_share(missing: MissingClasses, threshold: float) -> float:
    """Return the share of images that would be filed, averaged over classes."""
    return float(np.mean([missing.filed_share(label, threshold) for label in missing.classes]))
