"""Tell the user what a fit has to go by: plain sentences on its images, labels and folds, on standard output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.inference.runtime import FeatureExtractor
from models.text.language import tr, trn
from trainer.data.audit import ImageFinding, sentences
from trainer.data.dataset import ClassFolders, DataSet, shown
from trainer.data.features import Extracted
from trainer.data.folds import NEVER
from trainer.data.tagged import TagCounts
from trainer.learning.joined import Joined, joined_sentences
from trainer.tables import listed, say

#: Longer lists are cut; the run folder has them whole.
_LISTED = 10
#: Classes whose sizes differ by more than this factor are mentioned.
_UNEQUAL = 2


def begin(folders: ClassFolders, extractor: FeatureExtractor, *, verbose: bool) -> None:
    """Report the images of the data set, if any, and the backbones of the fit."""
    if folders.files:
        _data_set(folders)
    if not verbose:
        say(tr("backbone"), " + ".join(part.name for part in extractor.parts))
        return
    text = tr(
        "{names}, {width} features, by {engine}",
        names=" + ".join(f"{part.name} ({part.source})" for part in extractor.parts),
        width=extractor.width,
        engine=extractor.engine,
    )
    say(tr("backbone"), text)


def _data_set(folders: ClassFolders) -> None:
    sizes = Counter(file.label for file in folders.files)
    shown_sizes = [f"{label} {size}" for label, size in sorted(sizes.items())]
    say(
        tr("images"),
        tr(
            "{count} in {classes} classes of {root}: {sizes}",
            count=len(folders.files),
            classes=len(sizes),
            root=shown(folders.root),
            sizes=listed(shown_sizes, _LISTED),
        ),
    )
    if folders.empty:
        say("", tr("warning: no images in {names}: left out", names=listed(folders.empty, _LISTED)))
    if folders.beside:
        text = trn(
            "warning: {count} image lies beside the class folders: left out, since it has no class",
            "warning: {count} images lie beside the class folders: left out, since they have no class",
            folders.beside,
        )
        say("", text)
    if folders.coarse:
        text = trn(
            "warning: {count} image lies directly in a folder that holds folders of classes ({names}): left out, since "
            "it may be of any of these",
            "warning: {count} images lie directly in folders that hold folders of classes ({names}): left out, since "
            "they may be of any of these",
            len(folders.coarse),
            names=listed(folders.coarse_folders, _LISTED),
        )
        say("", text)
    if folders.nested:
        text = trn(
            "{count} of them lies in a folder inside a class folder, and belongs to that class",
            "{count} of them lie in folders inside a class folder, and belong to that class",
            folders.nested,
        )
        say("", text)
    if folders.holds_only_folders:
        say("", tr("the class folders hold nothing but folders: --nested takes each of these for a class of its own"))
    if folders.hidden:
        text = trn(
            "{count} hidden file or folder is left alone",
            "{count} hidden files and folders are left alone",
            folders.hidden,
        )
        say("", text)
    if folders.leftovers.pictures:
        say("", str(folders.leftovers))
    if folders.bins:
        names = listed(folders.bins, _LISTED)
        say(
            "",
            tr(
                "{names}: learned as classes; if these are recycle bins, move them out of {root}",
                names=names,
                root=folders.root,
            ),
        )
    if folders.not_classes:
        names = listed(folders.not_classes, _LISTED)
        say("", tr("{names}: left out, for what the daemon files there is of no class", names=names))


def tags(counts: TagCounts) -> None:
    """Say which images have no class because of their tags."""
    if counts.without or counts.several:
        text = tr(
            "images without a class by their tags: {without} have none, {several} have several",
            without=counts.without,
            several=counts.several,
        )
        say(tr("tags"), text)
    if counts.unreadable:
        say("", tr("warning: XMP that cannot be read: {count}", count=counts.unreadable))


def no_unlabelled(folders: Sequence[Path]) -> None:
    """Warn of folders of unlabelled images that have none."""
    if folders:
        names = [shown(str(folder)) for folder in folders]
        say(tr("unlabelled"), tr("warning: no image in {names}", names=listed(names, _LISTED)))


def resumption(*, resumes: bool) -> None:
    """Report whether the fit resumes an interrupted one."""
    if resumes:
        say(tr("resume"), tr("resumes the interrupted fit: the features it computed are in the cache"))
    else:
        say(tr("resume"), tr("no such fit was interrupted, so this one starts from the beginning"))


def joined(labels: Joined) -> None:
    """Report what people said of the images."""
    for number, sentence in enumerate(joined_sentences(labels)):
        say("" if number else tr("labels"), sentence)


def images(
    data_set: DataSet, extracted: Extracted, findings: Sequence[ImageFinding], parted: int, *, verbose: bool = False
) -> None:
    """Report the features, the findings of the audit, and the folds.

    ``parted`` counts images judged by heads that were fitted on similar ones (see `trainer.data.neighbours`).
    """
    text = tr(
        "of {count} images in {seconds:.1f} s, those of {known} from the cache",
        count=len(data_set.samples),
        seconds=extracted.seconds,
        known=extracted.cached,
    )
    say(tr("features"), text)
    for number, sentence in enumerate(sentences(findings)):
        say("" if number else tr("audit"), sentence)
    if unreadable := sorted({image.label for image in data_set.unreadable} - set(data_set.classes)):
        names = listed(unreadable, _LISTED)
        say("", tr("warning: {names}: no image can be read, so it is none of the classes", names=names))
    division(data_set, verbose=verbose)
    if parted:
        text = tr(
            "warning: {count} images look nearly alike, as those of a camera that stands still or of one form do:",
            count=parted,
        )
        say("", text)
        say("", tr("they judge each other, so the figures hold only for more images of the same camera or form"))


def division(data_set: DataSet, *, verbose: bool) -> None:
    """Report the folds, where wanted or where there are none, and the classes that cannot be judged well."""
    folds, judged = len({*data_set.folds.tolist()} - {NEVER}), int((data_set.folds != NEVER).sum())
    if judged and verbose:
        text = tr(
            "{folds}: each of {judged} images is judged by heads that were fitted on the other folds",
            folds=folds,
            judged=judged,
        )
        say(tr("folds"), text)
    elif not judged:
        say(tr("folds"), tr("none: no class has two different images, so no image can be held out"))
    unjudged = sorted(set(range(len(data_set.classes))) - set(data_set.labels[data_set.folds != NEVER].tolist()))
    if unjudged:
        names = listed([data_set.classes[label] for label in unjudged], _LISTED)
        text = tr("warning: {names}: one image only, so nothing tells how well this class is recognised", names=names)
        say("", text)
    sizes = np.bincount(data_set.labels, minlength=len(data_set.classes))
    if similar := int(((data_set.folds == NEVER) & (sizes[data_set.labels] > 1)).sum()):
        text = tr(
            "warning: {count} images look nearly alike, as those of a camera that stands still do, or are copies:",
            count=similar,
        )
        say("", text)
        say("", tr("they cannot be held out of anything, so the figures tell nothing of them"))
    if verbose and sizes.max() > _UNEQUAL * sizes.min():
        text = tr(
            "the classes have {least} to {most} images; heads are fitted as if all had equally many",
            least=sizes.min(),
            most=sizes.max(),
        )
        say("", text)
