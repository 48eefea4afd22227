"""Check what ``doctor`` says of outputs, layouts and the rules of classes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from daemon.commands.probes import Finding, fine, folder_findings, note, silent, with_advice, wrong
from daemon.config import Settings
from daemon.files.output_marks import OutputMarks
from daemon.filing.folder_layout import FolderLayout
from daemon.monitoring.announcements import describe_bursts, describe_duplicates
from daemon.monitoring.messages import shown
from daemon.state import find_journal, journal_of
from models.files.leftovers import is_leftover
from models.text.language import tr

_TO_FILE = os.W_OK | os.X_OK
_MOST_NAMED = 3


def _marks(settings: Settings) -> OutputMarks:
    """Return the marks as the daemon knows them, which may have another user's state folder, as the unit has."""
    return OutputMarks(settings.outputs, journal_of(settings.state_dir, settings.output).parent)


def is_first_start(settings: Settings) -> bool:
    """Whether no daemon has filed into the output yet, as far as this user can see."""
    return find_journal(settings.state_dir, settings.output) is None


def output_findings(settings: Settings) -> Iterator[Finding]:
    """Check that the output can be filed into, and is the one that images were filed into before."""
    if (away := _marks(settings).why_away()) is None:
        yield from folder_findings("output", settings.output, is_made=is_first_start(settings))
        yield from _class_folder_findings("output", settings.output)
        yield from _layout_findings("output", settings.layout, "dog", settings)
        if duplicates := describe_duplicates(settings):
            yield fine("output", duplicates)
        if bursts := describe_bursts(settings):
            yield fine("output", bursts)
    else:
        yield wrong("output", *with_advice(away))


def rule_findings(settings: Settings, unanswered: AbstractSet[Path]) -> Iterator[Finding]:
    """Check the outputs and layouts that rules of classes name."""
    other_outputs = settings.outputs[1:]
    yield from (silent("class", output) for output in other_outputs if output in unanswered)
    if not unanswered.isdisjoint(other_outputs):
        return  # a look at the others might not come back either
    for output, away in _marks(settings).other_outputs().items():
        if away is None:
            yield from folder_findings("class", output, is_made=is_first_start(settings))
            yield from _class_folder_findings("class", output)
        else:
            yield wrong("class", *with_advice(away))
    layouts = {rule.layout: name for name, rule in reversed(settings.rules.items()) if rule.layout is not None}
    for layout, name in layouts.items():
        yield from _layout_findings("class", layout, name, settings)


def unknown_rule_findings(settings: Settings, classes: Sequence[str]) -> Iterator[Finding]:
    """Note rules of classes that the model does not have."""
    for name, nearest in settings.class_rules.unknown(classes):
        if name in settings.other_folders:
            text = tr("the rule of '{name}' does nothing: that is the folder of other images, and no class", name=name)
            yield note("class", text)
            continue
        text = tr("the rule of the class '{name}' does nothing: the model has no such class", name=shown(name))
        yield note("class", text, "" if nearest is None else tr("did you mean '{near}'?", near=nearest))


def _class_folder_findings(subject: str, output: Path) -> Iterator[Finding]:
    """Name the folders in an output that cannot be written: what is to go there stays in the inbox."""
    try:
        names = sorted(entry.name for entry in os.scandir(output) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return  # said of the output itself
    closed = [output / name for name in names if not is_leftover(name) and not os.access(output / name, _TO_FILE)]
    for folder in closed[:_MOST_NAMED]:
        text = tr("{folder} cannot be written: images that belong there stay in the inbox", folder=folder)
        advice = tr("give it to the daemon's user: chown USER {folder}", folder=shlex.quote(str(folder)))
        yield wrong(subject, text, advice)


def _layout_findings(subject: str, template: str, label: str, settings: Settings) -> Iterator[Finding]:
    layout = FolderLayout(template, settings.watch)
    if not layout.layout.is_flat:
        example = shown(layout.example(label, settings.watch[0] / "IMG_0001.jpg"))
        yield fine(subject, tr("by the layout, an image that was taken now would go to {example}", example=example))
    if (stray := layout.layout.stray_description) is not None:
        text = tr(
            "in the layout {layout}, {letters} is no time, but a part of the name", layout=template, letters=stray
        )
        field = f"{{taken:{stray}}}"
        yield note(subject, text, tr("to have the time when an image was taken, write {field}", field=field))
    if layout.layout.has_folder_a_picture:
        text = tr("the layout {layout} makes a folder for each image, and the daemon watches each", layout=template)
        yield note(subject, text, tr("with many images, leave {field} out", field="{stem}"))
