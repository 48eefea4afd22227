"""``python -m daemon doctor``: check all that the daemon needs, and say how to put right what is wrong."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import PIL
from PIL import features

from daemon import config
from daemon.commands import unit
from daemon.commands.alert_probes import alert_findings
from daemon.commands.container_probes import container_findings
from daemon.commands.control_probes import control_findings
from daemon.commands.hook_probes import hook_findings
from daemon.commands.learning_probes import learning_findings
from daemon.commands.options import add_settings, given
from daemon.commands.probes import (
    Finding,
    event_findings,
    fine,
    folder_findings,
    is_folder,
    limit_findings,
    nearest_folder,
    note,
    probe_file,
    silent,
    unwritable,
    with_advice,
    wrong,
)
from daemon.commands.review_probes import review_findings
from daemon.commands.rule_probes import is_first_start, output_findings, rule_findings, unknown_rule_findings
from daemon.config import Settings, watches_inside
from daemon.files.answers import NoAnswer, answers, in_time, silent_mounts
from daemon.monitoring.logs import start_logging
from daemon.monitoring.messages import shown
from daemon.reloading.reloader import Reloader
from daemon.state import state_folder
from daemon.watching.skipped import survey
from models.allowed import INSTALL_IT, allow_plugins, missing_plugins
from models.errors import UserError
from models.files.image_names import reads_raw
from models.text.commandline import Parser, print_json
from models.text.language import mark, tr, trn
from models.text.printable import columns, padded
from models.weights.store import WeightsStore

EXIT_WRONG = 3

#: What systemd may say of the unit at most; a GPU, or a port for the metrics, costs a little.
_EXPOSURE, _EXPOSURE_OPEN = 0.5, 1.5
_ANALYZE_SECONDS = 60.0
_OLDEST_PILLOW = 13


def main(arguments: list[str]) -> int:
    """Print the findings; returns the exit code: 0 when nothing is wrong, else 3."""
    parser = Parser(
        prog="python -m daemon doctor",
        description=tr(
            "Check the folders, limits, weights, checkpoint, decoders and unit. Run it as the "
            "daemon's user. Exit code 3: something is wrong."
        ),
    )
    parser.add_argument("--json", action="store_true", help=tr("print JSON"))
    add_settings(parser)
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    flags, file = given(options)
    start_logging("WARNING", as_json=False)
    findings = []
    for finding in _findings(flags, file):
        findings.append(finding)
        if not as_json:
            print(as_text(finding), flush=True)
    count = sum(finding.state == "wrong" for finding in findings)
    if as_json:
        print_json({"wrong": count, "findings": [asdict(finding) for finding in findings]})
    else:
        print(trn("{count} thing to fix", "{count} things to fix", count) if count else tr("nothing is wrong"))
    return EXIT_WRONG if count else 0


def _findings(flags: Mapping[str, object], file: Path | None) -> Iterator[Finding]:
    def load() -> Settings:
        settings = config.load(flags, file)
        config.check_together(settings)
        return settings

    try:
        settings = in_time(load)  # links in the paths of the settings are followed
    except NoAnswer:
        for mount in silent_mounts():
            yield silent("mounts", mount)
        yield wrong(
            "settings",
            tr("one of the folders in the settings does not answer: nothing more can be looked at"),
            tr("fix that, and run this again"),
        )
        return
    yield from examine(settings, flags, config.used_file(file))


#: What the subjects are called for people; those that are names of settings are called so in every language.
_SUBJECTS = {
    "inbox": mark("inbox"),
    "events": mark("events"),
    "limits": mark("limits"),
    "mounts": mark("mounts"),
    "settings": mark("settings"),
    "output": mark("output"),
    "class": mark("class"),
    "state": mark("state"),
    "cache": mark("cache"),
    "plug-in": mark("plug-in"),
    "checkpoint": mark("checkpoint"),
    "weights": mark("weights"),
    "decoders": mark("decoders"),
    "container": mark("container"),
    "control": mark("control"),
    "learning": mark("learning"),
    "review": mark("review"),
    "alerts": mark("alerts"),
    "unit": mark("unit"),
}


def as_text(finding: Finding) -> str:
    """Describe one finding for people; the advice is on a line of its own."""
    signs = {"fine": tr("ok"), "note": tr("note"), "wrong": tr("WRONG")}
    width = max(map(columns, signs.values()))
    subject = _SUBJECTS.get(finding.subject, finding.subject)
    text = f"{padded(signs[finding.state], width)} {tr(subject)}: {shown(finding.text)}"
    return text if not finding.advice else f"{text}\n      -> {shown(finding.advice)}"


def examine(settings: Settings, flags: Mapping[str, object], file: Path | None) -> Iterator[Finding]:
    """Check everything about a daemon with these settings."""
    allow_plugins(settings.plugins)
    folders = dict.fromkeys([*settings.watch, *settings.outputs])
    unanswered = {folder for folder in folders if not answers(folder)}
    for inbox in settings.watch:
        if inbox in unanswered:
            yield silent("inbox", inbox)
            continue
        yield from folder_findings("inbox", inbox, links=settings.class_rules.links, is_made=is_first_start(settings))
        if is_folder(inbox):
            yield from event_findings(inbox, poll=settings.poll)
            if settings.output not in unanswered:
                yield from _same_file_system(inbox, settings)
            if not unanswered:  # it looks where the others lie
                yield from _name_findings(inbox, settings)
    yield from container_findings(settings)
    yield from limit_findings(
        [inbox for inbox in settings.watch if inbox not in unanswered], recursive=watches_inside(settings)
    )
    if settings.output in unanswered:
        yield silent("output", settings.output)
    else:
        yield from output_findings(settings)
    yield from rule_findings(settings, unanswered)
    yield from own_folder_findings("state", state_folder(settings.state_dir))
    yield from own_folder_findings("cache", WeightsStore(settings.cache_dir).root)
    yield from plugin_findings(settings)
    yield from model_findings(settings)
    yield from decoder_findings()
    yield from hook_findings(settings)
    yield from alert_findings(settings, file)
    yield from control_findings(settings)
    yield from learning_findings(settings)
    yield from review_findings(settings)
    yield from unit_findings(settings, flags, file)


def _same_file_system(inbox: Path, settings: Settings) -> Iterator[Finding]:
    if is_folder(settings.output) and inbox.stat().st_dev != settings.output.stat().st_dev:
        text = tr(
            "{inbox} and {output} are on two file systems: each image is copied, flushed, and then removed",
            inbox=inbox,
            output=settings.output,
        )
        yield note("inbox", text, tr("on one file system it would be a rename"))


def _name_findings(inbox: Path, settings: Settings) -> Iterator[Finding]:
    passed = survey(
        inbox,
        recursive=watches_inside(settings),
        excluded=[*settings.outputs, *settings.watch],
        outputs=settings.outputs,
        cross_mounts=settings.cross_mounts,
    )
    for sentence in passed.not_entered:
        yield wrong("inbox", *with_advice(sentence))
    if passed.leftovers.pictures:
        yield note("inbox", f"{inbox}: {passed.leftovers}")
    if passed.count:
        advice = tr("give those that are images an ending such as .jpg, or move them away")
        yield note("inbox", str(passed), advice)
    if passed.raw_files:
        yield note("inbox", passed.about_raw_files)


def own_folder_findings(subject: str, folder: Path) -> Iterator[Finding]:
    """Check that a folder that the daemon keeps for itself can be written, or made."""
    place = folder
    try:
        place = nearest_folder(folder)
        with probe_file(place):
            pass
    except OSError as error:
        advice = tr("fix that, or give another folder with --{subject}-dir", subject=subject)
        yield wrong(subject, unwritable(folder, error), advice)
    else:
        is_there = place == folder
        text = tr("{folder} can be written", folder=folder) if is_there else tr("{folder} can be made", folder=folder)
        yield fine(subject, text)


def plugin_findings(settings: Settings) -> Iterator[Finding]:
    """Check that the plug-ins that are allowed are installed."""
    missing = missing_plugins()
    for name in settings.plugins:
        if name in missing:
            yield wrong("plug-in", tr("{name} is allowed but not installed", name=name), tr(INSTALL_IT))
        else:
            yield fine("plug-in", tr("{name} is installed", name=name))


def model_findings(settings: Settings) -> Iterator[Finding]:
    """Check that the checkpoint and its weights are here, and compute what they did when it was made."""
    try:
        classifier = Reloader.from_settings(settings, WeightsStore(settings.cache_dir)).first()
    except UserError as error:
        yield wrong("checkpoint", str(error), tr("fix that, or publish another: python -m trainer list"))
        return
    metadata = classifier.metadata
    parts = ", ".join(part.name for part in metadata.parts)
    if metadata.settings.get("starter"):
        place = shlex.quote(str(settings.checkpoint))
        advice = tr("python -m trainer fit --data-dir DIR --output-dir {place} learns folders of your own", place=place)
        text = tr("nothing is published in {checkpoint}: the starter model is in use", checkpoint=settings.checkpoint)
        yield note("checkpoint", text, advice)
    else:
        text = tr(
            "{digest}, {count} classes, is intact and computes what it should",
            digest=classifier.digest[:12],
            count=len(metadata.classes),
        )
        yield fine("checkpoint", text)
    yield from unknown_rule_findings(settings, metadata.classes)
    yield fine("weights", tr("those of {parts} are here", parts=parts))


def decoder_findings() -> Iterator[Finding]:
    """Check that every format can be read, by a Pillow without known holes."""
    if int(PIL.__version__.split(".")[0]) < _OLDEST_PILLOW:
        advice = f"pip install 'pillow>={_OLDEST_PILLOW}'"
        text = tr("Pillow {version} can be broken into by a JPEG file", version=PIL.__version__)
        yield wrong("decoders", text, advice)
    missing = [kind for kind, name in _DECODERS.items() if not features.check(name)]
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        missing.append("HEIC")
    if missing:
        advice = "pip install --force-reinstall pillow pillow-heif"
        text = tr("no decoder reads {kinds}: such files go to the quarantine", kinds=", ".join(missing))
        yield wrong("decoders", text, advice)
    else:
        kinds = ", ".join(_DECODERS)
        text = tr("Pillow {version} reads {kinds}; pillow-heif reads HEIC", version=PIL.__version__, kinds=kinds)
        yield fine("decoders", text)
    if reads_raw():
        yield fine("decoders", tr("rawpy reads raw files of cameras"))


#: Pillow's word for what reads a format; GIF and BMP need nothing.
_DECODERS = {"JPEG": "jpg", "PNG": "zlib", "WebP": "webp", "TIFF": "libtiff", "AVIF": "avif"}


def unit_findings(settings: Settings, flags: Mapping[str, object], file: Path | None) -> Iterator[Finding]:
    """Ask systemd's own tools about the installed unit, or about the one that would be installed."""
    yield from _outdated_units(settings, flags, file)
    if shutil.which("systemd-analyze") is None:
        yield note("unit", tr("systemd-analyze is not here: the unit was not looked at"))
        return
    installed = unit.SYSTEM_FOLDER / unit.NAME
    with tempfile.TemporaryDirectory() as folder:
        path = installed
        if not installed.is_file():
            text = unit.render(settings, flags, file, user=False, run_as="imagesortd")
            path = unit.write(text, Path(folder))
        is_installed = path == installed
        which = tr("the installed {unit}", unit=installed) if is_installed else tr("the unit for these settings")
        verified = _analyze("verify", str(path))
        if verified is None or verified.returncode:
            complaint = "" if verified is None else verified.stderr.strip().partition("\n")[0]
            text = tr("systemd-analyze verify does not accept {which}: {complaint}", which=which, complaint=complaint)
            yield note("unit", text)
        is_open = not unit.has_no_network(path.read_text(encoding="utf-8", errors="replace"))
        score = exposure(path)
    most = _EXPOSURE_OPEN if is_open or settings.device == "cuda" or settings.metrics_listen else _EXPOSURE
    if score is None:
        yield note("unit", tr("systemd-analyze gives no score for {which}", which=which))
    elif score > most:
        text = tr("{which} is exposed: {score} of 10", which=which, score=score)
        yield wrong("unit", text, tr("python -m daemon unit --install writes it anew"))
    else:
        yield fine("unit", tr("{which} is well confined: exposure {score} of 10", which=which, score=score))


def _outdated_units(settings: Settings, flags: Mapping[str, object], file: Path | None) -> Iterator[Finding]:
    """Find installed units, the machine's and the user's, that lack what `unit` would write now."""
    folders = {False: unit.SYSTEM_FOLDER}
    with suppress(UserError):  # no home folder
        folders[True] = unit.user_folder()
    for user, folder in folders.items():
        try:
            text = (folder / unit.NAME).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        network = not user and not unit.has_no_network(text)
        rendered = unit.render(settings, flags, file, user=user, run_as=unit.DEFAULT_USER, network=network)
        if lacking := unit.missing(text, rendered):
            yield wrong(
                "unit",
                tr(
                    "{unit} was written by an earlier version, or changed: it lacks {names}",
                    unit=folder / unit.NAME,
                    names=", ".join(lacking),
                ),
                tr("write it again with the options that it was made with: python -m daemon unit --install --user")
                if user
                else tr("write it again with the options that it was made with: python -m daemon unit --install"),
            )


def exposure(path: Path) -> float | None:
    """Return systemd's score for a unit file, 0 (good) to 10; None when it gives none."""
    done = _analyze("security", "--offline=true", "--threshold=100", str(path))
    lines = [] if done is None else [line for line in done.stdout.splitlines() if "Overall exposure level" in line]
    return float(lines[0].split(": ")[1].split()[0]) if lines else None


def _analyze(*words: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            ["systemd-analyze", *words], capture_output=True, text=True, timeout=_ANALYZE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
