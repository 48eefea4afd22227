"""What the READMEs say is so: commands, options, the test command, both languages alike."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.images import IMAGE_SUFFIXES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
KOREAN = (ROOT / "README.ko.md").read_text(encoding="utf-8")

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def fenced(text: str, language: str) -> list[str]:
    """The contents of the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> dict[str, set[str]]:
    """The command table: each ``python -m …`` with the options it is shown with."""
    (table,) = fenced(text, "text")
    found: dict[str, set[str]] = {}
    name = ""
    for line in table.splitlines():
        line = line.split("#")[0]
        if match := re.match(r"python -m (\w+(?: [a-z][a-z-]*)?)", line):
            name = match[1]
        found.setdefault(name, set()).update(OPTION.findall(line))
    return found


@pytest.mark.parametrize("command", commands(README))
def test_every_option_in_the_readme_exists(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert commands(README)[command] <= set(OPTION.findall(done.stdout))


def test_the_commands_in_the_examples_exist() -> None:
    examples = "\n".join([*fenced(README, "sh"), *fenced(KOREAN, "sh"), *fenced(README, "ini")])
    used = set(re.findall(r"python -m (daemon|trainer|models)(?: ([a-z][a-z-]*))?", examples))
    known = {tuple(command.split()) for command in commands(README)}
    for package, subcommand in used:
        assert ((package, subcommand) if subcommand else (package,)) in known


def test_ci_calls_the_readmes_test_command() -> None:
    (command,) = re.findall(r"^python3 -m venv .*pytest -n 2$", README, flags=re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert command in KOREAN


def test_both_languages_show_the_same_commands_modes_and_unit() -> None:
    assert commands(KOREAN) == commands(README)
    assert fenced(KOREAN, "ini") == fenced(README, "ini")
    for mode in re.findall(r"^\| `([\w+]+)`", README, flags=re.MULTILINE):
        assert f"| `{mode}`" in KOREAN


def test_every_mode_in_the_readme_is_registered() -> None:
    from models import registry

    named = set(re.findall(r"^\| `(\w+)`", README, flags=re.MULTILINE)) - {"auto"}
    assert {*registry.entries(), *registry.compositions()} >= {name for name in named if not name.startswith("src")}
    assert {*registry.entries(), *registry.compositions()} <= named


@pytest.mark.parametrize("file", ["README.md", "README.ko.md", "config.toml"])
def test_the_endings_that_are_looked_at_are_named(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8").replace("\n#", "")
    (listed,) = re.findall(r"\.jpg(?:\s+\.[a-z]+){3,}", text)
    assert set(listed.split()) == IMAGE_SUFFIXES


@pytest.mark.parametrize("package", ["daemon", "models", "trainer"])
def test_the_map_of_the_source_names_each_file_once(package: str) -> None:
    (table,) = re.findall(rf"^\| `{package}/` \| files \|\n((?:\|.*\n)+)", README, flags=re.MULTILINE)
    named = re.findall(r"`(\w+)`", table)
    assert sorted(named) == sorted({file.stem for file in (ROOT / package).glob("*.py")} - {"__init__"})
