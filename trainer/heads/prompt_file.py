"""The prompt file of ``zero-shot``: words for the classes whose names alone do not describe them.

A text file has one prompt on each line; a class may have several lines. A line with ``{}`` and no class is a template::

    # 강아지 and 고양이 are folders; the model reads English
    a photo of {}.
    강아지: a dog
    강아지: a puppy
    고양이: a cat

The same in TOML, in a file whose name ends in ``.toml``::

    templates = ["a photo of {}."]
    "강아지" = ["a dog", "a puppy"]
    "고양이" = "a cat"

The words of a class are put into every template of the file; where the file has none, they are used as they are. A
class without words goes by its name.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import UserError
from models.text.language import tr
from trainer.heads.prompts import default_templates, fill_templates, words_of

_TEMPLATES = "templates"


@dataclass(frozen=True)
class PromptFile:
    """Templates with ``{}``, and the words for each class by its name."""

    templates: list[str] = field(default_factory=list)
    words: dict[str, list[str]] = field(default_factory=dict)

    def prompts(self, classes: Sequence[str]) -> dict[str, list[str]]:
        """Return the prompts of each class."""
        prompts: dict[str, list[str]] = {}
        for name in classes:
            all_words = self.words.get(name, [words_of(name)])
            templates = self.templates or (["{}"] if name in self.words else default_templates(name))
            prompts[name] = [prompt for words in all_words for prompt in fill_templates(templates, words)]
        return prompts


def read_prompts(path: Path, classes: Sequence[str]) -> PromptFile:
    """Read a prompt file for these classes. Raises `UserError`, which names the line where there is one."""
    try:
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(
            tr("the prompt file {path} cannot be read: {reason}", path=path, reason=error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(tr("the prompt file {path} is not valid UTF-8: save it as UTF-8", path=path)) from error
    return _parse_toml(path, text, classes) if path.suffix.casefold() == ".toml" else _parse_lines(path, text, classes)


def write_prompts(path: Path, prompts: dict[str, list[str]]) -> None:
    """Write prompts as a file that `read_prompts` reads back unchanged."""
    lines = [f"{name}: {prompt}\n" for name, of_class in prompts.items() for prompt in of_class]
    path.write_text("".join(lines), encoding="utf-8")


def _parse_lines(path: Path, text: str, classes: Sequence[str]) -> PromptFile:
    prompt_file = PromptFile()
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        name, colon, words = (part.strip() for part in line.partition(":"))
        if colon and name in classes and words:  # before comments, since a class may be called #1
            prompt_file.words.setdefault(name, []).append(words)
        elif not line or line.startswith("#"):
            continue
        elif "{}" in line:
            prompt_file.templates.append(line)
        else:
            raise UserError(
                tr(
                    "line {number} of {path} is neither CLASS: PROMPT, with one of the classes ({names}), "
                    "nor a template with {{}}: '{line}'",
                    number=number,
                    path=path,
                    names=", ".join(classes[:8]),
                    line=line[:60],
                )
            )
    return prompt_file


def _parse_toml(path: Path, text: str, classes: Sequence[str]) -> PromptFile:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(
            tr(
                '{path} is no TOML: {error}; names that are not plain English letters need quotes: "강아지" '
                '= ["a dog"]',
                path=path,
                error=error,
            )
        ) from error
    prompt_file = PromptFile()
    for name, value in content.items():
        texts = [value] if isinstance(value, str) else value
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) and text.strip() for text in texts)):
            raise UserError(
                tr("{name} in {path} must be a text or a list of texts, and not empty", name=name, path=path)
            )
        if name in classes:
            prompt_file.words[name] = texts
        elif name != _TEMPLATES:
            raise UserError(
                tr(
                    "{path} gives prompts for {name}, which is none of the classes: {names}",
                    path=path,
                    name=name,
                    names=", ".join(classes[:8]),
                )
            )
        elif unusable := [template for template in texts if "{}" not in template]:
            raise UserError(
                tr(
                    "the template '{template}' in {path} has no {{}} to put the class into",
                    template=unusable[0],
                    path=path,
                )
            )
        else:
            prompt_file.templates.extend(texts)
    return prompt_file
