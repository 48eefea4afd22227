"""Tell the user how a fit goes: plain sentences and small tables on standard output."""

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
from trainer.heads.choice import Choice
from trainer.heads.linear import Epoch
from trainer.learning.joined import Joined, joined_sentences
from trainer.measuring.against_published import Verdict
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.thresholds import Thresholds
from trainer.reports.report import class_table
from trainer.tables import listed, padded, table

#: Longer lists are cut, and a longer table is left out; the run folder has them whole.
_LISTED = 10
_TABLE = 30
#: Classes whose sizes differ by more than this factor are mentioned.
_UNEQUAL = 2
#: With fewer judged images of a class, its accuracy is not known well enough.
_FEW = 5


def say(topic: str, text: str) -> None:
    """Print one line; an empty topic continues the one before."""
    print(padded(topic, 11) + text, flush=True)


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
        say("", tr("they judge each other, so the figures hold only for more pictures of the same camera or form"))


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
        say(tr("folds"), tr("none: no class has two different pictures, so no image can be held out"))
    unjudged = sorted(set(range(len(data_set.classes))) - set(data_set.labels[data_set.folds != NEVER].tolist()))
    if unjudged:
        names = listed([data_set.classes[label] for label in unjudged], _LISTED)
        text = tr("warning: {names}: one picture only, so nothing tells how well this class is recognised", names=names)
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


def epoch(done: Epoch, total: int, what: str) -> None:
    """Print a line for an epoch; before the first, one that says ``what`` the epochs are of."""
    if done.number == 1:
        say(tr("epochs"), what)
    text = tr(
        "epoch {number}/{total}  loss {loss:.3f}  "
        "held out: loss {held_out_loss:.3f}, accuracy {accuracy:.3f}  ({seconds:.1f} s)",
        number=f"{done.number:>{len(str(total))}}",
        total=total,
        loss=done.train_loss,
        held_out_loss=done.held_out_loss,
        accuracy=done.held_out_accuracy,
        seconds=done.seconds,
    )
    say("", text)


def choice(chosen: Choice, count: int, *, verbose: bool) -> None:
    """Report the chosen head; with ``verbose`` all candidates and the reason."""
    if verbose:
        for number, line in enumerate(comparison(chosen, count)):
            say("" if number else tr("head"), line)
    else:
        say(tr("head"), tr("{name}, chosen among {count}", name=chosen.label, count=max(1, len(chosen.candidates))))


def comparison(chosen: Choice, count: int) -> list[str]:
    """Return the table of candidates and why one was chosen, as lines for the report and for ``--verbose``."""
    text = tr(
        "{name} is taken: {reason}; the head that is served is this one fitted once more, on all {count} images",
        name=chosen.label,
        reason=chosen.reason,
        count=count,
    )
    return [*_candidates(chosen).splitlines(), text]


def _candidates(chosen: Choice) -> str:
    if not chosen.candidates:
        return ""
    has_refolded = any(candidate.refolded_loss is not None for candidate in chosen.candidates)
    header = ["", tr("out-of-fold loss"), tr("accuracy"), tr("temperature")]
    rows = [[*header, *([tr("all ways to fold")] if has_refolded else []), ""]]
    for candidate in chosen.candidates:
        figures = [f"{candidate.loss:.4f}", f"{candidate.accuracy:.3f}", f"{candidate.temperature:.2f}"]
        if has_refolded:
            figures.append("" if candidate.refolded_loss is None else f"{candidate.refolded_loss:.4f}")
        rows.append([candidate.label, *figures, tr("<- taken") if candidate.name == chosen.winner else ""])
    return table(rows)


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


def unlabelled(sentences: Sequence[str]) -> None:
    """Report what unlabelled images brought."""
    for number, sentence in enumerate(sentences):
        say("" if number else tr("unlabelled"), sentence)


def fine_tuning(is_kept: bool, before: LabelledPredictions, after: LabelledPredictions) -> None:
    """Report whether the fine-tuned backbones are kept."""
    values = {
        "accuracy_before": before.figures()["accuracy"],
        "loss_before": before.losses.mean(),
        "accuracy_after": after.figures()["accuracy"],
        "loss_after": after.losses.mean(),
    }
    if not is_kept:
        text = tr(
            "not kept: not better by more than chance on the held-out images "
            "(accuracy {accuracy_before:.3f}, loss {loss_before:.3f} before, "
            "accuracy {accuracy_after:.3f}, loss {loss_after:.3f} after)",
            **values,
        )
        say(tr("fine-tune"), text)
        return
    text = tr(
        "kept: clearly better on the held-out images "
        "(accuracy {accuracy_before:.3f}, loss {loss_before:.3f} before, "
        "accuracy {accuracy_after:.3f}, loss {loss_after:.3f} after)",
        **values,
    )
    say(tr("fine-tune"), text)
    say("", tr("these images chose the epoch too, so the figures below, which are of them alone, flatter it a little"))


def result(predictions: LabelledPredictions, thresholds: Thresholds, run: Path, *, verbose: bool) -> None:
    """Report the accuracy, what the daemon would do with the checkpoint, and where the run folder is."""
    figures = predictions.figures()
    if figures and not verbose:
        text = tr(
            "{right} of {count} images are classified right by models that had not seen them ({share:.1%})",
            right=int(predictions.right.sum()),
            count=len(predictions.labels),
            share=figures["accuracy"],
        )
        say(tr("result"), text)
    elif figures:
        if len(predictions.occurring_classes) <= _TABLE:
            print(f"\n{class_table(predictions)}")
        text = tr(
            "accuracy {accuracy:.3f}, log-loss {loss:.3f}, calibration error {error:.3f} on {count} images",
            accuracy=figures["accuracy"],
            loss=figures["log_loss"],
            error=figures["calibration_error"],
            count=int(figures["images"]),
        )
        say(tr("held out"), text)
    else:
        say(tr("held out"), tr("nothing, so the accuracy of this checkpoint is unknown: give more images"))
    if predictions.is_no_better_than_chance:
        text = tr(
            "warning: {right} of {count} are right, and guessing has {guessed:.1f} right on average:",
            right=int(predictions.right.sum()),
            count=len(predictions.labels),
            guessed=predictions.chance_agreement()[0],
        )
        say("", text)
        text = tr(
            "nothing shows that it tells the classes apart; look at the folders of the classes, or give more images"
        )
        say("", text)
    for warning in unrecognised(predictions):
        say("", warning)
    for number, sentence in enumerate(thresholds.sentences(predictions)):
        say("" if number else tr("threshold"), sentence)
    if verbose:
        names = sorted(path.name for path in run.iterdir())
        say(tr("written"), f"{shown(run)}: {', '.join(names)}")
    else:
        say(tr("details"), shown(run / "report.txt"))


def no_features(limit: int) -> None:
    """Report that the run keeps no features, and what that means."""
    say(
        tr("learning"),
        tr(
            "the run keeps no features, since they take more than --keep-features {limit} or do not fit into 16 bits: "
            "it cannot learn from people's labels later",
            limit=f'"{limit / 1e6:g} MB"',
        ),
    )


def dropped_classes(sentences: Sequence[str]) -> None:
    """Report, before publishing, which classes this drops."""
    for number, sentence in enumerate(sentences):
        say("" if number else tr("publishing"), sentence)


def unrecognised(predictions: LabelledPredictions) -> list[str]:
    """Return a warning for each class with no judged image recognised, or with too few of them to tell."""
    images = np.bincount(predictions.labels, minlength=len(predictions.classes))
    right = np.bincount(predictions.labels[predictions.right], minlength=len(predictions.classes))
    warnings = []
    for name, count, hits in zip(predictions.classes, images.tolist(), right.tolist(), strict=True):
        if count and not hits:
            text = trn(
                "warning: {name}: its only picture is not recognised: "
                "give this class more pictures, or look at its folder",
                "warning: {name}: none of its {count} pictures is recognised: "
                "give this class more pictures, or look at its folder",
                count,
                name=name,
            )
            warnings.append(text)
        elif 1 < count < _FEW:
            text = tr(
                "warning: {name}: only {count} pictures tell how well this class is recognised: give it more",
                name=name,
                count=count,
            )
            warnings.append(text)
    return warnings


def verdict(given: Verdict, run: Path) -> None:
    """Report whether the run was published and what the daemon does."""
    if given.publish:
        say(tr("published"), given.reason)
        folder = shown(run.parent)
        say("", tr("a daemon that serves {folder} goes over to it by itself, without a restart", folder=folder))
    else:
        say(tr("publishing"), tr("not published: {why}", why=given.reason))
        if given.publishable:
            text = tr(
                "the daemon goes on as before; to use it all the same: python -m trainer publish {run}", run=shown(run)
            )
        else:
            text = tr("the daemon goes on as before")
        say("", text)
