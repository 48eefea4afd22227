"""A Korean user reads Korean: of what the commands say, only names, paths and settings are in other words."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from models.errors import REASONS
from models.text.invocation import COMMANDS
from tests.pictures import save
from tests.processes import run

#: Words that are the same in every language: levels, formats, folders, reasons, settings and commands.
NAMES = frozenset(
    [
        "INFO",
        "WARNING",
        "ERROR",
        "JPEG",
        "PNG",
        "WebP",
        "GIF",
        "BMP",
        "TIFF",
        "AVIF",
        "HEIC",
        "Ctrl-C",
        "inotify",
        "auto",
        "threshold",
        "others",
        "quarantine",
        "not-a-file",
        "sidecar",
        "doctor",
        "daemon",
        "watch",
        "file",
        "last",
        "run",
        "since",
        "checkpoint",
        "NAME",
        "DAY",
        "RUN",
        "DIGEST",
    ]
).union(REASONS)
_COMMANDS = "|".join(command for commands in COMMANDS.values() for command in commands)
#: Commands to type, paths, file names, options, digests, times, and probabilities.
_NO_WORDS = re.compile(
    rf"(python -m ({'|'.join(COMMANDS)})|\S*imagesortd) ({_COMMANDS})(?![a-z])|\S*[./\d]\S*|--[\w-]+"
)
_WORD = re.compile(r"[A-Za-z][A-Za-z-]{2,}")


def english(said: str) -> list[str]:
    """The lines that have English words in them."""
    lines = [_NO_WORDS.sub(" ", line) for line in said.splitlines()]
    return [line for line, rest in zip(said.splitlines(), lines, strict=True) if set(_WORD.findall(rest)) - NAMES]


def test_english_is_told_from_names() -> None:
    assert english("a.jpg -> 개/a.jpg (0.93)\n2026-11-29 09:38:19 INFO    완료: 10장 불확실\n") == []
    assert english("left: /tmp/a.jpg is gone") != []
    assert english("완료: 10장 불확실, had it been no dry run") != []


def test_all_that_is_said_is_korean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESORTD_LANGUAGE", "ko")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    inbox = tmp_path / "inbox"
    for seed in range(2):
        save("fog", seed, inbox / f"f{seed}.jpg")
    whole = save("discs", 1, inbox / "caf\udce9.jpg").read_bytes()
    (inbox / "torn.jpg").write_bytes(whole[:700])
    os.utime(inbox / "torn.jpg", (0, 0))  # else it may still be in the making
    (inbox / "text.png").write_text("hello" * 100)
    (inbox / "list.txt").touch()
    (inbox / "link.jpg").symlink_to("f0.jpg")
    (inbox / "folder").symlink_to(tmp_path)

    def said(*arguments: str) -> str:
        done = run("daemon", *arguments, cwd=tmp_path)
        assert done.returncode in (0, 2, 3), done.stderr
        assert english(done.stdout + done.stderr) == []
        return done.stdout + done.stderr

    said("sort", "--input-dir", "inbox", "--output-dir", "out", "--threshold", "0.99")
    said("--once")
    said("status")
    said("retry", "--reason", "corrupt")
    assert said("retry").count("->") == 2
    filed = sorted((tmp_path / "sorted").glob("*/f*.jpg"))
    filed[0].unlink()
    filed[1].unlink()
    filed[1].write_text("another")
    said("undo", "--last", "9", "--dry-run")
    said("undo", "--last", "9")
    said("resort", "--checkpoint", "no.where")
