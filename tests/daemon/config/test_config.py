"""Settings: what wins, and the sentence for each mistake."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from daemon import config
from daemon.__main__ import main
from daemon.config import OPTIONS
from daemon.files.marker import MARKER
from models import allowed
from models.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to start in, so that no config.toml is found by chance."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "config.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_win_over_environment_over_file_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.load({}).others_dir == "others"
    write('others_dir = "from-file"\nbatch_size = 4')
    assert config.load({}).others_dir == "from-file"
    monkeypatch.setenv("IMAGESORTD_OTHERS_DIR", "from-environment")
    assert config.load({}).others_dir == "from-environment"
    settings = config.load({"others_dir": "from-flag"})
    assert (settings.others_dir, settings.batch_size) == ("from-flag", 4)


@pytest.mark.parametrize("value", ["70%", "70 %", "7/10", "0.7"])
def test_a_threshold_may_be_a_percentage_or_a_fraction(value: str) -> None:
    assert config.load({"threshold": value}).threshold == pytest.approx(0.7)
    write(f'threshold = "{value}"')
    assert config.load({}).threshold == pytest.approx(0.7)


def test_plug_ins_allowed_by_one_file_are_not_so_by_the_next() -> None:
    for names in (["one", "two"], ["three"], []):
        write(f"plugins = {names}")
        settings = config.load({})
        assert settings.plugins == names
        allowed.allow_plugins(settings.plugins)
        assert allowed.allowed_plugins() == tuple(names)
    assert config.load({"plugins": "one, two,"}).plugins == ["one", "two"]


def test_a_tilde_stands_for_the_home_folder_in_every_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell puts the folder in its place on the command line; nobody does in a file or in a unit."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    keys = ("output", "checkpoint", "cache_dir", "state_dir")
    write("\n".join(f'{key} = "~/{key}"' for key in keys) + '\nwatch = ["~/in"]\nmetrics_file = "~/daemon.prom"')
    settings = config.load({})
    assert [getattr(settings, key) for key in keys] == [tmp_path / "home" / key for key in keys]
    assert (settings.watch, settings.metrics_file) == ([tmp_path / "home" / "in"], tmp_path / "home" / "daemon.prom")
    with pytest.raises(UserError, match="--state-dir is '~nobody-here/x', which is not valid: there is no such home"):
        config.load({"state_dir": "~nobody-here/x"})


def test_the_shipped_file_holds_every_setting_with_its_default() -> None:
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    assert set(tomllib.loads(text)) == set(OPTIONS)
    assert config.load({}, ROOT / "config.toml") == config.load({})


def test_the_example_of_a_rule_in_the_shipped_file_is_one(tmp_path: Path) -> None:
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    example = "\n".join(re.findall(r"^# ((?:\[class|\w+ = ).*)$", text[text.index("# Rules by class") :], re.MULTILINE))
    write(example)
    rule = config.load({}).rules["receipt"]
    assert all(getattr(rule, key) is not None for key in type(rule).model_fields), "each key has its example"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("class = 3", 'class in config.toml is not a table: the rule of a class is written below [class."receipt"]'),
        ("[class]\nreceipt = 3", 'class."receipt" in config.toml is not a table: the rule'),
        (
            '[class."영수증"]\nthreshold = 2',
            'class."영수증".threshold in config.toml is 2, which is not valid: give a number from 0 to 1',
        ),
        (
            "[class.a]\nthreshold = true",
            'class."a".threshold in config.toml is true, which is not valid: give a number',
        ),
        (
            '[class.a]\naction = "mov"',
            "class.\"a\".action in config.toml is 'mov', which is not valid (did you mean move?): give one of move",
        ),
        ('[class.a]\noutput = ""', 'class."a".output in config.toml is empty: name a folder'),
        ('[class.a]\noutput = "C:\\\\x"', "it is a Windows path"),
        ('[class.a]\nlayout = "{clas}"', "class.\"a\".layout in config.toml is '{clas}', which is not valid: there is"),
        (
            '[class.a]\nlayot = "x"',
            'class."a".layot in config.toml is not a setting of a rule (did you mean layout?): a rule may have ',
        ),
        (
            "[class.a]\non_filed = 3",
            'class."a".on_filed in config.toml is 3, which is not valid: give a command with its options',
        ),
        ("[rules.a]\nthreshold = 0.5", "rules in config.toml is not a setting"),
        ('[class."\u00e9"]\n[class."e\u0301"]', "two rules are for one class, '\u00e9': keep one of them"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_with_its_class_and_key(text: str, sentence: str) -> None:
    write(text)
    with pytest.raises(UserError) as raised:
        config.load({})
    assert sentence in str(raised.value)


def test_rules_are_given_in_the_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IMAGESORTD_RULES", "IMAGESORTD_CLASS"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "{}")
            with pytest.raises(UserError, match="is not a setting"):
                config.load({})


def test_the_output_of_a_class_contradicts_no_other_folder(tmp_path: Path) -> None:
    for output, sentence in {
        "sorted/in": "lies inside the other",
        ".": "lies inside the other",
        "inbox": "is, or lies in,",
        "a-file": "is not a folder",
        "in-it": None,
        "inbox/sorted": None,
    }.items():
        Path("a-file").touch()
        write(f'watch = ["inbox"]\noutput = "sorted"\n[class.receipt]\noutput = "{output}"')
        settings = config.load({})
        if sentence is None:
            config.check_together(settings)
            continue
        with pytest.raises(UserError, match=sentence):
            config.check_together(settings)


def test_every_setting_in_the_shipped_file_is_commented() -> None:
    lines = (ROOT / "config.toml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+ = ", line):
            above = lines[number - 1]
            assert above.startswith("#") or re.match(r"\w+ = ", above), line


def test_several_inboxes_come_from_flags_file_and_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert config.load({"watch": ["a", "b", "a"]}).watch == [tmp_path / "a", tmp_path / "b"]
    write('watch = ["c", "/d"]')
    assert config.load({}).watch == [tmp_path / "c", Path("/d")]
    monkeypatch.setenv("IMAGESORTD_WATCH", "e:f")
    assert config.load({}).watch == [tmp_path / "e", tmp_path / "f"]


def test_an_empty_folder_setting_means_the_usual_place() -> None:
    write('cache_dir = ""\nstate_dir = ""')
    settings = config.load({})
    assert settings.cache_dir is None
    assert settings.state_dir is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "threshhold = 0.5",
            "threshhold in config.toml is not a setting (did you mean threshold?): "
            "python -m daemon --help names them all",
        ),
        ("[daemon]\nthreads = 1", "daemon in config.toml is not a setting: python -m daemon --help names them all"),
        ('batch_size = "many"', "batch_size in config.toml is 'many', which is not valid"),
        ("batch_size = 0", "batch_size in config.toml is 0, which is not valid: should be greater than or equal to 1"),
        ("threshold = 1.5", "threshold in config.toml is 1.5, which is not valid: give a number from 0 to 1"),
        ('threshold = "170%"', "threshold in config.toml is '170%', which is not valid: give a number from 0 to 1"),
        ('threshold = "often"', "threshold in config.toml is 'often', which is not valid: give a number from 0 to 1"),
        ("settle_seconds = -1", "settle_seconds in config.toml is -1, which is not valid"),
        ("settle_seconds = inf", "settle_seconds in config.toml is inf, which is not valid"),
        ('action = "shred"', "action in config.toml is 'shred', which is not valid"),
        (
            'others_dir = "a/b"',
            "others_dir in config.toml is 'a/b', which is not valid: it must be the name of one folder",
        ),
        (
            'metrics_file = "/var/lib/metrics.txt"',
            "metrics_file in config.toml is '/var/lib/metrics.txt', which is not valid: its name must end in .prom",
        ),
        ('metrics_file = ".prom"', "metrics_file in config.toml is '.prom', which is not valid"),
        ("watch = []", "watch in config.toml is [], which is not valid"),
        ("watch = 3", "watch in config.toml is 3, which is not valid: give a list of folders"),
        ("watch = [3]", "watch in config.toml is 3, which is not valid: give a list of folders"),
        ("plugins = 3", "plugins in config.toml is 3, which is not valid: give a list of names"),
        ("threads = true", "threads in config.toml is true, which is not valid: it must be a number"),
        ("settle_seconds = true", "settle_seconds in config.toml is true, which is not valid: it must be a number"),
        ("threshold = false", "threshold in config.toml is false, which is not valid: give a number from 0 to 1"),
        ('watch = ""', "watch in config.toml is empty: name a folder"),
        ('watch = [""]', "watch in config.toml is empty: name a folder"),
        ('watch = ["a", "", "b"]', "watch in config.toml has an entry that is empty: name a folder"),
        ('output = ""', "output in config.toml is empty: name a folder"),
        ('checkpoint = " "', "checkpoint in config.toml is empty: name a folder"),
        (
            'output = "~nobody-of-that-name"',
            "output in config.toml is '~nobody-of-that-name', which is not valid: there",
        ),
        (
            r"output = 'C:\Users\kim\sorted'",
            "output in config.toml is 'C:\\\\Users\\\\kim\\\\sorted', which is not valid: it is a Windows path",
        ),
        (
            "watch = ['in', 'D:/in']",
            "watch in config.toml is ['in', 'D:/in'], which is not valid: it is a Windows path",
        ),
        (
            r'checkpoint = "D:\new"',
            r"checkpoint in config.toml is 'D:\new', which is not valid: it is a Windows path",
        ),
        (
            "[output]\nfolder = 'a'",
            "output in config.toml is {'folder': 'a'}, which is not valid: give a path between quotes",
        ),
        ("cache_dir = 3", "cache_dir in config.toml is 3, which is not valid: give a path between quotes"),
        ("= 1", "the configuration file config.toml is not valid TOML"),
        (
            "output = ./sorted",
            "the configuration file config.toml is not valid TOML: Invalid value (at line 1, column 10): "
            "fix that line (text, such as a path, goes between quotes, and so does the name of a class: "
            '[class."receipt"])',
        ),
        (
            "[class.벌]",
            "the configuration file config.toml is not valid TOML: Invalid initial character for a key part (at line "
            "1, column 8): fix that line (text, such as a path, goes between quotes, and so does the name of a class: "
            '[class."receipt"])',
        ),
        ("[classes.dog]", "classes in config.toml is not a setting (did you mean class?)"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_key_and_place(text: str, sentence: str) -> None:
    write(text)
    with pytest.raises(UserError) as raised:
        config.load({})
    assert str(raised.value).startswith(sentence)
    assert "\n" not in str(raised.value).removesuffix("\n") or "TOML" in sentence


def test_a_file_as_editors_of_windows_save_it_is_read() -> None:
    Path("config.toml").write_bytes(b'\xef\xbb\xbfothers_dir = "unsure"\r\nbatch_size = 4\r\n')
    settings = config.load({})
    assert (settings.others_dir, settings.batch_size) == ("unsure", 4)


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_a_file_in_another_encoding_is_to_be_saved_as_utf_8(encoding: str) -> None:
    Path("config.toml").write_bytes('others_dir = "기타"\n'.encode(encoding))
    with pytest.raises(UserError) as raised:
        config.load({})
    assert str(raised.value) == "the configuration file config.toml is not valid UTF-8: save it as UTF-8"


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESORTD_THREADS", "all")
    with pytest.raises(UserError, match="the environment variable IMAGESORTD_THREADS is 'all'"):
        config.load({})


@pytest.mark.parametrize(
    ("value", "sentence"), [("", "is empty: name a folder"), ("a::b", "has an entry that is empty: name a folder")]
)
def test_an_empty_path_is_not_the_current_folder(monkeypatch: pytest.MonkeyPatch, value: str, sentence: str) -> None:
    with pytest.raises(UserError, match="--watch is empty: name a folder"):
        main(["--watch", ""])
    monkeypatch.setenv("IMAGESORTD_WATCH", value)
    with pytest.raises(UserError, match=f"the environment variable IMAGESORTD_WATCH {sentence}"):
        config.load({})


def test_one_folder_in_two_spellings_is_one_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to("a")
    settings = config.load({"watch": ["a", "b/../a", "link", "new"], "output": "link/../a"})
    assert settings.watch == [tmp_path / "a", tmp_path / "new"]
    assert settings.output == tmp_path / "a"


def test_a_link_to_a_checkpoint_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    (tmp_path / "current").symlink_to("one")
    assert config.load({"checkpoint": "current"}).checkpoint == tmp_path / "current"


def test_an_unknown_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESORTD_TRESHOLD", "0.5")
    with pytest.raises(
        UserError, match=r"the environment variable IMAGESORTD_TRESHOLD is not a setting \(did you mean threshold\?\): "
    ):
        config.load({})


def test_a_mistake_on_the_command_line_names_the_flag() -> None:
    with pytest.raises(UserError, match=r"--threshold is '1\.5'"):
        main(["--threshold", "1.5"])


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(UserError, match=r"there is no configuration file missing\.toml"):
        main(["--config", "missing.toml"])


def test_an_inbox_inside_the_output_would_loop(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lies inside the output"):
        main(["--watch", "sorted/dog", "--output", "sorted"])


def test_an_output_inside_a_class_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sorted" / "dog").mkdir(parents=True)
    (tmp_path / "sorted" / "dog" / MARKER).touch()
    with pytest.raises(UserError, match="lies inside the class folder .*dog"):
        main(["--output", "sorted/dog/more"])


@pytest.mark.parametrize("option", ["--watch", "--output"])
def test_a_file_in_the_place_of_a_folder_is_refused(option: str) -> None:
    Path("file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        main([option, "file"])


def test_others_and_quarantine_are_two_folders() -> None:
    with pytest.raises(UserError, match="the same folder"):
        main(["--others-dir", "odd", "--quarantine-dir", "Odd"])


def test_an_unknown_command_or_option_is_named() -> None:
    with pytest.raises(UserError, match="there is no command 'wach'"):
        main(["wach"])
    with pytest.raises(UserError, match="there is no option --wach: did you mean --watch"):
        main(["--wach", "x"])


def test_quiet_after_close_by_inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('watch = ["./scans"]\nquiet_after_close_seconds = { "./scans" = 10 }\n')
    assert config.load({}).quiet_after_close_seconds == {tmp_path / "scans": 10.0}
    config.check_together(config.load({}))
    assert config.load({"quiet_after_close_seconds": "3"}).quiet_after_close_seconds == 3.0
    flags = {"quiet_after_close_seconds": "./scans=2,./letters=5"}
    assert config.load(flags).quiet_after_close_seconds == {tmp_path / "scans": 2.0, tmp_path / "letters": 5.0}
    monkeypatch.setenv("IMAGESORTD_QUIET_AFTER_CLOSE_SECONDS", "./scans=4")
    assert config.load({}).quiet_after_close_seconds == {tmp_path / "scans": 4.0}
    with pytest.raises(UserError, match="letters is not an inbox: name one of watch"):
        config.check_together(config.load(flags))


@pytest.mark.parametrize("value", ["-1", "soon", "./scans=soon", "=", "inf"])
def test_quiet_after_close_that_is_no_time(value: str) -> None:
    with pytest.raises(UserError, match='give a number of seconds, "auto", or a number for each inbox'):
        config.load({"quiet_after_close_seconds": value})


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "lost+found"])
def test_a_folder_that_is_left_alone_everywhere_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="--others-dir is .* which are left alone"):
        config.load({"others_dir": name})


def test_seconds_of_an_inbox_are_no_truth(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give a number of seconds"):
        config.load({"quiet_after_close_seconds": {str(tmp_path): True}})
