"""What a Korean user reads: every line of the commands, of the log and of refusals is in Korean."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.pictures import save
from tests.processes import run

#: Lines that are the same in every language: an image and where it went, and what can be pasted or is for systemd.
SAME_IN_EVERY_LANGUAGE = (
    r".* -> .*\(.*\)",
    r" *-> (sysctl|pip install) .*",
    r"#? ?(sudo |env )*(install|find|usermod|useradd|loginctl|systemctl|\S*imagesortd|python -m \w+) .*",
    r"\[\w+\]|\w+=.*|",
)


def english(text: str) -> list[str]:
    """The lines that say something, and not in Korean."""
    return [
        line
        for line in text.splitlines()
        if not re.search("[가-힣]", line) and not any(re.fullmatch(same, line) for same in SAME_IN_EVERY_LANGUAGE)
    ]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inbox with a picture, and with much of what is complained of, after it was filed once."""
    folder = tmp_path_factory.mktemp("korean")
    inbox = folder / "inbox"
    (inbox / "@eaDir").mkdir(parents=True)
    save("fog", 1, inbox / "fog.jpg")
    save("fog", 1, inbox / "@eaDir" / "small.jpg")
    (inbox / "junk.jpg").write_bytes(b"this is no picture")
    (inbox / "link.jpg").symlink_to(inbox / "fog.jpg")
    os.mkfifo(os.fsencode(inbox) + b"/p\xe9.jpg")
    done = run("daemon", "--once", "--language", "ko", "--poll", "--on-filed", "false", cwd=folder)
    assert done.returncode == 3, done.stderr
    (folder / "log").write_text(done.stderr)
    return folder


def test_the_log_is_korean(scene: Path) -> None:
    log = (scene / "log").read_text()
    assert english(log) == []
    assert "p\\xe9.jpg" in log


@pytest.mark.parametrize(
    "command",
    ["history", "status", "doctor", "unit", "doctor --watch absent --output absent", "unit --user --on-filed x"],
)
def test_a_command_is_korean(command: str, scene: Path) -> None:
    done = run("daemon", *command.split(), "--language", "ko", cwd=scene)
    assert done.stdout
    assert english(done.stdout + done.stderr) == []


@pytest.mark.parametrize(
    "setting",
    [
        "threads = -1",
        "threads = 'x'",
        "thread = 1",
        "action = 'muve'",
        "recursive = 'perhaps'",
        "watch = ''",
        "watch = ['a', '']",
        "output = 'C:/x'",
        "output = '~nobody-here/x'",
        "others_dir = 'a/b'",
        "metrics_listen = '8.8.8.8:1'",
        "metrics_file = 'x'",
        'on_filed = "a \'b"',
        "threshold = 7",
        "x = [",
        "= 1",
        "output = 'config.toml'",
    ],
)
def test_a_refusal_is_korean(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from daemon import config
    from models.errors import UserError
    from models.text import language

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANGUAGE", "ko")
    Path("config.toml").write_text(setting)
    language.inherit()
    try:
        with pytest.raises(UserError) as refused:
            config.check_together(config.load({}))
    finally:
        language.use("en")
    told = str(refused.value)
    assert re.search("[가-힣]", told)
    assert not re.search("[a-z]{2,} [a-z]{2,} [a-z]{2,}", told)


@pytest.mark.parametrize(
    "error",
    [
        OSError(13, "Permission denied"),
        OSError(28, "No space left on device", "a.jpg"),
    ],
)
def test_what_the_system_says_is_korean(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.text import language

    monkeypatch.setenv("LANGUAGE", "ko")
    language.inherit()
    try:
        assert re.match("[가-힣]", language.reason(error))
    finally:
        language.use("en")
