"""The systemd unit: what it says, and what systemd's own tools say of it."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import config
from daemon.__main__ import main
from daemon.commands import unit
from models.errors import UserError
from tests.filing_desk import bound_by_modes

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["unit", *arguments]) == 0
    return capsys.readouterr().out


def values(text: str, key: str) -> list[str]:
    """Everything a unit gives for a key."""
    return [line.partition("=")[2] for line in text.splitlines() if line.partition("=")[0] == key]


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True)


def exposure(path: Path) -> float:
    """systemd's score, 0 (good) to 10, by its own rules."""
    done = analyze("security", "--offline=true", "--threshold=100", path)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "Overall exposure level" in line)
    return float(line.split(": ")[1].split()[0])


@needs_analyze
@pytest.mark.parametrize(
    ("options", "most"),
    [
        ([], 0.5),
        (["--watch", "/srv/in one", "--watch", "/srv/two%", "--output", "/srv/$out"], 0.5),
        (["--watch", "/home/me/inbox", "--output", "/root/sorted", "--checkpoint", "/tmp/checkpoints"], 0.5),
        (["--device", "cuda"], 0.8),
        (["--metrics-listen", "127.0.0.1:9469"], 1.5),
        (["--network"], 1.5),
    ],
    ids=["plain", "odd names", "at home", "gpu", "metrics", "network"],
)
def test_systemd_accepts_the_unit_and_finds_it_safe(
    options: list[str], most: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = unit.write(printed(capsys, *options), tmp_path)
    done = analyze("verify", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert exposure(path) <= most


@needs_analyze
def test_systemd_accepts_a_users_own_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    done = analyze("--user", "verify", unit.write(printed(capsys, "--user"), tmp_path / "units"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_line_repeats_what_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text('others_dir = "unsure"\n')
    text = printed(
        capsys, "--watch", "in", "--watch", "/srv/two", "--no-recursive", "--threshold", "0.4", "--plugins", "a,b"
    )
    (command,) = values(text, "ExecStart")
    assert shlex.split(command) == [
        *[sys.executable, "-P", "-m", "daemon", "--config", str(tmp_path / "config.toml")],
        *["--watch", str(tmp_path / "in"), "--watch", "/srv/two", "--no-recursive", "--threshold", "0.4"],
        *["--plugins", "a,b"],
    ]
    assert values(text, "WorkingDirectory") == [str(tmp_path)]


def test_seconds_by_inbox_are_those_of_the_inbox_meant_from_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = values(
        printed(
            capsys,
            *["--watch", "scans", "--watch", "/srv/letters"],
            *["--quiet-after-close-seconds", "./scans=10,/srv/letters=2.5"],
        ),
        "ExecStart",
    )
    words = shlex.split(command)
    given = words[words.index("--quiet-after-close-seconds") + 1]
    assert given == f"{tmp_path / 'scans'}=10,/srv/letters=2.5"


def test_paths_are_meant_from_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGESORTD_OUTPUT", "out")
    text = printed(capsys, "--threshold", "0.4")
    (command,) = values(text, "ExecStart")
    assert shlex.split(command)[4:] == [
        *["--threshold", "0.4", "--watch", str(tmp_path / "inbox"), "--output", str(tmp_path / "out")],
        *["--checkpoint", str(tmp_path / "checkpoints")],
    ]
    assert values(text, "WorkingDirectory") != [str(tmp_path)]
    assert values(text, "BindPaths" if tmp_path.is_relative_to("/tmp") else "ReadWritePaths")[0].split()[0] == str(
        tmp_path / "inbox"
    )


def test_the_printed_command_line_is_understood_and_means_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from daemon import config
    from daemon.commands import options
    from models.text.commandline import Parser

    given = ["--watch", "a b", "--output", "out", "--threshold", "auto", "--poll", "--max-file-mb", "3"]
    (command,) = values(printed(capsys, *given), "ExecStart")
    parser = Parser()
    options.add_settings(parser)
    flags, file = options.given(vars(parser.parse_args(shlex.split(command)[4:])))
    expected = {"watch": ["a b"], "output": "out", "threshold": "auto", "poll": True, "max_file_mb": 3}
    assert config.load(flags, file) == config.load(expected)


def test_what_the_daemon_writes_to_is_open_to_it_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "--watch", "/srv/in", "--output", "/srv/out", "--state-dir", "/srv/state")
    assert values(text, "ReadWritePaths") == ["/srv/in /srv/out /srv/state"]
    options = ["--watch", "/home/me/in", "--output", "/srv/out", "--checkpoint", "/home/me/checkpoints"]
    text = printed(capsys, *options, "--learn", "off")
    assert values(text, "ReadWritePaths") == ["/srv/out"]
    assert values(text, "BindPaths") == ["/home/me/in"]
    assert "/home/me/checkpoints" in values(text, "BindReadOnlyPaths")
    assert values(text, "ProtectHome") == ["tmpfs"]


def test_a_service_that_learns_may_write_the_checkpoints_and_has_the_memory_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--watch", "/home/me/in", "--output", "/srv/out", "--checkpoint", "/home/me/checkpoints"]
    text = printed(capsys, *options)
    assert values(text, "BindPaths") == ["/home/me/in", "-/home/me/checkpoints"]  # - : it may not be there
    assert "/home/me/checkpoints" not in values(text, "BindReadOnlyPaths")
    text = printed(capsys, "--watch", "/srv/in", "--output", "/srv/out", "--checkpoint", "/srv/runs", "--learn", "ask")
    assert values(text, "ReadWritePaths") == ["/srv/in /srv/out -/srv/runs"]
    one_checkpoint = ["--checkpoint", "/srv/runs/checkpoint.safetensors"]
    assert values(printed(capsys, "--watch", "/srv/in", "--output", "/srv/out", *one_checkpoint), "ReadWritePaths") == [
        "/srv/in /srv/out"
    ]
    learns, never = config.load({"learn_memory_mb": 700}), config.load({"learn_memory_mb": 700, "learn": "off"})
    assert unit.memory_mb(learns) - unit.memory_mb(never) == 700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_the_owner_of_checkpoints_that_are_not_the_services_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--output", str(tmp_path / "sorted"), "--checkpoint", str(tmp_path / "runs"), "--run-as", "bin"]
    (tmp_path / "runs").mkdir()
    os.chown(tmp_path / "runs", 1, 1)
    assert unit.main(options) == 0
    capsys.readouterr()
    unit.main([*options[:4], "--run-as", "games"])
    assert f"{tmp_path}/runs, which belongs to daemon" in capsys.readouterr().err
    unit.main([*options[:4], "--run-as", "games", "--learn", "off"])
    assert "belongs to" not in capsys.readouterr().err


def test_metrics_get_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--watch", "/in", "--output", "/out", "--metrics-file", "/var/lib/prom/x.prom")
    assert values(text, "ReadWritePaths") == ["/in /out /var/lib/prom"]
    assert values(text, "PrivateNetwork") == ["yes"]
    text = printed(capsys, "--metrics-listen", "127.0.0.1:9469")
    assert values(text, "PrivateNetwork") == []
    assert (values(text, "IPAddressDeny"), values(text, "IPAddressAllow")) == (["any"], ["localhost"])


@pytest.mark.parametrize("options", [[], ["--device", "cuda"], ["--network"]])
def test_the_service_may_learn_of_open_files_of_others_and_has_no_other_capability(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, *options)
    assert values(text, "CapabilityBoundingSet") == values(text, "AmbientCapabilities") == ["CAP_LEASE"]
    assert values(text, "PrivateUsers") == []  # the kernel asks for it outside of user namespaces
    assert values(printed(capsys, "--user", *options), "AmbientCapabilities") == []  # nobody has it to give


def test_the_hardening_leaves_a_gpu_within_reach(capsys: pytest.CaptureFixture[str]) -> None:
    plain, gpu = printed(capsys), printed(capsys, "--device", "cuda")
    assert values(plain, "PrivateDevices") == ["yes"]
    assert values(gpu, "PrivateDevices") == []
    assert "~@resources" in values(plain, "SystemCallFilter")
    assert "~@resources" not in values(gpu, "SystemCallFilter")  # its drivers bind memory to processors
    assert "char-nvidia* rw" in values(gpu, "DeviceAllow")
    assert values(plain, "MemoryDenyWriteExecute") == []  # convolutions are compiled in memory


def test_settings_in_the_environment_go_along(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGESORTD_OTHERS_DIR", "the 'others' %")
    assert "\"IMAGESORTD_OTHERS_DIR=the 'others' %%\"" in values(printed(capsys), "Environment")


def test_a_users_unit_keeps_to_the_folders_of_the_users_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/my state")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/cache")
    theirs = values(printed(capsys, "--user"), "Environment")
    assert '"XDG_STATE_HOME=/home/me/my state"' in theirs
    assert "XDG_CACHE_HOME=/home/me/cache" in theirs
    assert not any("XDG" in value for value in values(printed(capsys), "Environment"))


def test_what_cannot_stand_in_a_unit_is_refused() -> None:
    with pytest.raises(UserError, match="cannot stand in a unit"):
        main(["unit", "--watch", "in\nExecStartPre=/bin/sh"])
    with pytest.raises(UserError, match="is not a user name"):
        main(["unit", "--run-as", "root\nUser=x"])


def test_a_users_unit_is_installed_and_the_next_two_commands_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    text = printed(capsys, "--user", "--watch", str(tmp_path))
    lines = printed(capsys, "--user", "--watch", str(tmp_path), "--install").splitlines()
    path = tmp_path / "config" / "systemd" / "user" / "imagesortd.service"
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o644
    assert lines[0] == f"{path} is written. Next:"
    assert [line for line in lines[1:] if not line.startswith("#")][:3] == [
        f"install -d {tmp_path / 'sorted'} {tmp_path / 'checkpoints'}",
        "systemctl --user daemon-reload",
        "systemctl --user enable --now imagesortd.service",
    ]
    assert "# loginctl enable-linger" in lines
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"imagesortd\.service cannot be written .*--user"):
        unit.write("", tmp_path / "file")


def test_the_steps_stand_in_the_order_in_which_they_are_to_be_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "me")
    monkeypatch.setenv("IMAGESORTD_OTHERS_DIR", "not sure")
    assert main(["unit", "--run-as", "nobody-of-that-name", "--watch", "/no/a b", "--output", "/no/out"]) == 0
    said = capsys.readouterr().err
    order = [
        "# 1. ",
        "sudo useradd --system --user-group",
        "# 2. ",
        "sudo install -d -m 2775 -o nobody-of-that-name -g nobody-of-that-name '/no/a b' /no/out ",
        "# 3. ",
        'sudo usermod -aG nobody-of-that-name "$USER"',
        "# 4. ",
        "pull hybrid --to /var/cache/imagesortd",
        "# 5. ",
        "sudo env 'IMAGESORTD_OTHERS_DIR=not sure' ",
        "--install --run-as nobody-of-that-name --watch '/no/a b' --output /no/out",
        "# 6. ",
        "sudo systemctl daemon-reload",
        "sudo systemctl enable --now imagesortd.service",
        "# 7. ",
        "status --watch '/no/a b'",
        "doctor --watch '/no/a b'",
    ]
    places = [said.find(text) for text in order]
    assert -1 not in places, said
    assert places == sorted(places), said
    assert subprocess.run(["bash", "-n"], input=said.partition("\n")[2], text=True).returncode == 0


def test_folders_that_are_there_are_opened_to_the_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, mode in (("inbox", 0o755), ("sorted", 0o2775), ("checkpoints", 0o2775)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    here = pwd.getpwuid(os.getuid()).pw_name
    group = grp.getgrgid((tmp_path / "sorted").stat().st_gid).gr_name
    assert main(["unit", "--run-as", here, "--watch", "inbox"]) == 0
    said = capsys.readouterr().err
    assert "useradd" not in said
    assert "install -d" not in said
    if group == here:
        assert f"find {tmp_path / 'inbox'} -type d -exec chgrp {here} {{}} + -exec chmod g+rwxs {{}} +" in said


def test_the_group_may_work_with_what_the_service_makes(capsys: pytest.CaptureFixture[str]) -> None:
    (mask,) = values(printed(capsys), "UMask")
    assert int(mask, 8) == 0o007


def test_the_working_folder_brings_no_modules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").touch()
    Path("pydantic.py").write_text("raise SystemExit('shadowed')")
    text = printed(capsys)
    (command,) = values(text, "ExecStart")
    words = shlex.split(command)
    environment = dict(value.split("=", 1) for value in values(text, "Environment") if value.startswith("PYTHONPATH="))
    done = subprocess.run(
        [*words[: words.index("daemon") + 1], "--help"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_network_is_closed_unless_asked_for_and_both_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unit", "--on-filed", "curl -d @- http://example.org"]) == 0
    closed = capsys.readouterr()
    assert values(closed.out, "PrivateNetwork") == ["yes"]
    assert "# No network" in closed.out
    assert "write the unit with --network" in closed.err
    assert main(["unit", "--network", "--on-filed", "curl"]) == 0
    opened = capsys.readouterr()
    assert values(opened.out, "PrivateNetwork") == values(opened.out, "IPAddressDeny") == []
    assert values(opened.out, "RestrictAddressFamilies") == ["AF_UNIX AF_INET AF_INET6"]
    assert "reaches the network" in opened.err
    assert "--install --network" in opened.err
    assert main(["unit"]) == 0
    assert "--network" not in capsys.readouterr().err
    assert main(["unit", "--network", "--metrics-listen", "127.0.0.1:9469"]) == 0
    assert values(capsys.readouterr().out, "IPAddressDeny") == []


def test_a_folder_that_may_not_be_looked_at_is_not_to_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who prints the unit need not be who runs it."""
    closed = tmp_path / "closed"
    for name in ("inbox", "sorted", "checkpoints"):
        (closed / name).mkdir(parents=True)
    flags = ["--watch", str(closed / "inbox"), "--output", str(closed / "sorted")]
    closed.chmod(0)
    try:
        with bound_by_modes():
            assert main(["unit", "--user", "--checkpoint", str(closed / "checkpoints"), *flags]) == 0
    finally:
        closed.chmod(0o755)
    assert "install -d" not in capsys.readouterr().err


def test_memory_is_enough_for_every_decoder_at_its_limit() -> None:
    small = config.load({"threads": 1, "decode_memory_mb": 300})
    large = config.load({"threads": 4, "decode_memory_mb": 2000})
    assert unit.memory_mb(large) - unit.memory_mb(small) == 4 * 2000 - 300


def test_a_stop_waits_for_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert values(printed(capsys, "--on-filed-seconds", "200.5"), "TimeoutStopSec") == ["461"]


@pytest.mark.parametrize("user", [[], ["--user"]])
def test_the_control_socket_has_a_folder_that_its_group_can_enter(
    capsys: pytest.CaptureFixture[str], user: list[str]
) -> None:
    alone, shared = printed(capsys, *user), printed(capsys, *user, "--control-group", "users")
    for text, mode in ((alone, "0700"), (shared, "0711")):
        assert (values(text, "RuntimeDirectory"), values(text, "RuntimeDirectoryMode")) == (["imagesortd"], [mode])
    assert "--control-group users" in shared


def test_one_unit_is_printed_at_a_time() -> None:
    with pytest.raises(UserError, match="--review: not allowed with argument --alerts"):
        main(["unit", "--alerts", "--review"])


def test_help_offers_nothing_that_only_the_file_can_say(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["unit", "--help"])
    assert "--rules" not in capsys.readouterr().out


def test_percent_signs_are_no_specifiers_in_any_unit(capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--watch", "/srv/50%d", "--alerts-file", "/etc/50%d", "--state-dir", "/var/50%d")
    for which in ((), ("--review",), ("--alerts",)):
        text = printed(capsys, *which, *more)
        unit = text[text.index("[Unit]") : text.index("[Install]")]
        assert "50%%d" in unit
        assert "50%d" not in unit
