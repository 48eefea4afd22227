"""What the command lines share: spellings, one sentence for a mistake, exit codes, a quiet end."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from models.errors import CheckpointError, UserError
from models.text.commandline import Parser, normalise, print_json, run


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--data_dir", "a_b"], ["--data-dir", "a_b"]),
        (["--data_dir=a_b=c_d"], ["--data-dir=a_b=c_d"]),
        (["--weights", "mobilenet=/a_b/c.pth"], ["--weights", "mobilenet=/a_b/c.pth"]),
        (["-x_y", "_", "a_b", "-"], ["-x_y", "_", "a_b", "-"]),
        (["--a_b", "--", "--c_d", "--"], ["--a-b", "--", "--c_d", "--"]),
        ([], []),
    ],
)
def test_underscores_are_hyphens_in_the_names_of_options_only(given: list[str], meant: list[str]) -> None:
    assert normalise(given) == meant
    assert normalise(meant) == meant


def parse(arguments: list[str]) -> int:
    parser = Parser(prog="tool")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--count", type=int)
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args(arguments)
    print(options.data_dir, options.count, options.rest)
    return 7


def test_a_program_gives_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse, ["--data_dir", "a_b", "--", "--c_d"]) == 7
    assert capsys.readouterr() == ("a_b None ['--c_d']\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: --data-dir"),
        (["--data-dir"], "argument --data-dir: expected one argument"),
        (["--data-dir", "a", "--count", "many"], "argument --count: invalid int value: 'many'"),
        (["--data", "a"], "there is no option --data: did you mean --data-dir?"),
        (["--data-dir", "a", "--nothing"], "there is no option --nothing"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parse, arguments) == 2
    assert capsys.readouterr() == ("", f"tests.models.text: {complaint} (see tool --help)\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("give another folder"), 2, "give another folder"),
        (
            CheckpointError("the checkpoint 개 is not used: it is damaged"),
            2,
            "the checkpoint 개 is not used: it is damaged",
        ),
        (UserError("no \x1b[2Jfolder\na\udcffb\u202e"), 2, r"no \x1b[2Jfolder\na\xffb\u202e"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 1, "/a/b: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device", b"/a\xff"), 1, r"/a\xff: No space left on device"),
        (OSError(errno.EIO, "Input/output error", 3), 1, "Input/output error"),
        (OSError("odd"), 1, "odd"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(_: list[str]) -> int:
        raise error

    assert run(main, []) == code
    assert capsys.readouterr() == ("", f"tests.models.text: {said}\n")


def test_a_fault_of_the_program_is_logged_with_its_cause(logged: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: list[str]) -> int:
        raise ZeroDivisionError("division by zero")

    assert run(main, []) == 1
    assert logged == ["tests.models.text failed because of an internal error"]
    assert capsys.readouterr().out == ""


def models(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_help_is_help() -> None:
    done = models("list", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--cache-dir" in done.stdout


def test_a_wrong_command_of_a_real_program_is_one_sentence() -> None:
    done = models("lost")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("models: argument COMMAND: lost is not one of list, info, pull: did you mean list?")
    assert done.stderr.count("\n") == 1


def test_letters_that_the_terminal_lacks_are_escaped() -> None:
    code = (
        "from models.text.commandline import run_and_exit\nrun_and_exit(lambda _: print('caf\u00e9 \uac1c\ubbf8') or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\xe9 \\uac1c\\ubbf8\n", b"")


def test_names_of_files_that_are_not_in_utf_8_by_the_locale_are_refused() -> None:
    plain = {name: value for name, value in os.environ.items() if name not in {"LANG", "PYTHONUTF8"}}
    assert models("list", "--help", env=plain | {"LC_ALL": "C"}).returncode == 0
    done = models("list", env=plain | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "models: your locale encodes file names as ascii, but they must be UTF-8: set PYTHONUTF8=1 or LC_ALL=C.UTF-8\n"
    )


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models", "list", "--cache_dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(("encoding", "readable"), [("utf-8", True), ("latin-1", False), ("cp949", False)])
def test_json_is_json_whatever_letters_the_terminal_has(
    encoding: str, readable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"class": "고양이 🐈"}
    terminal = TextIOWrapper(BytesIO(), encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", terminal)
    print_json(result)
    terminal.flush()
    printed = terminal.buffer.getvalue().decode(encoding)
    assert json.loads(printed) == result
    assert ("고양이 🐈" in printed) is readable


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["fit", "--data-dri", "D"], "there is no option --data-dri: did you mean --data-dir?"),
        (["fit", "--data_dri=D"], "there is no option --data-dri: did you mean --data-dir?"),
        (["fit", "--data-dir", "D", "--zzzz"], "there is no option --zzzz"),
        (["fit", "-data-dir", "D"], "there is no option --data-dir: did you mean"),
        (["fti", "--data-dir", "D"], "fti is not one of fit: did you mean fit?"),
        (["Fit", "--data-dir", "D"], "Fit is not one of fit: did you mean fit?"),
        (["fit", "--data-dir", "D", "--publish", "nevre"], "nevre is not one of always, never: did you mean never?"),
        (["qqq"], "invalid choice: 'qqq'"),
    ],
)
def test_a_misspelled_word_is_told_with_the_one_that_is_meant(arguments: list[str], meant: str) -> None:
    parser = Parser(prog="tool")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    fit = commands.add_parser("fit")
    fit.add_argument("--data-dir", required=True)
    fit.add_argument("--publish", choices=("always", "never"))
    if arguments[1:2] == ["-data-dir"]:
        meant = "the following arguments are required: --data-dir"
    with pytest.raises(UserError, match=re.escape(meant)):
        parser.parse_args(normalise(arguments))


def test_what_follows_two_hyphens_or_is_a_value_is_no_misspelled_option() -> None:
    parser = Parser(prog="tool")
    parser.add_argument("--name")
    parser.add_argument("rest", nargs="*")
    assert parser.parse_args(["--name=--a", "b", "--", "--nmae"]).rest == ["b", "--nmae"]
