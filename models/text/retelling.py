"""Translate what another process has said in English, such as a daemon that runs without anybody's locale.

All that arrives is the finished text. The message that it was made from is found again by its words, and what fills its
fields is translated in the same way, as it may be a sentence, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from string import Formatter

from models.text.invocation import SCRIPT, respelled, spelled
from models.text.language import Language, catalogue, in_use
from models.text.particles import with_particles

#: Messages with fewer letters beside their fields are not recognised: a path or a name may look like them.
_FEWEST_LETTERS = 12

#: A text, and the field behind it.
_Part = tuple[str, str | None]


def retold(said: str) -> str:
    """Translate an English text into the language in use; what was made from no message stays as it is."""
    language = in_use()
    messages = _messages(language)
    if said in messages:
        return spelled(messages[said])
    found = next(_matches(said, language), None)
    if found is None:
        return said
    message, fields = found
    values = {name: retold(value) for name, value in fields.items()}
    template = _without_formats(spelled(messages[message]))
    return (with_particles(template, values) if language == "ko" else template).format(**values)


def _matches(said: str, language: Language) -> Iterator[tuple[str, Mapping[str, str]]]:
    for parts, message in _templates(language):
        if all(text in said for text, _ in parts) and (match := re.fullmatch(_pattern(parts), said, re.DOTALL)):
            yield message, match.groupdict()


@cache
def _messages(language: Language) -> Mapping[str, str]:
    return catalogue(language)


@cache
def _templates(language: Language) -> list[tuple[list[_Part], str]]:
    """List the messages with fields, each by its parts, those with the most words first."""
    found = []
    for message in _messages(language):
        for spelling in {message, respelled(message, SCRIPT)}:
            parts = _parts(spelling)
            letters = sum(map(str.isalpha, "".join(text for text, _ in parts)))
            if letters >= _FEWEST_LETTERS:
                found.append((letters, parts, message))
    return [(parts, message) for _, parts, message in sorted(found, key=lambda one: -one[0])]


def _parts(message: str) -> list[_Part]:
    """Take a message apart; nothing where it has no fields, or has braces that are no fields."""
    try:
        parts = [(text, field) for text, field, _, _ in Formatter().parse(message)]
    except ValueError:
        return []
    fields = [field for _, field in parts if field is not None]
    return parts if fields and all(field.isidentifier() for field in fields) else []


def _pattern(parts: list[_Part]) -> str:
    pattern, fields = "", set[str]()
    for text, field in parts:
        pattern += re.escape(text)
        if field is not None:
            pattern += f"(?P={field})" if field in fields else f"(?P<{field}>.+?)"
            fields.add(field)
    return pattern


def _without_formats(template: str) -> str:
    """Take out the formats of numbers, which have been applied already."""
    return re.sub(r"(?<!\{)\{(\w+):[^{}]*\}", r"{\1}", template)
