"""Words of a unit file: quoted, and free of what systemd would expand."""

from __future__ import annotations

import re
from collections.abc import Iterable

from models.errors import UserError
from models.text.language import tr


def quoted_words(words: Iterable[object], *, command: bool = False) -> str:
    """Quote words for a unit file; in a ``command``, also double each dollar."""
    quoted = []
    for word in map(str, words):
        text = specifier_free(word)
        text = text.replace("$", "$$") if command else text
        if re.search(r"[\s\"'\\;]", text):
            text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        quoted.append(text)
    return " ".join(quoted)


def specifier_free(text: str) -> str:
    """Double each percent sign: systemd expands them. Raises `UserError` where a text cannot stand in a unit."""
    if not text.isprintable():
        raise UserError(tr("'{text}' cannot stand in a unit: rename what is not printable in it", text=text))
    return text.replace("%", "%%")
