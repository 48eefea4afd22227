"""The file of prompts that ``zero-shot`` takes: what to call the classes, where their names alone do not say it.

Plain text has a prompt a line; a class may have several lines. A line with ``{}`` and no class is a template::

    # 강아지 and 고양이 are folders; the model reads English
    a photo of {}.
    강아지: a dog
    강아지: a puppy
    고양이: a cat

The same as TOML, in a file whose name ends in ``.toml``::

    templates = ["a photo of {}."]
    "강아지" = ["a dog", "a puppy"]
    "고양이" = "a cat"

What a class is given is put into every template of the file; where the file has none, it is used as it is. A class
that is given nothing goes by its name.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import UserError
from models.text.language import tr
from trainer.heads.prompts import default_templates, fill, spoken

_TEMPLATES = "templates"


@dataclass(frozen=True)
class PromptFile:
    """Templates with ``{}``, and what each class is called, by its name."""

    templates: list[str] = field(default_factory=list)
    words: dict[str, list[str]] = field(default_factory=dict)

    def prompts(self, classes: Sequence[str]) -> dict[str, list[str]]:
        """The prompts of each class."""
        made: dict[str, list[str]] = {}
        for name in classes:
            words = self.words.get(name, [spoken(name)])
            own = ["{}"] if name in self.words else default_templates(name)
            made[name] = [prompt for each in words for prompt in fill(self.templates or own, each)]
        return made


def read_prompts(path: Path, classes: Sequence[str]) -> PromptFile:
    """Read a file of prompts for these classes. Raises `UserError`, with the line where there is one."""
    try:
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(
            tr("the file of prompts {path} cannot be read: {reason}", path=path, reason=error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(tr("the file of prompts {path} is not valid UTF-8: save it as UTF-8", path=path)) from error
    return _toml(path, text, classes) if path.suffix.casefold() == ".toml" else _lines(path, text, classes)


def write_prompts(path: Path, prompts: dict[str, list[str]]) -> None:
    """Write prompts as a file that gives the same ones when it is read."""
    lines = [f"{name}: {prompt}\n" for name, each in prompts.items() for prompt in each]
    path.write_text("".join(lines), encoding="utf-8")


def _lines(path: Path, text: str, classes: Sequence[str]) -> PromptFile:
    found = PromptFile()
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        name, colon, words = (part.strip() for part in line.partition(":"))
        if colon and name in classes and words:  # a class may be called #1, so this is asked first
            found.words.setdefault(name, []).append(words)
        elif not line or line.startswith("#"):
            continue
        elif "{}" in line:
            found.templates.append(line)
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
    return found


def _toml(path: Path, text: str, classes: Sequence[str]) -> PromptFile:
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
    found = PromptFile()
    for name, value in content.items():
        each = [value] if isinstance(value, str) else value
        if not (isinstance(each, list) and each and all(isinstance(words, str) and words.strip() for words in each)):
            raise UserError(
                tr("{name} in {path} must be a text or a list of texts, and not empty", name=name, path=path)
            )
        if name in classes:
            found.words[name] = each
        elif name != _TEMPLATES:
            raise UserError(
                tr(
                    "{path} gives prompts for {name}, which is none of the classes: {names}",
                    path=path,
                    name=name,
                    names=", ".join(classes[:8]),
                )
            )
        elif lacking := [template for template in each if "{}" not in template]:
            raise UserError(
                tr(
                    "the template '{template}' in {path} has no {{}} to put the class into",
                    template=lacking[0],
                    path=path,
                )
            )
        else:
            found.templates.extend(each)
    return found
