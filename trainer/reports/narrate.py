"""Tell the user how a fit goes and what came of it: plain sentences and small tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.text.language import tr, trn
from trainer.data.dataset import shown
from trainer.heads.choice import Choice
from trainer.heads.linear import Epoch
from trainer.measuring.against_published import Verdict
from trainer.measuring.labelled_predictions import LabelledPredictions
from trainer.measuring.thresholds import Thresholds
from trainer.reports.report import class_table
from trainer.tables import say, table

#: A longer table is left out; the run folder has it.
_TABLE = 30
#: With fewer judged images of a class, its accuracy is not known well enough.
_FEW = 5


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
                "warning: {name}: none of its {count} images is recognised: give this class more images, or "
                "look at its folder",
                count,
                name=name,
            )
            warnings.append(text)
        elif 1 < count < _FEW:
            text = tr(
                "warning: {name}: only {count} images tell how well this class is recognised: give it more",
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
        say("", tr("a daemon that serves {folder} switches to it by itself, without a restart", folder=folder))
    else:
        say(tr("publishing"), tr("not published: {why}", why=given.reason))
        if given.publishable:
            text = tr(
                "the daemon goes on as before; to use it all the same: python -m trainer publish {run}", run=shown(run)
            )
        else:
            text = tr("the daemon goes on as before")
        say("", text)
