"""``python -m trainer``: fit, evaluate and make checkpoints from names; list, publish and roll back runs."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loguru import logger

from models.commandline import Parser, print_json, run_and_exit
from models.errors import UserError
from models.language import mark, tr
from models.shares import read_share

# Nothing heavy is imported up here: a mistyped option is answered at once.

_CACHE_HELP = mark("weights and graphs (default: ~/.cache/imagesortd)")


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    vars(options).pop("language", None)  # it was used before the arguments were parsed
    command: Callable[[argparse.Namespace], dict[str, Any] | list[dict[str, Any]]] = options.run
    if not options.json:
        command(options)
        return 0
    with contextlib.redirect_stdout(sys.stderr):  # only the result goes to standard output
        result = command(options)
    print_json(result)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m trainer", description=tr("Make and evaluate the checkpoints that the daemon serves.")
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    _add_fit(commands.add_parser("fit", help=tr("fit a checkpoint on a folder of class folders, and publish it")))
    _add_evaluate(commands.add_parser("evaluate", help=tr("how right a checkpoint is on a folder of class folders")))
    _add_zero_shot(commands.add_parser("zero-shot", help=tr("make a checkpoint from the names of its classes alone")))
    listing = commands.add_parser("list", help=tr("the runs, and which of them the daemon serves"))
    publishing = commands.add_parser("publish", help=tr("let the daemon serve a run"))
    publishing.add_argument("publish_run", metavar="RUN", help=tr("a run folder, or its name inside --output-dir"))
    _add_keep(publishing)
    rolling = commands.add_parser("rollback", help=tr("let the daemon serve what was published before"))
    rolling.add_argument("--starter", action="store_true", help=tr("the starter model, whatever was published before"))
    for command, action in ((listing, _list), (publishing, _publish), (rolling, _rollback)):
        _add_common(command, action)
        command.add_argument(
            "--output-dir", type=Path, default=Path("checkpoints"), help=tr("where runs are: %(default)s")
        )
    for command in (publishing, rolling):
        command.add_argument("--cache-dir", type=Path, metavar="DIR", help=tr(_CACHE_HELP))
    return parser


def _add_fit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, metavar="DIR", help=tr("one folder of images per class"))
    add(
        "--mode",
        default="auto",
        help=tr("auto, hybrid, or any backbone; a+b joins several (see python -m models list)"),
    )
    add("--epochs", type=_count, default=10, metavar="N", help=tr("passes over the features (default %(default)s)"))
    add("--batch-size", type=_count, default=32, metavar="N", help=tr("images per step (default %(default)s)"))
    add("--lr", type=_rate, default=1e-3, metavar="RATE", help=tr("learning rate of the head (default %(default)s)"))
    add(
        "--patience",
        type=_natural,
        default=5,
        metavar="N",
        help=tr("epochs without gain; 0: never (default %(default)s)"),
    )
    add("--max-samples", type=_count, metavar="N", help=tr("at most so many images per class, drawn by --seed"))
    add(
        "--val-fraction",
        type=_fold,
        default=0.2,
        metavar="SHARE",
        help=tr("held out at a time to judge by, 0.1 to 0.5 (default %(default)s)"),
    )
    add("--seed", type=_natural, default=0, metavar="N", help=tr("decides every draw (default %(default)s)"))
    add(
        "--drop-parts",
        action="store_true",
        help=tr("of a mode of several backbones serve one alone where that is as good"),
    )
    add(
        "--max-error",
        type=_fraction,
        metavar="SHARE",
        help=tr(
            "let at most this share of the images that the daemon files be wrong, such as 5%% or "
            "0.05: the daemon's automatic threshold is then chosen for it"
        ),
    )
    add("--fine-tune", action="store_true", help=tr("train the backbones too, and keep that if it is better"))
    add(
        "--ft-lr",
        type=_rate,
        default=1e-4,
        metavar="RATE",
        help=tr("learning rate of fine-tuning (default %(default)s)"),
    )
    add("--ft-epochs", type=_count, default=5, metavar="N", help=tr("passes of fine-tuning (default %(default)s)"))
    add(
        "--weights",
        type=_weights,
        action="append",
        default=[],
        metavar="NAME=PATH_OR_ID",
        help=tr("a backbone's weights"),
    )
    add("--clip-model", metavar="ID_OR_DIR", help=tr("short for --weights clip=ID_OR_DIR"))
    add(
        "--output-dir",
        type=Path,
        default=Path("checkpoints"),
        metavar="DIR",
        help=tr("where runs go (default %(default)s)"),
    )
    add(
        "--publish",
        choices=("always", "never", "if-better"),
        default="if-better",
        help=tr("whether the daemon shall serve the result (default %(default)s)"),
    )
    _add_keep(parser)
    add("--cache-dir", type=Path, metavar="DIR", help=tr("weights, graphs and features (default: ~/.cache/imagesortd)"))
    add("--resume", action="store_true", help=tr("go on with the same fit that was interrupted"))
    add(
        "--cache-size",
        type=_size,
        default="2 GB",
        metavar="SIZE",
        help=tr("room for the features of images; what was used least recently makes room (default %(default)s)"),
    )
    _add_common(parser, _fit)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, metavar="DIR", help=tr("one folder of images per class"))
    add(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="PATH",
        help=tr("a checkpoint file, a run, or the folder of runs"),
    )
    add(
        "--compare",
        type=Path,
        metavar="PATH",
        help=tr("another checkpoint: which of the two is better on these images?"),
    )
    add("--batch-size", type=_count, default=32, metavar="N", help=tr("images at once, at most (default %(default)s)"))
    add("--output-dir", type=Path, metavar="DIR", help=tr("where the report goes (default: reports/RUN-DATA)"))
    add("--cache-dir", type=Path, metavar="DIR", help=tr(_CACHE_HELP))
    _add_common(parser, _evaluate)


def _add_zero_shot(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    names = parser.add_mutually_exclusive_group(required=True)
    names.add_argument("--classes", nargs="+", default=(), metavar="NAME", help=tr("the classes, such as dog cat car"))
    names.add_argument("--classes-from", type=Path, metavar="DIR", help=tr("the classes are the names of its folders"))
    add(
        "--prompts",
        type=Path,
        metavar="FILE",
        help=tr("what to call them: lines of CLASS: PROMPT, and templates with {}"),
    )
    add("--mode", default="clip", help=tr("a backbone that reads text (default %(default)s)"))
    add(
        "--weights",
        type=_weights,
        action="append",
        default=[],
        metavar="NAME=PATH_OR_ID",
        help=tr("a backbone's weights"),
    )
    add("--clip-model", metavar="ID_OR_DIR", help=tr("short for --weights clip=ID_OR_DIR"))
    add(
        "--threshold",
        type=_probability,
        metavar="P",
        help=tr("pictures it is less sure of go to the others: 0 to 1, or 70%%"),
    )
    add("--output-dir", type=Path, default=Path("checkpoints"), metavar="DIR", help=tr("where runs are: %(default)s"))
    add(
        "--publish",
        choices=("always", "never", "if-better"),
        default="if-better",
        help=tr(
            "whether the daemon shall serve the result; if-better: not in place of one fitted on "
            "images of the same classes (default %(default)s)"
        ),
    )
    _add_keep(parser)
    add("--cache-dir", type=Path, metavar="DIR", help=tr(_CACHE_HELP))
    _add_common(parser, _zero_shot)


def _add_keep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        type=_natural,
        default=20,
        metavar="N",
        help=tr(
            "newest runs that stay when one is published; those in use stay in any case; 0: all (default %(default)s)"
        ),
    )


def _add_common(parser: argparse.ArgumentParser, action: Callable[[argparse.Namespace], Any]) -> None:
    parser.add_argument("--json", action="store_true", help=tr("print the result as JSON"))
    parser.set_defaults(run=action)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(tr("'{text}' is not a number", text=text))
    return number


def _whole(text: str, least: int) -> int:
    number = _number(text)
    if number != int(number) or number < least:
        raise argparse.ArgumentTypeError(
            tr("it must be a whole number of at least {least}, not {text}", least=least, text=text)
        )
    return int(number)


def _count(text: str) -> int:
    return _whole(text, 1)


def _natural(text: str) -> int:
    return _whole(text, 0)


def _rate(text: str) -> float:
    if not 0 < (number := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(tr("it must be above 0 and at most 1, not {text}", text=text))
    return number


def _share(text: str) -> float:
    try:
        return read_share(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            tr("give a share such as 5%, 1/20 or 0.05, not '{text}'", text=text)
        ) from error


def _fraction(text: str) -> float:
    if not 0 < (number := _share(text)) < 1:
        raise argparse.ArgumentTypeError(tr("it must be between 0 and 1, such as 0.05 or 5%, not {text}", text=text))
    return number


def _fold(text: str) -> float:
    if not 0.1 <= (number := _share(text)) <= 0.5:
        raise argparse.ArgumentTypeError(
            tr("it must be from 0.1 to 0.5 (10% to 50%), for ten folds to two, not {text}", text=text)
        )
    return number


def _probability(text: str) -> float:
    if not 0 <= (number := _share(text)) <= 1:
        raise argparse.ArgumentTypeError(tr("it must be between 0 and 1, such as 0.7 or 70%, not {text}", text=text))
    return number


def _size(text: str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(tr("it must be a size such as 500 MB or 2 GB, not {text}", text=text))
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


def _weights(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise argparse.ArgumentTypeError(tr("it must be NAME=PATH_OR_ID, not {text}", text=text))
    return name, source


def _fit(options: argparse.Namespace) -> dict[str, Any]:
    from trainer.data import shown
    from trainer.fit import fit
    from trainer.fitted import FitOptions
    from trainer.narrate import say

    plain = {
        name: value for name, value in vars(options).items() if name not in {"command", "run", "json", "clip_model"}
    }
    plain["weights"] = dict(options.weights)
    if options.clip_model is not None:
        plain["weights"]["clip"] = options.clip_model
    try:
        outcome = fit(FitOptions(**plain))
    except KeyboardInterrupt:
        say(tr("stopped"), tr("the same command with --resume goes on with it"))
        raise
    return {
        "run": shown(outcome.run),
        "published": outcome.published,
        "why": outcome.why,
        "classes": list(outcome.measured.classes),
        "held_out": outcome.measured.figures(),
    }


def _evaluate(options: argparse.Namespace) -> dict[str, Any]:
    from trainer.evaluate import EvaluateOptions, evaluate

    return evaluate(
        EvaluateOptions(
            data_dir=options.data_dir,
            checkpoint=options.checkpoint,
            compare=options.compare,
            batch_size=options.batch_size,
            output_dir=options.output_dir,
            cache_dir=options.cache_dir,
        )
    )


def _zero_shot(options: argparse.Namespace) -> dict[str, Any]:
    from trainer.data import shown
    from trainer.zeroshot import ZeroShotOptions, zero_shot

    plain = {
        name: value for name, value in vars(options).items() if name not in {"command", "run", "json", "clip_model"}
    }
    plain["weights"] = dict(options.weights) | ({"clip": options.clip_model} if options.clip_model else {})
    outcome = zero_shot(ZeroShotOptions(**plain))
    return {
        "run": shown(outcome.run),
        "published": outcome.published,
        "why": outcome.why,
        "classes": outcome.classes,
        "unread": outcome.unread,
    }


def _list(options: argparse.Namespace) -> list[dict[str, Any]]:
    from models.checkpoint import is_starter_published
    from trainer.publish import STARTER, as_rows, list_runs, print_rows

    rows = as_rows(list_runs(options.output_dir))
    print_rows(rows)
    if is_starter_published(options.output_dir):
        print(
            tr(
                "* {starter} serves: somebody rolled back to it; to serve a run: python -m trainer publish RUN",
                starter=tr(STARTER),
            )
        )
    return rows


def _publish(options: argparse.Namespace) -> dict[str, Any]:
    from models.checkpoint import FILE_NAME, read
    from models.weights import WeightsStore
    from trainer.publish import leaving, publish

    run = next(
        (path for path in (options.output_dir / options.publish_run, Path(options.publish_run)) if path.is_dir()), None
    )
    if run is None:
        raise UserError(
            tr(
                "there is no run {run}, neither in {output_dir} nor as a folder",
                run=options.publish_run,
                output_dir=options.output_dir,
            )
        )
    run = run.resolve()
    gone = leaving(run.parent, read(run / FILE_NAME).metadata.classes).sentences()
    print(*gone, sep="\n", end="\n" if gone else "")
    proved = publish(run, WeightsStore(options.cache_dir), keep=options.keep)
    print(
        tr(
            "published {run}: {count} classes; a running daemon goes over to it by itself",
            run=run,
            count=len(proved.classes),
        )
    )
    return {"published": str(run), "sha256": proved.digest}


def _rollback(options: argparse.Namespace) -> dict[str, Any]:
    from models.weights import WeightsStore
    from trainer.publish import STARTER, rollback

    now, before = rollback(options.output_dir, WeightsStore(options.cache_dir), starter=options.starter)
    text = tr(
        "rolled back from {before} to {now}; a running daemon goes over to it by itself",
        before=before,
        now=tr(STARTER) if now == STARTER else now,
    )
    print(text)
    return {"published": now, "before": before}


def start(arguments: list[str]) -> int:
    """Run one command as a program of its own, with the trainer's way of logging; returns the exit code."""
    warnings.simplefilter("ignore")  # what libraries have to say to their developers
    logger.remove()
    logger.add(sys.stderr, format="<level>{level.name}: {message}</level>", level="INFO")
    return main(arguments)


if __name__ == "__main__":
    run_and_exit(start)
