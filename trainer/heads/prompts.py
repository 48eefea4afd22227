"""Prompts for the classes, and their embeddings by a backbone that reads text.

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

#: Templates that the name of a class is put into at ``{}``, unless the user gives others.
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
    """Classes as one backbone reads them: embeddings (classes, width) of unit length, and what turns them into logits.

    The model's own logit for an image of unit-length features f is ``scale * f @ embedding + bias``. ``unread`` lists
    the classes with a prompt whose letters the tokenizer does not know.
    """

    embeddings: Embeddings
    scale: float
    bias: float
    unread: list[str]


def words_of(name: str) -> str:
    """Return the name of a class as words; of a class in folders, that of the innermost one."""
    return name.rpartition("/")[2].replace("_", " ")


def default_templates(name: str) -> tuple[str, ...]:
    """Return the templates for a name, in its language."""
    return KOREAN_TEMPLATES if _HANGUL.search(words_of(name)) else TEMPLATES


def plain_prompts(classes: Iterable[str]) -> dict[str, list[str]]:
    """Make prompts from the names alone."""
    return {name: fill_templates(default_templates(name), words_of(name)) for name in classes}


def fill_templates(templates: Iterable[str], words: str) -> list[str]:
    """Put ``words`` into each template at its ``{}``."""
    return [template.replace("{}", words) for template in templates]


def read_texts(part: Backbone, prompts: Prompts) -> Texts | None:
    """Embed the classes of ``prompts``, in their order; None where ``part`` does not read text."""
    if part.text is None:
        return None
    tower = part.text()
    sizes = [len(of_class) for of_class in prompts.values()]
    embeddings = _to_unit_length(tower.embed([prompt for of_class in prompts.values() for prompt in of_class]))
    means = [of_class.mean(axis=0) for of_class in np.split(embeddings, np.cumsum(sizes)[:-1])]
    return Texts(_to_unit_length(np.stack(means)), tower.scale, tower.bias, _unread(tower, prompts))


def text_embeddings(
    parts: Sequence[Backbone], classes: Sequence[str], prompts: Prompts | None = None
) -> list[Embeddings | None]:
    """Return for each part the unit-length embeddings (classes, its width); None where it does not read text.

    ``prompts`` are those of every class, by default `plain_prompts`. A part whose folder lacks the text tower or its
    tokenizer counts as one that does not read text, with a warning: a fit can do without the texts.
    """
    by_class = plain_prompts(classes) if prompts is None else {name: prompts[name] for name in classes}
    return [_embeddings(part, by_class) for part in parts]


def _embeddings(part: Backbone, prompts: Prompts) -> Embeddings | None:
    try:
        texts = read_texts(part, prompts)
    except WeightsUnavailable as error:
        logger.warning(tr("{name} does without the names of the classes: {error}", name=part.name, error=error))
        return None
    return None if texts is None else texts.embeddings


def _unread(tower: TextTower, prompts: Prompts) -> list[str]:
    return [name for name, of_class in prompts.items() if not all(tower.reads(_letters(prompt)) for prompt in of_class)]


def _letters(text: str) -> str:
    """Replace punctuation by spaces: a tokenizer may lack it without harm."""
    return "".join(character if character.isalnum() else " " for character in text)


def _to_unit_length(rows: Embeddings) -> Embeddings:
    result: Embeddings = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return result
