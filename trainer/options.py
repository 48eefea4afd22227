"""The options of the commands; options that several commands share are defined once."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.text.completion import offer
from models.text.language import tr
from trainer.arguments import count, fold, fraction, natural, probability, rate, size, weights

# No heavy imports here, so that a mistyped option is reported at once.


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fit``."""
    add = parser.add_argument
    _add_data(parser, required=False)
    add(
        "--labels",
        type=Path,
        metavar="PATH",
        help=tr("learn what people said of images too: {sources}", sources=_labels()),
    )
    _add_nested(parser, tr("a class is the path of the folder that holds its images, such as animals/dog"))
    add(
        "--labels-from",
        dest="class_source",
        choices=("folders", "xmp"),
        default="folders",
        help=tr("what says the class of an image: its folder, or tags in its XMP sidecar or in it (%(default)s)"),
    )
    add("--tags", nargs="+", default=[], metavar="TAG", help=tr("with --labels-from xmp, only these tags are classes"))
    mode = add(
        "--mode",
        default="auto",
        help=tr("auto, hybrid, or any backbone; a+b joins several (see python -m models list)"),
    )
    offer(mode, lambda _: ["auto", *_modes()])
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help=tr("what reads the images and computes their features: this machine, or a cluster of Ray (%(default)s)"),
    )
    add("--epochs", type=count, default=10, metavar="N", help=tr("passes over the features (default %(default)s)"))
    add("--batch-size", type=count, default=32, metavar="N", help=tr("images per step (default %(default)s)"))
    add("--lr", type=rate, default=1e-3, metavar="RATE", help=tr("learning rate of the head (default %(default)s)"))
    add(
        "--patience",
        type=natural,
        default=5,
        metavar="N",
        help=tr("stop after so many epochs without gain; 0: never stop early (default %(default)s)"),
    )
    add("--max-samples", type=count, metavar="N", help=tr("at most so many images per class, drawn by --seed"))
    add(
        "--val-fraction",
        type=fold,
        default=0.2,
        metavar="SHARE",
        help=tr("share of the images held out at a time to judge by, 0.1 to 0.5 (default %(default)s)"),
    )
    add("--seed", type=natural, default=0, metavar="N", help=tr("decides every draw (default %(default)s)"))
    add(
        "--drop-parts",
        action="store_true",
        help=tr("if a mode has several backbones, serve only one where that is as good"),
    )
    add(
        "--unlabelled",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help=tr(
            "learn from the images in DIR too, whose classes nobody knows, where that is clearly better; may repeat"
        ),
    )
    add(
        "--max-error",
        type=fraction,
        metavar="SHARE",
        help=tr(
            "let at most this share of the images that the daemon files be wrong, such as 5%% or "
            "0.05: the daemon's automatic threshold is then chosen for it"
        ),
    )
    add(
        "--threshold",
        type=probability,
        metavar="P",
        help=tr(
            "the daemon's automatic threshold: images it is less sure of go to the others, 0 to 1 or 70%%; one "
            "that files more than --max-error allows is used only with --publish always"
        ),
    )
    add("--fine-tune", action="store_true", help=tr("train the backbones too, and keep that if it is better"))
    add(
        "--ft-lr",
        type=rate,
        default=1e-4,
        metavar="RATE",
        help=tr("learning rate of fine-tuning (default %(default)s)"),
    )
    add("--ft-epochs", type=count, default=5, metavar="N", help=tr("passes of fine-tuning (default %(default)s)"))
    _add_weights(parser)
    _add_publication(parser, tr("whether the daemon shall serve the result (default %(default)s)"))
    add("--cache-dir", type=Path, metavar="DIR", help=tr("weights, graphs and features (default: ~/.cache/imagesortd)"))
    add("--resume", action="store_true", help=tr("go on with the same fit that was interrupted"))
    add("--verbose", action="store_true", help=tr("print more: every epoch, every head that was tried, all figures"))
    add(
        "--cache-size",
        type=size,
        default="2 GB",
        metavar="SIZE",
        help=tr("room for the features of images; what was used least recently makes room (default %(default)s)"),
    )
    add(
        "--keep-features",
        type=size,
        default="300 MB",
        metavar="SIZE",
        help=tr(
            "the most that the run may keep of its features, by which it can learn from people's labels later; "
            "0: none (default %(default)s)"
        ),
    )


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    add = parser.add_argument
    _add_data(parser, required=True)
    add(
        "--checkpoint",
        type=Path,
        default=Path("checkpoints"),
        metavar="PATH",
        help=tr(
            "a checkpoint file, a run folder, or a folder of runs, which means the published one (default %(default)s)"
        ),
    )
    add(
        "--compare",
        type=Path,
        metavar="PATH",
        help=tr("another checkpoint: which of the two is better on these images?"),
    )
    add("--batch-size", type=count, default=32, metavar="N", help=tr("images per batch, at most (default %(default)s)"))
    add("--output-dir", type=Path, metavar="DIR", help=tr("where the report goes (default: reports/RUN-DATA)"))
    add_cache(parser)


def add_zero_shot(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``zero-shot``."""
    add = parser.add_argument
    names = parser.add_mutually_exclusive_group(required=True)
    names.add_argument("--classes", nargs="+", default=(), metavar="NAME", help=tr("the classes, such as dog cat car"))
    names.add_argument("--classes-from", type=Path, metavar="DIR", help=tr("the classes are the names of its folders"))
    _add_nested(parser, tr("with --classes-from, the classes are the paths of the innermost folders"))
    add(
        "--prompts",
        type=Path,
        metavar="FILE",
        help=tr("what to call them: lines of CLASS: PROMPT, and templates with {}"),
    )
    mode = add("--mode", default="clip", help=tr("a backbone that reads text (default %(default)s)"))
    offer(mode, lambda _: _modes())
    _add_weights(parser)
    add(
        "--threshold",
        type=probability,
        metavar="P",
        help=tr("images it is less sure of go to others/: 0 to 1, or 70%%"),
    )
    text = tr(
        "whether the daemon shall serve the result; if-better: not in place of one fitted on "
        "images of the same classes (default %(default)s)"
    )
    _add_publication(parser, text)
    add_cache(parser)


def add_learn(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``learn``."""
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=Path("checkpoints"),
        metavar="DIR",
        help=tr("the folder of runs; the lesson begins from the published one (default %(default)s)"),
    )
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="PATH",
        help=_labels(),
    )
    parser.add_argument(
        "--filed",
        type=Path,
        metavar="FILE",
        help=tr(
            "a file of labels with the images that were filed last and have stayed there: only few of them may "
            "go elsewhere after a lesson that does not have the images that the model was fitted on"
        ),
    )
    parser.add_argument(
        "--audited",
        type=Path,
        metavar="FILE",
        help=tr(
            "a file of labels with images drawn at random from those that came: the promise of how many are "
            "wrong rests on these, where it cannot rest on the images that the model was fitted on"
        ),
    )
    parser.add_argument(
        "--given-up",
        metavar="SHA256",
        help=tr(
            "digest of a checkpoint that the daemon has stopped using: if that is the published one, the lesson "
            "begins from the run that it came from"
        ),
    )
    add_keep(parser)
    add_cache(parser)


def _modes() -> list[str]:
    from models.registry import names

    return names()


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the option for the folder of runs."""
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("checkpoints"),
        metavar="DIR",
        help=tr("where runs are (default %(default)s)"),
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add the option for the cache folder."""
    text = tr("weights and graphs (default: ~/.cache/imagesortd)")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help=text)


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Add the option for how many runs are kept."""
    parser.add_argument(
        "--keep",
        type=natural,
        default=20,
        metavar="N",
        help=tr(
            "newest runs that stay when one is published; those in use stay in any case; 0: all (default %(default)s)"
        ),
    )


def _add_data(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--data-dir", type=Path, required=required, metavar="DIR", help=tr("one folder of images per class")
    )


def _add_nested(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--nested", action="store_true", help=meaning)


def _labels() -> str:
    """Say what labels are read from."""
    return tr(
        "all labels as imagesortd labels --json prints them, the state folder of a daemon, or a folder with one folder "
        "of images per class"
    )


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        type=weights,
        action="append",
        default=[],
        metavar="NAME=PATH_OR_ID",
        help=tr("a backbone's weights"),
    )
    parser.add_argument("--clip-model", metavar="ID_OR_DIR", help=tr("short for --weights clip=ID_OR_DIR"))


def _add_publication(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the options for the run and its publication; ``meaning`` is the help of ``--publish`` for this command."""
    add_runs(parser)
    parser.add_argument("--publish", choices=("always", "never", "if-better"), default="if-better", help=meaning)
    add_keep(parser)
