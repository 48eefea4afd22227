"""The language of messages: who chooses it, and how a sentence is looked up and filled in."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.text import language
from models.text.commandline import Parser
from models.text.language import choose, reason, tr, trn, use
from tests.processes import ROOT, environment


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGUAGE", "en")
        use("en")
        yield
        use("en")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    known = {"{path} is gone": "{path}이(가) 없습니다", "{count} files": "파일 {count}개", "a {brace": "괄호 {"}
    monkeypatch.setattr(language, "catalogue", lambda _: known)
    use("ko")
    return known


def test_a_template_is_looked_up_and_filled(messages: dict[str, str]) -> None:
    assert tr("{path} is gone", path="/a {b}") == "/a {b}가 없습니다"


def test_what_the_catalogue_lacks_is_said_in_english(messages: dict[str, str]) -> None:
    assert tr("{path} is new", path="a") == "a is new"


def test_without_values_braces_mean_themselves(messages: dict[str, str]) -> None:
    assert tr("a {brace") == "괄호 {"
    assert tr("of {} and {") == "of {} and {"


def test_names_are_shown_by_the_one_rule_for_names() -> None:
    assert tr("{path} is gone", path=Path("caf\udce9\n.jpg")) == "caf\\xe9\\n.jpg is gone"
    error = PermissionError(13, "Permission denied", "caf\udce9")
    assert tr("gone: {error}", error=error) == "gone: Permission denied: 'caf\\xe9'"
    assert tr("{error}!", error=ValueError("a\nb")) == "a\\nb!"
    assert tr("{count:3} of {name}", count=7, name="a\x1b") == "  7 of a\\x1b"


def test_the_system_speaks_it_too() -> None:
    use("ko")
    assert tr("{path} cannot be read: {reason}", path="a", reason="Permission denied").endswith(": 권한이 없습니다")
    assert tr("{source}: {error}", source="a", error=FileExistsError(17, "File exists", "b")).endswith(
        "파일이 이미 있습니다: 'b'"
    )
    assert reason(OSError("a fault of its own")) == "a fault of its own"


def test_english_has_a_plural_and_korean_has_none(messages: dict[str, str]) -> None:
    assert trn("1 file", "{count} files", 1) == "파일 1개"
    use_english = language.catalogue("en")
    messages.clear()
    messages.update(use_english)
    assert [trn("1 file", "{count} files", count) for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, "en"),
        ([], {"LANG": "ko_KR.UTF-8"}, "ko"),
        ([], {"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ([], {"LANG": "ko_KR.UTF-8", "LC_ALL": ""}, "ko"),
        ([], {"LANG": "C", "LANGUAGE": "ko:en"}, "ko"),
        ([], {"LANG": "de_DE.UTF-8"}, "en"),
        ([], {"LANG": "ko_KR.UTF-8", "IMAGESORTD_LANGUAGE": "en"}, "en"),
        (["--language", "ko"], {"IMAGESORTD_LANGUAGE": "en"}, "ko"),
        (["--language=ko"], {}, "ko"),
        (["--language", "auto"], {"IMAGESORTD_LANGUAGE": "ko", "LANG": "C"}, "en"),
        (["--language"], {"LANG": "ko_KR.UTF-8"}, "ko"),
        (["--language", "xx"], {}, "en"),
        (["--", "--language", "ko"], {}, "en"),
    ],
)
def test_who_chooses(
    arguments: list[str],
    environment: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose(arguments, environment) == expected


def test_the_settings_file_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('language = "ko"\n', encoding="utf-8-sig")
    assert choose([], {}) == "ko"
    assert choose([], {"IMAGESORTD_LANGUAGE": "en"}) == "en"
    (tmp_path / "other.toml").write_text("language = 3\n")
    assert choose(["--config", "other.toml"], {"LANG": "ko_KR"}) == "ko"
    assert choose(["--config=none.toml"], {}) == "en"
    (tmp_path / "config.toml").write_text("not toml")
    assert choose([], {}) == "en"


def test_argparse_speaks_it_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    use("ko")
    monkeypatch.setattr(argparse, "_", tr)
    assert "사용법: " in Parser(prog="x").format_help()


def test_a_process_that_is_started_later_inherits_it() -> None:
    use("ko")
    code = "from models.text.language import inherit, tr; inherit(); print(tr('usage: '))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=environment() | {"PYTHONIOENCODING": "utf-8"},
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert os.environ["LANGUAGE"] == "ko"
    assert said.stdout.decode().startswith("사용법: ")
