"""What the READMEs say is so: commands, options, the test command, links, both languages alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.files.image_names import IMAGE_SUFFIXES
from models.text.invocation import COMMANDS
from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("daemon", "models", "trainer")
ENGLISH_PAGES = [ROOT / "README.md", *(ROOT / package / "README.md" for package in PACKAGES)]
PAGES = [*ENGLISH_PAGES, *(page.with_name("README.ko.md") for page in ENGLISH_PAGES)]
README = (ROOT / "README.md").read_text(encoding="utf-8")
KOREAN = (ROOT / "README.ko.md").read_text(encoding="utf-8")
ENGLISH_TEXT = "\n".join(page.read_text(encoding="utf-8") for page in ENGLISH_PAGES)
KOREAN_TEXT = "\n".join(page.with_name("README.ko.md").read_text(encoding="utf-8") for page in ENGLISH_PAGES)

#: A command at the beginning of a line of a table, with the word after it where that is a command of its own.
COMMAND = re.compile(r"imagesortd ((?:models |labels (?=forget|export)|archive (?=report|apply))?[a-z][a-z-]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
#: Python, pip or our program without the environment that it is in.
UNNAMED = re.compile(r"(?<![/\w])(python|pip)\s|(?<![/\w])imagesortd\s+[a-z-]")


def fenced(text: str, language: str) -> list[str]:
    """The contents of the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> dict[str, set[str]]:
    """The command tables: each command of the script with the options it is shown with."""
    found: dict[str, set[str]] = {}
    for table in fenced(text, "text"):
        name = ""
        for line in table.splitlines():
            line = line.split("#")[0]
            if match := COMMAND.match(line):
                name = match[1]
            found.setdefault(name, set()).update(OPTION.findall(line))
    return found


@pytest.mark.parametrize("command", commands(ENGLISH_TEXT))
def test_every_option_in_the_readme_exists(command: str) -> None:
    words = command.split()
    package = next(package for package, names in COMMANDS.items() if words[0] in names)
    done = run(package, *(words[1:] if package == "models" else words), "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert commands(ENGLISH_TEXT)[command] <= set(OPTION.findall(done.stdout))


def test_the_commands_in_the_examples_exist() -> None:
    examples = "\n".join(block for text in (ENGLISH_TEXT, KOREAN_TEXT) for block in fenced(text, "sh"))
    used = set(re.findall(r"\bimagesortd ((?:models )?[a-z][a-z-]*) -", examples))
    assert used
    assert used <= {*commands(ENGLISH_TEXT), "publish"}
    assert not re.findall(r"python -m (?:daemon|trainer|models)", examples), "one spelling throughout"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_terminal_block_works_in_a_fresh_terminal(page: Path) -> None:
    """Python and our program are named with the environment that they are in."""
    for block in fenced(page.read_text(encoding="utf-8"), "sh"):
        lines = [line for line in block.splitlines() if not line.lstrip().startswith(("#", "docker "))]
        assert not [line for line in lines if UNNAMED.search(line)]


def test_ci_calls_the_readmes_test_command() -> None:
    (command,) = re.findall(r"^python3 -m venv .*pytest -n 5$", README, flags=re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert command in KOREAN


@pytest.mark.parametrize("page", ENGLISH_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_both_languages_have_the_same_sections_and_blocks(page: Path) -> None:
    """But for the map of the source, which is in English."""
    english, korean = (file.read_text(encoding="utf-8") for file in (page, page.with_name("README.ko.md")))
    sections = len(re.findall(r"^## (?!Map of the source)", english, flags=re.MULTILINE))
    assert len(re.findall(r"^## ", korean, flags=re.MULTILINE)) == sections
    assert len(fenced(korean, "sh")) == len(fenced(english, "sh"))


def test_both_languages_show_the_same_commands_and_modes() -> None:
    assert commands(KOREAN_TEXT) == commands(ENGLISH_TEXT)
    for mode in re.findall(r"^\| `([\w+]+)`", ENGLISH_TEXT, flags=re.MULTILINE):
        assert f"| `{mode}`" in KOREAN_TEXT


def test_every_mode_in_the_readme_is_registered() -> None:
    from models import registry

    table = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)) - {"auto"}
    assert {*registry.entries(), *registry.compositions()} == named


@pytest.mark.parametrize("file", ["daemon/README.md", "daemon/README.ko.md", "config.toml"])
def test_the_endings_that_are_looked_at_are_named(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8").replace("\n#", "")
    (listed,) = re.findall(r"\.jpg(?:\s+\.[a-z]+){3,}", text)
    assert set(listed.split()) == IMAGE_SUFFIXES


def anchors(page: Path) -> set[str]:
    """What a link may name behind ``#``: the headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https:"):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_contents_name_every_section(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert re.findall(r"^\[(.*?)\]\(#", text, flags=re.MULTILINE)[: len(sections)] == sections


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_of_the_source_names_each_file_once(package: str) -> None:
    page = (ROOT / package / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| `{package}/` \|.*\n\|---.*\n((?:\|.*\n)+)", page, flags=re.MULTILINE)
    rows = re.findall(r"^\| (?:`(\w+)/` )?\| .* \| (.*) \|$", table, flags=re.MULTILINE)
    named = {Path(package, room): re.findall(r"`(\w+)`", files) for room, files in rows}
    folders = {file.relative_to(ROOT).parent for file in (ROOT / package).rglob("*.py")}
    assert named == {
        folder: sorted(file.stem for file in (ROOT / folder).glob("*.py") if file.stem != "__init__")
        for folder in folders
    }
