"""Report the images that people gave another class than the data set does; the label of people wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.text.language import tr, trn
from trainer.data.dataset import shown
from trainer.learning.kept import KeptFeatures
from trainer.tables import listed

_LISTED = 5


@dataclass(frozen=True)
class Contradiction:
    """An image with the class that the data set has it under, and what people said: None for none of the classes."""

    name: str
    label: str
    said: str | None

    @property
    def sentence(self) -> str:
        """The image and both classes."""
        said = tr("none of the classes") if self.said is None else shown(self.said)
        return tr("{name}: {said} and not {label}", name=shown(self.name), said=said, label=shown(self.label))

    def figures(self) -> dict[str, str | None]:
        """Return what ``metrics.json`` says of it."""
        return {"file": shown(self.name), "label": self.label, "said": self.said}


def find_contradictions(
    kept: KeptFeatures, answers: Mapping[str, str | None], names: Mapping[str, str]
) -> list[Contradiction]:
    """Compare the labels of a data set with the answers of people, both by sha256; ``names`` has the files."""
    return [
        Contradiction(names.get(sha256) or sha256, kept.classes[label], answers[sha256])
        for sha256, label in zip(kept.sha256, kept.labels.tolist(), strict=True)
        if sha256 in answers and answers[sha256] != kept.classes[label]
    ]


def contradiction_sentences(contradictions: Sequence[Contradiction]) -> list[str]:
    """Say in one sentence which labels of the data set people contradict; nothing where there are none."""
    if not contradictions:
        return []
    return [
        trn(
            "people say of {count} image another class than the data set does, and their label wins: {images}",
            "people say of {count} images another class than the data set does, and their labels win: {images}",
            len(contradictions),
            images=listed([contradiction.sentence for contradiction in contradictions], _LISTED),
        )
    ]
