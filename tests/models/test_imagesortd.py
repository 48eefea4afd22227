"""The script ``imagesortd``: every command under one name, from any folder, and the Tab key."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from models import imagesortd, registry
from models.children import run_child
from models.errors import UserError, WeightsUnavailable
from models.text import completion
from models.text.invocation import COMMANDS, respelled
from tests.pictures import class_folders

ROOT = Path(__file__).resolve().parents[2]
#: What the installed script holds. It stands in no folder of ours, and Python looks there for modules first.
SCRIPT = "from models.imagesortd import script\nscript()\n"
#: Commands of each package that are tried each time; all the others are in the slow tests.
QUICKLY = ("watch", "sort", "history", "fit", "publish", "models")
MODES = {*registry.entries(), *registry.compositions()}


@pytest.fixture
def started(tmp_path: Path) -> list[str]:
    """A command that starts the script."""
    file = tmp_path / "package" / "imagesortd"
    file.parent.mkdir()
    file.write_text(SCRIPT)
    return [sys.executable, str(file)]


@pytest.fixture
def strays(tmp_path: Path) -> Path:
    """A folder with modules that are called like ours, or like libraries: to import one is the end."""
    folder = tmp_path / "strays"
    for name in ("models", "daemon", "trainer", "numpy", "loguru", "PIL", "onnxruntime", "tomllib"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('the stray {name} was imported')\n")
    return folder


def run(command: list[str], cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120", **more}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_project_installs_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"imagesortd": "models.imagesortd:script"}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[] if command in QUICKLY else [pytest.mark.slow])
        for commands in COMMANDS.values()
        for command in commands
    ],
)
def test_every_command_explains_itself_under_its_name(
    command: str, started: list[str], strays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run([*started, "help", command], strays)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: imagesortd {command} ")
    assert "python -m" not in done.stdout
    imagesortd.main([])
    assert f"\n  {command} " in capsys.readouterr().out


def test_it_has_every_command_of_the_packages() -> None:
    from daemon.__main__ import COMMANDS as DAEMON_COMMANDS
    from trainer.__main__ import make_parser

    assert set(COMMANDS["daemon"]) == {"watch", "sort", *DAEMON_COMMANDS}
    assert f"{{{','.join(COMMANDS['trainer'])}}}" in make_parser().format_usage() or all(
        command in make_parser().format_help() for command in COMMANDS["trainer"]
    )


def test_a_picture_is_sorted_in_a_folder_of_stray_modules(started: list[str], strays: Path) -> None:
    """The children that decode import nothing from there either."""
    class_folders(strays / "photos", {"discs": "discs"}, 1)
    done = run([*started, "sort", "--input-dir", "photos", "--output-dir", "out"], strays)
    assert done.returncode == 0, done.stderr
    assert len(list((strays / "out").rglob("*.*g"))) == 1


@pytest.mark.parametrize(
    ("child", "arguments", "sentence"),
    [
        ("models.inference.export", ("none", "", "", "cache/graphs/graph"), "there is no backbone 'none'"),
        ("models.weights.convert", ("none", "", "converted"), "none cannot be converted to converted"),
    ],
)
def test_children_that_make_graphs_import_no_stray_modules(
    child: str, arguments: tuple[str, ...], sentence: str, strays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(strays)
    with pytest.raises(WeightsUnavailable, match=sentence):
        run_child(child, *arguments)


@pytest.mark.parametrize("package", ["daemon", "trainer"])
def test_python_m_takes_nothing_but_the_package_itself_from_the_present_folder(package: str, strays: Path) -> None:
    for file in (strays / package).iterdir():
        file.unlink()
    (strays / package).rmdir()
    done = run([sys.executable, "-m", package, "--help"], strays)
    assert done.returncode == 0, done.stderr
    assert "stray" not in done.stderr


@pytest.mark.parametrize("package", ["daemon", "trainer"])
def test_another_models_that_lies_before_ours_is_named(package: str, strays: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    apart.mkdir()
    (strays / "models").rename(apart / "models")
    done = run([sys.executable, "-m", package, "--help"], tmp_path, PYTHONPATH=f"{apart}{os.pathsep}{ROOT}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(apart / "models" / "__init__.py") in done.stderr
    assert "imagesortd" in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["help"], ["completion", "bash"]], ids=" ".join)
def test_small_questions_load_no_large_library(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from models import imagesortd; imagesortd.main(sys.argv[1:]);"
        "print(*{'torch', 'onnxruntime', 'numpy', 'PIL', 'daemon', 'trainer'} & set(sys.modules), file=sys.stderr)"
    )
    done = run([sys.executable, "-c", code, *arguments], ROOT)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert done.stdout


def test_a_mistyped_command_is_guessed() -> None:
    with pytest.raises(UserError, match="there is no command histroy: did you mean history"):
        imagesortd.main(["histroy"])
    with pytest.raises(UserError, match="see imagesortd help"):
        imagesortd.main(["xyzzy"])


#: What has been typed when the Tab key is pressed, and what may follow.
TYPED: list[tuple[str, set[str]]] = [
    ("imagesortd hist", {"history"}),
    ("imagesortd help ev", {"evaluate"}),
    ("imagesortd watch --oth", {"--others-dir"}),
    ("imagesortd sort --input", {"--input-dir"}),
    ("imagesortd history --min", {"--min-confidence"}),
    ("imagesortd fit --max", {"--max-samples", "--max-error"}),
    ("imagesortd fit --publish ", {"always", "never", "if-better"}),
    ("imagesortd fit --mode ", {"auto", *MODES}),
    ("imagesortd zero-shot --mode h", {"hybrid"}),
    ("imagesortd watch --action ", {"move", "copy", "link", "tag"}),
    ("imagesortd sort --precision ", {"float32", "int8"}),
    ("imagesortd publish ", {"latest", "20260101-hybrid"}),
    ("imagesortd publish --output-dir elsewhere ", {"latest"}),
    ("imagesortd models p", {"pull"}),
    ("imagesortd models ", {"list", "info", "pull"}),
    ("imagesortd models info ", MODES),
    ("imagesortd models pull --to x mob", {"mobilenet", "mobilenet_small"}),
    ("imagesortd models pull --t", {"--to"}),
    ("imagesortd labels f", {"forget"}),
    ("imagesortd labels --how m", {"moved"}),
    ("imagesortd labels forget --la", {"--last", "--language"}),
    ("imagesortd labels export --co", {"--copy", "--config"}),
    ("imagesortd relabel a.jpg oth", {"others"}),
    ("imagesortd completion z", {"zsh"}),
    ("/opt/some where/imagesortd undo --la".replace(" where", ""), {"--last", "--language"}),
]


@pytest.mark.parametrize(
    ("line", "expected"),
    [pytest.param(*typed, marks=[pytest.mark.slow] if at % 3 else []) for at, typed in enumerate(TYPED)],
)
def test_the_tab_key_completes(line: str, expected: set[str], started: list[str], strays: Path, tmp_path: Path) -> None:
    run_folder = strays / "checkpoints" / "20260101-hybrid"
    run_folder.mkdir(parents=True)
    (run_folder / "checkpoint.safetensors").touch()
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    asked |= {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "said")}
    run(started, strays, **asked)
    assert {word.strip() for word in (tmp_path / "said").read_text().split("\n")} == expected


@pytest.mark.parametrize("command", ["sort", "fit", "history"])
def test_options_are_offered_at_once_where_nothing_else_can_come(
    command: str, started: list[str], strays: Path, tmp_path: Path
) -> None:
    line = f"imagesortd {command} "
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    asked |= {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "said")}
    run(started, strays, **asked)
    said = {word.strip() for word in (tmp_path / "said").read_text().split("\n")}
    assert {"--help", "--json"} <= said
    assert all(word.startswith("--") for word in said)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["imagesortd", ""], {"watch", "sort", "fit", "publish", "models", "help", "completion"}),
        (["imagesortd", "sort", "--"], {"--input-dir", "--output-dir", "--threshold", "--language"}),
        (["imagesortd", "fit", "--mode", ""], {"auto", "hybrid", "clip", "mobilenet"}),
    ],
    ids=["commands", "options", "modes"],
)
def test_bash_completes_after_the_line_of_the_readme(
    words: list[str], expected: set[str], started: list[str], strays: Path, tmp_path: Path
) -> None:
    readme = (ROOT / "README.md").read_text()
    [line] = [each.split("`")[1] for each in readme.splitlines() if each.startswith("- bash: `")]
    script = tmp_path / "bin" / "imagesortd"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(started)} "$@"\n')
    script.chmod(0o755)
    press = f"""
        {line}
        complete -p imagesortd | sed 's/.*-F \\([^ ]*\\) .*/\\1/' > {shlex.quote(str(tmp_path / "function"))}
        COMP_LINE={shlex.quote(" ".join(words))} COMP_POINT=${{#COMP_LINE}} COMP_TYPE=9
        COMP_WORDS=({" ".join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}
        $(cat {shlex.quote(str(tmp_path / "function"))}) imagesortd {shlex.quote(words[-1])} {shlex.quote(words[-2])}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    done = run(["bash", "--noprofile", "--norc", "-c", press], strays, PATH=path)
    assert done.returncode == 0, done.stderr
    assert expected <= {word.strip() for word in done.stdout.splitlines()}, done.stderr


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_each_shell_gets_its_code(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert imagesortd.main(["completion", shell]) == 0
    assert "imagesortd" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("publish one with python -m trainer publish", "publish one with /opt/i publish"),
        ("see python -m models list", "see /opt/i models list"),
        ("python -m daemon undo --run 3", "/opt/i undo --run 3"),
        ("python -m daemon release로 풉니다", "/opt/i release로 풉니다"),
        ("python -m trainer publish로 게시합니다", "/opt/i publish로 게시합니다"),
        ("python -m daemon --help names them all", "/opt/i watch --help names them all"),
        ("python -m models.inference.export is run as a child", "python -m models.inference.export is run as a child"),
        ("python -m pytest", "python -m pytest"),
    ],
)
def test_sentences_name_the_script_where_there_is_one(text: str, expected: str) -> None:
    assert respelled(text, "/opt/i") == expected
    assert respelled(text, None) == text
