"""SIGHUP: what is taken over, what needs a restart, what is refused; and what else SIGHUP may mean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon import config
from daemon.config import Settings
from daemon.filing.filer import Filer
from daemon.pipeline import Pipeline
from daemon.reconfigure import TAKEN_OVER, Configuration, apply
from daemon.reloading.pipeline_settings import PipelineSettings
from daemon.reloading.reloader import Reloader
from models.classifier import Classifier, open_classifier
from models.errors import UserError
from models.weights.store import WeightsStore
from tests.daemon.conftest import Publish
from tests.pictures import KINDS, files_below, save
from tests.processes import PATIENCE, daemon, environment, wait_for


def configuration(old: dict[str, object], new: Callable[[], Settings]) -> Configuration:
    return Configuration(config.load(old), new)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_changed_settings_are_taken_over_or_named(logged: list[str]) -> None:
    new = config.load({"threshold": 0.25, "batch_size": 2, "output": "elsewhere", "settle_seconds": 9})
    held = configuration({"threshold": 0.5}, lambda: new)
    assert held.take_over([]) == {"threshold", "batch_size"}
    assert (held.settings.threshold, held.settings.batch_size) == (0.25, 2)
    assert held.settings.output != new.output
    assert logged == [
        "took over new settings: batch_size, threshold",
        "these new settings need a restart: output, settle_seconds",
    ]
    assert held.take_over([]) == frozenset()  # what needs a restart is named each time
    assert logged[2:] == ["these new settings need a restart: output, settle_seconds"]


def test_a_rule_with_another_output_is_named_and_waits_for_a_restart(tmp_path: Path, logged: list[str]) -> None:
    held = configuration({}, lambda: config.load({}))
    (tmp_path / "config.toml").write_text("[class.cat]\nthreshold = 0.9\n[class.dog]\noutput = 'far'\n")
    assert held.take_over([]) == frozenset()
    assert logged[0] == (
        f'the rules of classes stay as they are: class."dog".output is another output ({tmp_path}/far), which needs a '
        "restart"
    )


def test_unchanged_settings_are_said_to_be_so(logged: list[str]) -> None:
    held = configuration({}, lambda: config.load({}))
    assert held.take_over([]) == frozenset()
    assert logged == ["the settings were read again: nothing has changed"]


def test_a_mistake_leaves_every_setting_as_it_was(logged: list[str]) -> None:
    def mistaken() -> Settings:
        raise UserError("threshold in config.toml is 2.0, which is not valid")

    held = configuration({"threshold": 0.5}, mistaken)
    assert held.take_over([]) == frozenset()
    assert held.settings == config.load({"threshold": 0.5})
    assert logged == ["the settings in use stay: threshold in config.toml is 2.0, which is not valid"]


def test_settings_that_cannot_be_read_leave_those_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    held = configuration({"threshold": 0.5}, lambda: config.load({}))
    before = held.settings
    gone = tmp_path / "gone"  # the folder that the daemon was started in
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert held.take_over([]) == frozenset()
    assert held.settings == before
    assert logged == ["the settings in use stay: No such file or directory"]


def test_no_folder_for_other_images_takes_the_name_of_a_class(logged: list[str]) -> None:
    held = configuration({}, lambda: config.load({"others_dir": "Dog", "threshold": 0.25}))
    assert held.take_over(["cat", "dog"]) == frozenset()
    assert held.settings == config.load({})
    assert len(logged) == 1
    assert logged[0].startswith("the settings in use stay: ")
    assert "has a class dog, and the folder Dog is for other images" in logged[0]


@pytest.mark.parametrize("place", ["chekpoints", "chekpoints/run/checkpoint.safetensors"])
def test_a_checkpoint_that_is_not_there_is_refused(place: str, logged: list[str]) -> None:
    held = configuration({}, lambda: config.load({"checkpoint": place, "threshold": 0.25}))
    assert held.take_over([]) == frozenset()
    assert held.settings == config.load({})
    assert len(logged) == 1
    assert logged[0].startswith(f"the settings in use stay: there is no checkpoint {Path(place).absolute()}")


def test_a_checkpoint_folder_without_a_publication_is_waited_for(logged: list[str]) -> None:
    Path("later").mkdir()
    held = configuration({}, lambda: config.load({"checkpoint": "later"}))
    assert held.take_over([]) == {"checkpoint"}
    assert logged[0] == f"nothing is published in {Path('later').absolute()} yet: until then the model in use stays"


def test_a_model_published_later_is_held_to_the_new_names(
    publish: Publish, store: WeightsStore, tmp_path: Path, logged: list[str]
) -> None:
    publish(tmp_path / "checkpoints" / "one", ["a", "b"])
    settings = config.load({"others_dir": "unsure", "cache_dir": store.root})
    classifier = open_classifier(tmp_path / "checkpoints", store)
    pipeline = Pipeline(classifier, Filer(Path("sorted")), PipelineSettings.from_settings(config.load({})), threads=1)
    reloader = Reloader.from_settings(config.load({"cache_dir": store.root}), store)
    reloader.first()
    apply(settings, frozenset({"others_dir"}), pipeline, reloader)
    pipeline.close()
    publish(tmp_path / "checkpoints" / "two", ["a", "unsure"])
    assert reloader.poll() is None
    wait_for(lambda: reloader.poll() is None and any("has a class unsure" in line for line in logged), "its refusal")


def test_a_model_refused_for_a_name_is_taken_once_the_names_are_mended(
    publish: Publish, store: WeightsStore, tmp_path: Path, logged: list[str]
) -> None:
    publish(tmp_path / "checkpoints" / "one", ["a", "b"])
    settings = config.load({"others_dir": "unsure", "cache_dir": store.root})
    reloader = Reloader.from_settings(settings, store)
    pipeline = Pipeline(reloader.first(), Filer(Path("sorted")), PipelineSettings.from_settings(settings), threads=1)
    digest = publish(tmp_path / "checkpoints" / "two", ["a", "unsure"])
    wait_for(lambda: reloader.poll() is None and any("has a class unsure" in line for line in logged), "its refusal")
    mended = config.load({"others_dir": "elsewhere", "cache_dir": store.root})
    apply(mended, frozenset({"others_dir"}), pipeline, reloader)
    pipeline.close()
    assert take_over(reloader).digest == digest


def test_every_setting_that_is_taken_over_exists() -> None:
    assert set(Settings.model_fields) >= TAKEN_OVER


def take_over(reloader: Reloader) -> Classifier:
    """The next classifier that it brings."""
    newer: list[Classifier] = []

    def look() -> bool:
        found = reloader.poll()
        newer.extend([found] if found else [])
        return bool(newer)

    wait_for(look, "another checkpoint")
    return newer[0]


def test_another_checkpoint_is_loaded_and_other_settings_adopted(
    publish: Publish, store: WeightsStore, tmp_path: Path
) -> None:
    publish(tmp_path / "one" / "run", ["a", "b"])
    digest = publish(tmp_path / "two" / "run", ["b", "c"])
    settings = config.load({"checkpoint": "two", "threshold": 1.0, "others_dir": "unsure", "cache_dir": store.root})
    pipeline = Pipeline(
        open_classifier(tmp_path / "one", store),
        Filer(Path("sorted")),
        PipelineSettings.from_settings(config.load({})),
        threads=1,
    )
    reloader = Reloader.from_settings(config.load({"checkpoint": "one", "cache_dir": store.root}), store)
    reloader.first()
    apply(settings, frozenset({"checkpoint", "threshold", "others_dir"}), pipeline, reloader)
    assert take_over(reloader).digest == digest
    (outcome,) = pipeline.process([save(KINDS[0], 1, tmp_path / "image.png")])
    pipeline.close()
    assert outcome.destination is not None
    assert outcome.destination.parent.name == "unsure"


def test_a_running_daemon_files_by_its_new_settings(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('threshold = 0.0\nsettle_seconds = 0.1\nlog_level = "INFO"\n')
    with daemon(tmp_path) as running:
        file.write_text('threshold = 1.0\nothers_dir = "unsure"\nsettle_seconds = 0.1\nplugins = ["late"]\n')
        running.process.send_signal(signal.SIGHUP)
        running.wait_until_said("took over new settings: others_dir, threshold")
        running.wait_until_said("these new settings need a restart: plugins")
        save(KINDS[0], 1, tmp_path / "inbox" / "image.png")
        running.wait_until_said("image.png -> unsure/image.png")
        assert files_below(tmp_path / "sorted") == {"unsure": ["image.png"]}
        file.write_text('checkpoint = "chekpoints"\nsettle_seconds = 0.1\n')
        running.process.send_signal(signal.SIGHUP)
        running.wait_until_said(f"the settings in use stay: there is no checkpoint {tmp_path / 'chekpoints'}")
        file.write_text('others_dir = "Dog"\nsettle_seconds = 0.1\n')
        running.process.send_signal(signal.SIGHUP)
        running.wait_until_said("has a class dog, and the folder Dog is for other images")
        assert running.terminate() == 0


def test_a_closed_terminal_ends_the_daemon(tmp_path: Path) -> None:
    """The SIGHUP of a terminal that went away is no wish for other settings."""
    terminal, inner = os.openpty()
    log = tmp_path / "daemon.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "daemon"],
            cwd=tmp_path,
            env=environment(),
            stdin=inner,
            stdout=file,
            stderr=file,
        )
    os.close(inner)
    try:
        wait_for(lambda: "ready;" in log.read_text(), "a daemon that is ready")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the settings were read again" in log.read_text(), "settings read again")
        os.close(terminal)
        assert process.wait(PATIENCE) == 0
        assert "stopped: " in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_under_nohup_a_hang_up_is_ignored(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["nohup", sys.executable, "-m", "daemon"],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        wait_for(lambda: "ready;" in log.read_text(), "a daemon that is ready")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert "read again" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def test_metrics_and_the_command_come_and_go_without_a_restart(tmp_path: Path) -> None:
    file, told = tmp_path / "config.toml", tmp_path / "told"
    first, second = tmp_path / "first.prom", tmp_path / "second.prom"
    file.write_text(f'metrics_file = "{first}"\n')
    with daemon(tmp_path) as running:
        wait_for(first.exists, "the first metrics")
        file.write_text(f'metrics_file = "{second}"\non_filed = ["sh", "-c", "cat >> {told}"]\n')
        running.process.send_signal(signal.SIGHUP)
        running.wait_until_said("took over new settings: metrics_file, on_filed")
        wait_for(second.exists, "the second metrics")
        assert not first.exists()
        save(KINDS[0], 1, tmp_path / "inbox" / "image.png")
        wait_for(lambda: told.exists() and told.read_text(), "the command to be told")
        file.write_text("")
        running.process.send_signal(signal.SIGHUP)
        wait_for(lambda: running.log().count("took over new settings: metrics_file, on_filed") == 2, "both gone")
        wait_for(lambda: not second.exists(), "the metrics gone")
        assert running.terminate() == 0
