"""``python -m trainer``: fit, evaluate, learn, and make checkpoints from names; list, publish and roll back runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Callable
from typing import Any

from loguru import logger

from models.errors import UserError
from models.text.commandline import Parser, print_json, run_and_exit
from models.text.completion import offer
from models.text.language import tr
from trainer import options
from trainer.finetuning.ranks import own_rank
from trainer.finetuning.team import Team

# No heavy imports here, so that a mistyped option is reported at once.

#: The exit code of a lesson after which no new model is published.
NOT_PUBLISHED = 4
#: What the parsed arguments hold beside the options of a command.
_NOT_OPTIONS = frozenset({"command", "run", "json", "clip_model", "exit_code", "team"})


def main(arguments: list[str], team: Team | None = None) -> int:
    """Run one command and return the exit code; ``team`` are the processes that torchrun started, if it did."""
    given = make_parser().parse_args(arguments)
    vars(given).pop("language", None)  # already applied before parsing
    if vars(given).get("verbose"):
        _log("DEBUG")
    command: Callable[[argparse.Namespace], dict[str, Any] | list[dict[str, Any]]] = given.run
    if team is not None and not (given.command == "fit" and given.fine_tune):
        raise UserError(tr("torchrun is for fit --fine-tune alone: start everything else without it"))
    given.exit_code, given.team = 0, team
    if not given.json:
        command(given)
        return int(given.exit_code)
    with contextlib.redirect_stdout(sys.stderr):  # only the result goes to standard output
        result = command(given)
    print_json(result)
    return int(given.exit_code)


def make_parser() -> Parser:
    """Make the command line: every command with its options."""
    parser = Parser(
        prog="python -m trainer", description=tr("Make and evaluate the checkpoints that the daemon serves.")
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    fitting = commands.add_parser(
        "fit",
        help=tr("fit a checkpoint on a folder of class folders, and publish it"),
        description=tr(
            "Fit a checkpoint on a folder with one folder of images per class, and publish it for the daemon if it is "
            "no worse than the one in use. Every image is judged by a model that never saw it; the report in the run "
            "folder says how many were right. No image is moved or changed."
        ),
    )
    evaluating = commands.add_parser(
        "evaluate",
        help=tr("measure the accuracy of a checkpoint on a folder of class folders"),
        description=tr(
            "Measure how many images of a folder of class folders a checkpoint gets right, and write a report with "
            "charts. No image is moved or changed."
        ),
    )
    naming = commands.add_parser(
        "zero-shot",
        help=tr("make a checkpoint from the names of its classes alone"),
        description=tr(
            "Make a checkpoint from the names of its classes alone, with a model that reads text, and publish it as "
            "--publish says. No images are needed."
        ),
    )
    learning = commands.add_parser(
        "learn",
        help=tr("fit the published run again with the images that people labelled, and publish it if better"),
        description=tr(
            "Fit the head of the published run again with the images that people labelled, and publish it if it is "
            "better. The images that the run was fitted on are not needed. Exit code {code}: nothing is published.",
            code=NOT_PUBLISHED,
        ),
    )
    listing = commands.add_parser(
        "list",
        help=tr("list the runs, and say which of them the daemon serves"),
        description=tr("List the runs, oldest first, with their accuracy, and say which of them the daemon serves."),
    )
    publishing = commands.add_parser(
        "publish",
        help=tr("let the daemon serve a run"),
        description=tr("Let the daemon serve a run, however good it is. A running daemon switches to it by itself."),
    )
    rolling = commands.add_parser(
        "rollback",
        help=tr("let the daemon serve what was published before"),
        description=tr(
            "Let the daemon serve what was published before, or the starter model. A running daemon switches to it by "
            "itself."
        ),
    )
    options.add_fit(fitting)
    options.add_evaluate(evaluating)
    options.add_zero_shot(naming)
    options.add_learn(learning)
    meaning = tr("a run folder, its name inside --output-dir, or latest: the newest run there")
    offer(publishing.add_argument("publish_run", metavar="RUN", help=meaning), _runs)
    options.add_keep(publishing)
    rolling.add_argument("--starter", action="store_true", help=tr("the starter model, whatever was published before"))
    for command in (listing, publishing, rolling):
        options.add_runs(command)
    for command in (publishing, rolling):
        options.add_cache(command)
    parsers = (fitting, evaluating, naming, learning, listing, publishing, rolling)
    actions = (_fit, _evaluate, _zero_shot, _learn, _list, _publish, _rollback)
    for command, action in zip(parsers, actions, strict=True):
        command.add_argument("--json", action="store_true", help=tr("print the result as JSON"))
        command.set_defaults(run=action)
    return parser


def _runs(given: argparse.Namespace) -> list[str]:
    """What ``publish`` may be given, for the Tab key."""
    from trainer.runs.listing import LATEST, run_names

    return [LATEST, *run_names(given.output_dir)]


def _plain(given: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that are options of the command, with ``--clip-model`` among the weights."""
    plain = {name: value for name, value in vars(given).items() if name not in _NOT_OPTIONS}
    clip = {} if given.clip_model is None else {"clip": given.clip_model}
    return plain | {"weights": dict(given.weights) | clip}


def _fit(given: argparse.Namespace) -> dict[str, Any]:
    from trainer.data.dataset import shown
    from trainer.fit import fit
    from trainer.fitted import FitOptions
    from trainer.tables import say

    team: Team | None = given.team
    if team is not None:
        team.join(given.batch_size)
        given.resume |= team.rank.attempt > 0
        if not team.rank.is_first:
            from trainer.finetuning.sharing import follow

            team.take_part(lambda: follow(team, given.cache_dir))
            return {}
    wanted = FitOptions(**_plain(given))
    try:
        outcome = fit(wanted) if team is None else team.take_part(lambda: fit(wanted, team))
    except KeyboardInterrupt:
        say(tr("stopped"), tr("the same command with --resume continues it"))
        raise
    return {
        "run": shown(outcome.run),
        "published": outcome.published,
        "why": outcome.reason,
        "classes": list(outcome.predictions.classes),
        "held_out": outcome.predictions.figures(),
    }


def _evaluate(given: argparse.Namespace) -> dict[str, Any]:
    from trainer.evaluate import EvaluateOptions, evaluate

    return evaluate(
        EvaluateOptions(
            data_dir=given.data_dir,
            checkpoint=given.checkpoint,
            compare=given.compare,
            batch_size=given.batch_size,
            output_dir=given.output_dir,
            cache_dir=given.cache_dir,
        )
    )


def _zero_shot(given: argparse.Namespace) -> dict[str, Any]:
    from trainer.data.dataset import shown
    from trainer.zeroshot import ZeroShotOptions, zero_shot

    outcome = zero_shot(ZeroShotOptions(**_plain(given)))
    return {
        "run": shown(outcome.run),
        "published": outcome.published,
        "why": outcome.reason,
        "classes": outcome.classes,
        "unread": outcome.unread,
    }


def _learn(given: argparse.Namespace) -> dict[str, Any]:
    from trainer.data.dataset import shown
    from trainer.learn import LearnOptions, learn

    outcome = learn(
        LearnOptions(
            checkpoints=given.checkpoints,
            labels=given.labels,
            filed=given.filed,
            audited=given.audited,
            given_up=given.given_up,
            keep=given.keep,
            cache_dir=given.cache_dir,
        )
    )
    if outcome.run is None:
        given.exit_code = NOT_PUBLISHED
    return {
        **outcome.figures,
        "run": None if outcome.run is None else shown(outcome.run),
        "published": outcome.run is not None,
        "result": outcome.result,
        "why": outcome.reason,
    }


def _list(given: argparse.Namespace) -> list[dict[str, Any]]:
    from models.checkpoints.checkpoint import is_starter_published
    from trainer.runs.listing import as_rows, list_runs, print_rows
    from trainer.runs.publish import STARTER

    rows = as_rows(list_runs(given.output_dir))
    print_rows(rows)
    if is_starter_published(given.output_dir):
        print(
            tr(
                "* the daemon serves {starter} after a rollback; to serve a run: python -m trainer publish RUN",
                starter=tr(STARTER),
            )
        )
    return rows


def _publish(given: argparse.Namespace) -> dict[str, Any]:
    from models.checkpoints.checkpoint import FILE_NAME, read
    from models.weights.store import WeightsStore
    from trainer.runs.listing import find_run
    from trainer.runs.publish import find_dropped_classes, publish

    run = find_run(given.publish_run, given.output_dir)
    gone = find_dropped_classes(run.parent, read(run / FILE_NAME).metadata.classes).sentences()
    proved = publish(run, WeightsStore(given.cache_dir), keep=given.keep)
    print(*gone, sep="\n", end="\n" if gone else "")
    print(
        tr(
            "published {run}: {count} classes; a running daemon switches to it by itself",
            run=run,
            count=len(proved.classes),
        )
    )
    return {"published": str(run), "sha256": proved.digest}


def _rollback(given: argparse.Namespace) -> dict[str, Any]:
    from models.weights.store import WeightsStore
    from trainer.runs.publish import STARTER, rollback

    now, before = rollback(given.output_dir, WeightsStore(given.cache_dir), starter=given.starter)
    text = tr(
        "rolled back from {before} to {now}; a running daemon switches to it by itself",
        before=before,
        now=tr(STARTER) if now == STARTER else now,
    )
    print(text)
    return {"published": now, "before": before}


def start(arguments: list[str]) -> int:
    """Run one command as a program, with the trainer's logging, and return the exit code."""
    warnings.simplefilter("ignore")  # warnings of libraries are for their developers
    rank = own_rank()
    _log("INFO" if rank.is_first else "CRITICAL")
    if rank.count == 1:
        return main(arguments)
    team = Team(rank)
    return team.run(lambda: main(arguments, team))


def _log(level: str) -> None:
    logger.remove()
    logger.add(sys.stderr, format="<level>{level.name}: {message}</level>", level=level)


if __name__ == "__main__":
    run_and_exit(start)
