"""The language of what a user reads: every sentence is written here in English, and looked up in one catalogue.

A sentence is a whole template, ``tr("{path} is not a folder: give one", path=path)``, never glued from parts: another
language puts them in another order. The catalogue of a language is a TOML file beside this one, in tables named for the
files that the sentences stand in; what it lacks is said in English.

The language is that of ``--language``, else of ``IMAGESORTD_LANGUAGE``, of config.toml, or of the locale.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Literal, get_args

from models.text.invocation import spelled
from models.text.particles import with_particles
from models.text.printable import shown

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

VARIABLE = "IMAGESORTD_LANGUAGE"
#: What says the language of messages, by precedence, as in gettext(3); the first one that is set decides.
_LOCALE = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
#: The value that leaves the choice to the locale.
AUTO = "auto"

#: What the system says of its errors.
_SYSTEM = frozenset(map(os.strerror, errno.errorcode))

_language: Language = "en"
_messages: Mapping[str, str] = {}


def tr(text: str, /, **values: object) -> str:
    """A sentence in the language in use; ``values`` fill the fields of its template, as in `str.format`.

    Names, paths and errors among them are `shown`, for a name may hold anything. Without values nothing is filled in,
    and braces mean themselves.
    """
    translated = spelled(_messages.get(text, text))
    if not values:
        return translated
    filled = {name: _shown(value) for name, value in values.items()}
    template = with_particles(translated, filled) if _language == "ko" else translated
    return template.format(**filled)


def reason(error: BaseException) -> str:
    """What an error says; one of the system has no number then, and its file comes last."""
    if not isinstance(error, OSError) or not error.strerror:
        return shown(tr(str(error)))
    said = shown(tr(error.strerror))
    return said if error.filename is None else f"{said}: '{shown(os.fsdecode(error.filename))}'"


def _shown(value: object) -> object:
    """What stands in a sentence: the system's words for an error, `strerror`, are in the catalogue, too."""
    if isinstance(value, BaseException):
        return reason(value)
    if isinstance(value, str):
        return shown(_messages.get(value, value) if value in _SYSTEM else value)
    return shown(str(value)) if isinstance(value, PurePath) else value


def trn(one: str, many: str, count: int, /, **values: object) -> str:
    """The sentence for a number of things, which the templates may use as ``{count}``.

    ``one`` is English for a single thing. A catalogue has ``many`` alone: Korean has no plural.
    """
    template = one if count == 1 and not _messages else many
    return tr(template, count=count, **values)


def mark(text: str) -> str:
    """Mark a sentence that is written where no language is in use yet; `tr` is given it later."""
    return text


def use(language: Language) -> None:
    """Speak a language from now on; processes that are started later inherit it, see `inherit`."""
    global _language, _messages
    _language, _messages = language, catalogue(language)
    os.environ["LANGUAGE"] = language


def inherit() -> None:
    """Speak the language of the process that started this one."""
    use("ko" if os.environ.get("LANGUAGE") == "ko" else "en")


def catalogue(language: Language) -> dict[str, str]:
    """The sentences of a language, by the English ones; none for English."""
    if language == "en":
        return {}
    import tomllib  # decoders speak too, and are small

    tables = tomllib.loads(catalogue_file(language).read_text(encoding="utf-8"))
    return {english: translated for table in tables.values() for english, translated in table.items()}


def catalogue_file(language: Language) -> Path:
    """Where the sentences of a language are."""
    return Path(__file__).with_name(f"messages.{language}.toml")


def chosen(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Language:
    """The language that a command asks for, known before its arguments are parsed: its help is in that language too.

    Its own option decides, else the environment, the settings file, the locale. What is wrong with them is said by
    those who parse them.
    """
    wanted = (_value("--language", arguments), environment.get(VARIABLE), _in_file(_value("--config", arguments)))
    for each in wanted:
        if each in LANGUAGES:
            return each
        if each == AUTO:
            break
    locale = next((value for name in _LOCALE if (value := environment.get(name))), "")
    return "ko" if locale.startswith("ko") else "en"


def _value(option: str, arguments: Sequence[str]) -> str | None:
    """What an option is given on a command line that nobody has parsed yet."""
    for argument, following in zip(arguments, (*arguments, "")[1:], strict=True):
        if argument == "--":
            return None
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else following
    return None


def _in_file(file: str | None) -> str | None:
    import tomllib

    try:
        value = tomllib.loads(Path(file or "config.toml").read_text(encoding="utf-8-sig")).get("language")
    except (OSError, ValueError):
        return None
    return value if isinstance(value, str) else None
