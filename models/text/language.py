"""Translate the messages for users: the source has them in English, a catalogue in other languages.

A message is a complete template, ``tr("{path} is not a folder: give one", path=path)``, never joined from parts, as
their order differs between languages. The catalogue of a language is a TOML file beside this one, with a table for each
source file; messages that it lacks stay in English.

The language is set by ``--language``, else by ``IMAGESORTD_LANGUAGE``, config.toml or the locale. What a daemon says to
a client is in the client's language, see `speaking`; what it logs meanwhile is in its own, see `in_own_language`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path, PurePath
from typing import Literal, NamedTuple, get_args

from models.text.invocation import spelled
from models.text.particles import with_particles
from models.text.printable import shown

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

VARIABLE = "IMAGESORTD_LANGUAGE"
#: The variables with the language of messages, by precedence as in gettext(3): the first one that is set decides.
_LOCALE_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
#: The value that leaves the choice to the locale.
AUTO = "auto"

#: The error messages of the system.
_SYSTEM_MESSAGES = frozenset(map(os.strerror, errno.errorcode))

_language: Language = "en"
_messages: Mapping[str, str] = {}


class _Speech(NamedTuple):
    """A language, and its messages, to use in place of the process's own.

    ``own`` maps each sentence that was said in it to the same sentence in the process's own language.
    """

    language: Language
    messages: Mapping[str, str]
    own: dict[str, str]


#: Set inside `speaking`.
_spoken: ContextVar[_Speech | None] = ContextVar("spoken", default=None)


def tr(text: str, /, **values: object) -> str:
    """Translate a message into the language in use; ``values`` fill the fields of its template, as in `str.format`.

    Names, paths and errors in them are escaped with `shown`, because names may hold anything. Without values, braces
    are taken literally.
    """
    return _say(text, text, values)


def _say(own: str, text: str, values: Mapping[str, object]) -> str:
    """Translate a message; ``text`` is its English form for the language in use, ``own`` for the process's own."""
    speech = _spoken.get()
    if speech is None:
        return _fill(own, values, _language, _messages)
    said = _fill(text, values, speech.language, speech.messages)
    if speech.language != _language and said not in speech.own:
        with speaking_for_itself():
            own_values = {name: _in_own_language(value, speech.own) for name, value in values.items()}
            speech.own[said] = _fill(own, own_values, _language, _messages)
    return said


def _fill(text: str, values: Mapping[str, object], language: Language, messages: Mapping[str, str]) -> str:
    translated = spelled(messages.get(text, text))
    if not values:
        return translated
    filled = {name: _shown(value) for name, value in values.items()}
    template = with_particles(translated, filled) if language == "ko" else translated
    return template.format(**filled)


def _in_own_language(value: object, own: Mapping[str, str]) -> object:
    """Return a value of a message in the process's own language, where it is a sentence that was said to a client."""
    if isinstance(value, BaseException):
        said = shown(value.strerror if isinstance(value, OSError) and value.strerror else str(value))
        return reason(value).replace(said, own.get(said, said))
    return own.get(value, value) if isinstance(value, str) else value


def in_own_language(said: str) -> str:
    """Return what was said to a client in the process's own language, for the log; any other text as it is."""
    speech = _spoken.get()
    return said if speech is None else speech.own.get(said, said)


def reason(error: BaseException) -> str:
    """Describe an error; a system error without its number, and with its file last."""
    if not isinstance(error, OSError) or not error.strerror:
        return shown(tr(str(error)))
    message = shown(tr(error.strerror))
    return message if error.filename is None else f"{message}: '{shown(os.fsdecode(error.filename))}'"


def _shown(value: object) -> object:
    """Escape a value for a message; the catalogue also has the system's error messages (`strerror`)."""
    if isinstance(value, BaseException):
        return reason(value)
    if isinstance(value, str):
        return shown(tr(value) if value in _SYSTEM_MESSAGES else value)
    return shown(str(value)) if isinstance(value, PurePath) else value


def trn(one: str, many: str, count: int, /, **values: object) -> str:
    """Translate a message that depends on a number, which the templates may use as ``{count}``.

    ``one`` is the English singular. A catalogue only has ``many``: Korean has no plural.
    """
    speech = _spoken.get()
    singular = one if count == 1 else many
    own = many if _messages else singular
    template = own if speech is None else many if speech.messages else singular
    return _say(own, template, {"count": count, **values})


def mark(text: str) -> str:
    """Mark a message for translation where the language is not known yet; it is passed to `tr` later."""
    return text


def use(language: Language) -> None:
    """Set the language of messages; processes started later inherit it, see `inherit`."""
    global _language, _messages
    _language, _messages = language, catalogue(language)
    os.environ["LANGUAGE"] = language


def in_use() -> Language:
    """Return the language of messages."""
    speech = _spoken.get()
    return _language if speech is None else speech.language


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Translate into another language inside the context, in this thread only."""
    token = _spoken.set(_Speech(language, _catalogue(language), {}))
    try:
        yield
    finally:
        _spoken.reset(token)


@contextmanager
def speaking_for_itself() -> Iterator[None]:
    """Translate into the process's own language inside the context, whatever client it works for."""
    token = _spoken.set(None)
    try:
        yield
    finally:
        _spoken.reset(token)


def inherit() -> None:
    """Set the language to that of the process that started this one."""
    use("ko" if os.environ.get("LANGUAGE") == "ko" else "en")


def catalogue(language: Language) -> dict[str, str]:
    """Load the messages of a language, by the English ones; an empty catalogue for English."""
    if language == "en":
        return {}
    import tomllib  # not at the top, to keep decoder processes small

    tables = tomllib.loads(catalogue_file(language).read_text(encoding="utf-8"))
    return {english: translated for table in tables.values() for english, translated in table.items()}


_catalogue = cache(catalogue)


def catalogue_file(language: Language) -> Path:
    """Return the path of the catalogue of a language."""
    return Path(__file__).with_name(f"messages.{language}.toml")


def choose(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Language:
    """Choose the language of a command before its arguments are parsed, because the help depends on it.

    The option decides, else the environment, the settings file and the locale. Invalid values are ignored here; they
    are reported when they are parsed.
    """
    option, file = _option_value("--language", arguments), _option_value("--config", arguments)
    for choice in (option, environment.get(VARIABLE), _language_in_file(file)):
        if choice in LANGUAGES:
            return choice
        if choice == AUTO:
            break
    locale = next((value for name in _LOCALE_VARIABLES if (value := environment.get(name))), "")
    return "ko" if locale.startswith("ko") else "en"


def _option_value(option: str, arguments: Sequence[str]) -> str | None:
    """Find the value of an option on a command line that has not been parsed."""
    for argument, following in zip(arguments, (*arguments, "")[1:], strict=True):
        if argument == "--":
            return None
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else following
    return None


def _language_in_file(file: str | None) -> str | None:
    import tomllib

    try:
        value = tomllib.loads(Path(file or "config.toml").read_text(encoding="utf-8-sig")).get("language")
    except (OSError, ValueError):
        return None
    return value if isinstance(value, str) else None
