"""Options are made of the settings: a new one has its option, its help and its default without another word."""

from __future__ import annotations

import pytest

from daemon.__main__ import COMMANDS
from daemon.commands import watch
from daemon.commands.options import add_settings, given
from daemon.config import OPTIONS
from models.text.commandline import Parser
from models.text.language import Language, speaking


@pytest.fixture
def parser() -> Parser:
    made = Parser(prog="test")
    add_settings(made)
    return made


@pytest.mark.parametrize("name", OPTIONS)
def test_every_setting_is_an_option_with_a_help(parser: Parser, name: str) -> None:
    # private: argparse has no other way to say which options a parser has
    (action,) = [action for action in parser._actions if f"--{name.replace('_', '-')}" in action.option_strings]
    assert action.help


def test_the_help_says_what_is_usual(parser: Parser) -> None:
    text = " ".join(parser.format_help().split())
    assert "--rescan-seconds S time between looks at the whole inbox (60)" in text
    assert "--output DIR where class folders appear (./sorted)" in text
    assert "by inbox: ./scans=10,./letters=5 (auto: 10 for TIFF)" in text


def test_only_what_is_given_is_among_the_parsed(parser: Parser) -> None:
    options = vars(parser.parse_args(["--watch", "a", "--watch", "b", "--no-recursive"]))
    assert given(options) == ({"watch": ["a", "b"], "recursive": False}, None)


def test_a_command_may_take_some_of_them() -> None:
    parser = Parser(prog="test")
    add_settings(parser, only=("device",))
    assert vars(parser.parse_args(["--device", "cuda"])) == {"device": "cuda"}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_help_of_the_service_names_every_command(language: Language) -> None:
    with speaking(language):
        said = watch.parser().format_help()
    assert [name for name in ("sort", *COMMANDS) if f"python -m daemon {name} --help" not in said] == []
