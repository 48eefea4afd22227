"""What a fit says while it runs: plain sentences and small tables on standard output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.invocation import spelled
from models.runtime import FeatureExtractor
from trainer.audit import Finding, sentences
from trainer.choose import Choice
from trainer.compare import Verdict
from trainer.data import DataSet, Folders, shown
from trainer.features import Extracted
from trainer.folds import NEVER
from trainer.heads import Epoch
from trainer.measure import Filing, Measured
from trainer.report import class_table
from trainer.thresholds import Thresholds

#: Longer lists are cut: the run folder has all of it.
_LISTED = 10
_TABLE = 30
#: Classes whose sizes differ by more than this factor are mentioned.
_UNEQUAL = 2
#: Of a class with fewer judged images nobody knows how well it is recognised.
_FEW = 5


def say(topic: str, text: str) -> None:
    """One line of the story; an empty topic goes on with the one before."""
    print(f"{topic:<11}{text}", flush=True)


def begin(folders: Folders, extractor: FeatureExtractor) -> None:
    """What there is to work on, and with."""
    sizes = Counter(file.label for file in folders.files)
    shown_sizes = [f"{label} {size}" for label, size in sorted(sizes.items())]
    say("images", f"{len(folders.files)} in {len(sizes)} classes of {shown(folders.root)}: {_list(shown_sizes, ', ')}")
    if folders.empty:
        say("", f"warning: no images in {_list(list(folders.empty), ', ')}: left out")
    if folders.beside:
        say("", f"warning: {folders.beside} images lie beside the class folders: left out, since they have no class")
    if folders.nested:
        say("", f"{folders.nested} of them lie in folders inside a class folder, and belong to that class")
    if folders.hidden:
        say("", f"{folders.hidden} hidden files and folders are left alone")
    if folders.leftovers.pictures:
        say("", str(folders.leftovers))
    if folders.not_classes:
        say("", f"{_list(list(folders.not_classes), ', ')}: left out, for what the daemon files there is of no class")
    names = [f"{part.name} ({part.source})" for part in extractor.parts]
    say("backbone", f"{' + '.join(names)}, {extractor.width} features, by {extractor.engine}")


def resumption(*, found: bool) -> None:
    """Whether there is something to go on with."""
    if found:
        say("resume", "goes on with the fit that was interrupted: what it computed of the images is known")
    else:
        say("resume", "no such fit was interrupted, so this one begins afresh")


def _list(items: list[str], separator: str) -> str:
    more = f"{separator}and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return separator.join(items[:_LISTED]) + more


def images(found: DataSet, extracted: Extracted, findings: Sequence[Finding], parted: int) -> None:
    """What could be read, what is odd about it, and how it is divided.

    ``parted``: how many images are judged by others that look nearly like them (see `trainer.neighbours`).
    """
    known, seconds = extracted.cached, extracted.seconds
    say("features", f"of {len(found.samples)} images in {seconds:.1f} s, {known} of them known from before")
    for number, sentence in enumerate(sentences(findings)):
        say("" if number else "audit", sentence)
    if gone := sorted({lost.label for lost in found.unreadable} - set(found.classes)):
        say("", f"warning: {_list(gone, ', ')}: no image can be read, so it is none of the classes")
    division(found)
    if parted:
        say(
            "", f"warning: {parted} images look nearly alike, as those of a camera that stands still or of one form do:"
        )
        say("", "they judge each other, so the figures hold for more pictures of the same camera or form")


def division(found: DataSet) -> None:
    """Who judges whom, and which classes may come off badly."""
    folds, judged = len({*found.folds.tolist()} - {NEVER}), int((found.folds != NEVER).sum())
    if judged:
        say("folds", f"{folds}: each of {judged} images is judged by heads that were fitted on the other folds")
    else:
        say("folds", "none: no class has two different pictures, so no image can be held out")
    alone = sorted(set(range(len(found.classes))) - set(found.labels[found.folds != NEVER].tolist()))
    if alone:
        names = _list([found.classes[label] for label in alone], ", ")
        say("", f"warning: {names}: one picture only, so nothing tells how well this class is recognised")
    sizes = np.bincount(found.labels, minlength=len(found.classes))
    if alike := int(((found.folds == NEVER) & (sizes[found.labels] > 1)).sum()):
        say("", f"warning: {alike} images look nearly alike, as those of a camera that stands still do, or are copies:")
        say("", "they cannot be held out of anything, so the figures tell nothing of them")
    if sizes.max() > _UNEQUAL * sizes.min():
        say("", f"the classes have {sizes.min()} to {sizes.max()} images; heads are fitted as if each had as many")


def epoch(done: Epoch, total: int) -> None:
    """One line for each epoch."""
    if done.number == 1:
        say("epochs", "of one of the heads that are tried, or of fine-tuning; one fold judges them, so figures differ")
    say(
        "",
        f"epoch {done.number:>{len(str(total))}}/{total}  loss {done.train_loss:.3f}  "
        f"held out: loss {done.held_out_loss:.3f}, accuracy {done.held_out_accuracy:.3f}  ({done.seconds:.1f} s)",
    )


def choice(made: Choice, count: int) -> None:
    """The table of candidates and the choice."""
    if made.candidates:
        width = max(len(candidate.name) for candidate in made.candidates)
        several = any(candidate.refolded is not None for candidate in made.candidates)
        say("head", f"{'':{width}}  out-of-fold loss  accuracy  temperature{'  all ways to fold' if several else ''}")
        for candidate in made.candidates:
            figures = f"{candidate.loss:16.4f}  {candidate.accuracy:8.3f}  {candidate.temperature:11.2f}"
            refolded = "" if candidate.refolded is None else f"{candidate.refolded:.4f}"
            mark = "  <- taken" if candidate.name == made.winner else ""
            say("", f"{candidate.name:{width}}  {figures}{f'  {refolded:>16}' if several else ''}{mark}".rstrip())
    say("" if made.candidates else "head", f"{made.winner} is taken: {made.reason}; fitted again on all {count} images")


def fine_tuning(kept: bool, before: Measured, after: Measured) -> None:
    """Whether fine-tuning was worth it."""
    figures = [
        f"accuracy {measured.figures()['accuracy']:.3f}, loss {measured.losses.mean():.3f}"
        for measured in (before, after)
    ]
    verdict = "kept: clearly better" if kept else "not kept: not better by more than chance"
    say("fine-tune", f"{verdict} on the held-out images ({figures[0]} before, {figures[1]} after)")
    if kept:
        say("", "these images chose the epoch too, so the figures below, which are of them alone, flatter it a little")


def result(measured: Measured, thresholds: Thresholds, filing: Filing, run: Path) -> None:
    """The closing table, and where everything is."""
    figures = measured.figures()
    if figures:
        if len(measured.concerned) <= _TABLE:
            print(f"\n{class_table(measured)}")
        say(
            "held out",
            f"accuracy {figures['accuracy']:.3f}, log-loss {figures['log_loss']:.3f}, "
            f"calibration error {figures['calibration_error']:.3f} on {int(figures['images'])} images",
        )
    else:
        say("held out", "nothing, so how right this checkpoint is nobody knows: give more images")
    if measured.is_guessing:
        right, count = int(measured.right.sum()), len(measured.labels)
        say(
            "",
            f"warning: {right} of {count} are right, and guessing has {measured.guessing()[0]:.1f} right on average:",
        )
        say(
            "", "nothing shows that it tells the classes apart; look at the folders of the classes, or give more images"
        )
    for warning in unrecognised(measured):
        say("", warning)
    for at, sentence in enumerate(thresholds.sentences(filing)):
        say("" if at else "threshold", sentence)
    names = sorted(path.name for path in run.iterdir())
    say("written", f"{shown(run)}: {', '.join(names)}")


def leaving(sentences: Sequence[str]) -> None:
    """What goes when this is published, before it is."""
    for at, sentence in enumerate(sentences):
        say("" if at else "publishing", sentence)


def unrecognised(measured: Measured) -> list[str]:
    """A warning for each class of whose judged images none is recognised, or of which there are too few to tell."""
    images = np.bincount(measured.labels, minlength=len(measured.classes))
    right = np.bincount(measured.labels[measured.right], minlength=len(measured.classes))
    warnings = []
    for name, count, hits in zip(measured.classes, images.tolist(), right.tolist(), strict=True):
        if count and not hits:
            what = "its only picture is not" if count == 1 else f"none of its {count} pictures is"
            warnings.append(f"warning: {name}: {what} recognised: give this class more pictures, or look at its folder")
        elif 1 < count < _FEW:
            warnings.append(
                f"warning: {name}: only {count} pictures tell how well this class is recognised: give it more"
            )
    return warnings


def verdict(given: Verdict, run: Path, warnings: Sequence[str] = ()) -> None:
    """What happens next, and what to know about it."""
    if given.publish:
        say("published", given.why)
        say("", f"a daemon that serves {shown(run.parent)} goes over to it by itself, without a restart")
        for warning in warnings:
            say("", warning)
    else:
        say("kept back", f"not published: {given.why}")
        command = spelled("python -m trainer publish")
        say("", f"the daemon goes on as before; to use it all the same: {command} {shown(run)}")
