"""How many images the daemon would file: into the folders of their classes, and into the folders above these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class LevelCounts(NamedTuple):
    """How many images are ``filed`` into the folders of a ``depth`` (0: those of classes), and how many wrongly.

    Each belongs there with at least the probability ``threshold``.
    """

    depth: int
    threshold: float
    filed: int
    wrong: int


@dataclass(frozen=True)
class ThresholdCounts:
    """How many of ``images`` the daemon files (``filed``), and how many of these are ``wrong`` where they are filed.

    ``unknown`` ones are refused because they are unlike all known images; the rest are unsure. ``levels`` counts the
    filed ones by place: in the folders of classes, then in inner folders of each depth.
    """

    threshold: float
    images: int
    filed: int
    wrong: int
    unknown: int
    levels: tuple[LevelCounts, ...] = ()

    @property
    def unsure(self) -> int:
        """The number of images under the threshold that are not unknown."""
        return self.images - self.filed - self.unknown

    @property
    def at_class(self) -> LevelCounts:
        """The images that are filed into the folder of their class."""
        return self.levels[0] if self.levels else LevelCounts(0, self.threshold, self.filed, self.wrong)

    @property
    def inner(self) -> tuple[LevelCounts, ...]:
        """The images that are filed into inner folders, by the depth of these."""
        return self.levels[1:]

    def figures(self) -> dict[str, Any]:
        """Return counts, and shares in 0..1; a share of nothing is None."""
        figures: dict[str, Any] = {
            "threshold": self.threshold,
            "filed": self.filed,
            "filed_share": _share(self.filed, self.images),
            "wrong": self.wrong,
            "wrong_share_of_filed": _share(self.wrong, self.filed),
            "refused_as_unknown": self.unknown,
            "refused_as_unknown_share": _share(self.unknown, self.images),
            "under_threshold": self.unsure,
        }
        if self.inner:
            figures["levels"] = [
                level._asdict()
                | {
                    "filed_share": _share(level.filed, self.images),
                    "wrong_share_of_filed": _share(level.wrong, level.filed),
                }
                for level in self.levels
            ]
        return figures


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
