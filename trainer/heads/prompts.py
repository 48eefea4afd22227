"""What classes are called in words: prompts, and where a backbone that reads text puts them among its features.

Several prompts for each class are averaged after scaling each to unit length, since a picture is seldom just "a photo
of" its subject (Radford et al. 2021, section 3.1.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from loguru import logger

from models.errors import WeightsUnavailable
from models.registry import Backbone, TextTower
from models.text.language import tr

Embeddings = npt.NDArray[np.float32]
#: The prompts of each class by its name.
Prompts = Mapping[str, Sequence[str]]

#: What the name of a class is put into, at ``{}``, where nobody gave other templates.
TEMPLATES = (
    "a photo of a {}.",
    "a close-up photo of a {}.",
    "a photo of a small {}.",
    "a photo of several {}.",
    "a dark, blurry photo of a {}.",
    "a drawing of a {}.",
    "{}",
)
#: The same for names in Hangul, for models that read Korean.
KOREAN_TEMPLATES = (
    "{} 사진",
    "가까이에서 찍은 {} 사진",
    "작은 {} 사진",
    "여러 {} 사진",
    "어둡고 흐린 {} 사진",
    "{} 그림",
    "{}",
)
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")


@dataclass(frozen=True)
class Texts:
    """Classes as one backbone reads them: embeddings (classes, width) of unit length, and what makes logits of them.

    The model's own logit for an image of unit-length features f is ``scale * f @ embedding + bias``. ``unread`` are the
    classes with a prompt whose letters the tokenizer does not know.
    """

    embeddings: Embeddings
    scale: float
    bias: float
    unread: list[str]


def spoken(name: str) -> str:
    """The name of a class as words."""
    return name.replace("_", " ")


def default_templates(name: str) -> tuple[str, ...]:
    """The templates for a name, in its language."""
    return KOREAN_TEMPLATES if _HANGUL.search(name) else TEMPLATES


def plain_prompts(classes: Iterable[str]) -> dict[str, list[str]]:
    """Prompts made of the names alone."""
    return {name: fill(default_templates(name), spoken(name)) for name in classes}


def fill(templates: Iterable[str], words: str) -> list[str]:
    """Each template with ``words`` at its ``{}``."""
    return [template.replace("{}", words) for template in templates]


def read_texts(part: Backbone, prompts: Prompts) -> Texts | None:
    """The classes of ``prompts`` as ``part`` reads them, in their order; None where it does not read text."""
    if part.text is None:
        return None
    tower = part.text()
    sizes = [len(each) for each in prompts.values()]
    every = _unit(tower.embed([prompt for each in prompts.values() for prompt in each]))
    means = [each.mean(axis=0) for each in np.split(every, np.cumsum(sizes)[:-1])]
    return Texts(_unit(np.stack(means)), tower.scale, tower.bias, _unread(tower, prompts))


def text_embeddings(
    parts: Sequence[Backbone], classes: Sequence[str], prompts: Prompts | None = None
) -> list[Embeddings | None]:
    """For each part the embeddings (classes, its width) of the classes, of unit length; None where it reads no text.

    ``prompts`` are those of every class; without them `plain_prompts` are used. A part whose folder lacks the half that
    reads text, or its tokenizer, counts as one that reads none, and a warning says so: its images are enough for a fit.
    """
    chosen = plain_prompts(classes) if prompts is None else {name: prompts[name] for name in classes}
    return [_embeddings(part, chosen) for part in parts]


def _embeddings(part: Backbone, prompts: Prompts) -> Embeddings | None:
    try:
        texts = read_texts(part, prompts)
    except WeightsUnavailable as error:
        logger.warning(tr("{name} does without the names of the classes: {error}", name=part.name, error=error))
        return None
    return None if texts is None else texts.embeddings


def _unread(tower: TextTower, prompts: Prompts) -> list[str]:
    return [name for name, each in prompts.items() if not all(tower.reads(_letters(prompt)) for prompt in each)]


def _letters(text: str) -> str:
    """The text without punctuation, which a tokenizer may lack without harm."""
    return "".join(character if character.isalnum() else " " for character in text)


def _unit(rows: Embeddings) -> Embeddings:
    result: Embeddings = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return result
