"""``python -m daemon learn``: learn now from what people said of images."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from daemon import config
from daemon.commands.calling import find_daemon, find_only_daemon
from daemon.commands.options import add_settings, given
from daemon.config import Settings
from daemon.control.client import ControlClient
from daemon.journal.journal import Journal, JournalBusy
from daemon.learning.base_run import find_obstacle
from daemon.learning.given_labels import look_at_labels
from daemon.learning.giving import GivenLesson, give_lesson
from daemon.learning.lessons import LABELS_FILE, LessonFailed
from daemon.learning.outcome import FAILED
from daemon.learning.record import note, recall
from daemon.learning.trainer_child import TrainerChild
from daemon.monitoring.logs import start_logging
from daemon.state import find_journal, lock
from models.allowed import allow_plugins
from models.errors import UserError
from models.text.commandline import Parser, print_json
from models.text.language import tr
from models.text.printable import shown


def main(arguments: list[str]) -> int:
    """Give a lesson; returns the exit code."""
    options = vars(_parser().parse_args(arguments))
    as_json = options.pop("json")
    flags, file = given(options)
    settings = config.load(flags, file)
    start_logging("WARNING", as_json=False)
    say: Callable[[str], None] = (lambda _: None) if as_json else (lambda line: print(shown(line), flush=True))
    journal = find_journal(settings.state_dir, settings.output)
    find = find_daemon if "output" in flags or journal is not None else find_only_daemon
    client = find(settings)
    if client is not None:
        with client:
            result = _ask(client, say)
    elif journal is None:
        raise UserError(
            tr(
                "nothing was ever filed into {output}, so there is no label: give the --output and the --state-dir of "
                "the daemon",
                output=settings.output,
            )
        )
    else:
        result = _learn_here(settings, journal, say)
    if as_json:
        print_json({key: value for key, value in result.items() if key != "exit"})
    else:
        print(shown(str(result.get("says", ""))))
    code = result.get("exit")
    return code if isinstance(code, int) else 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m daemon learn",
        description=tr(
            "Learn now from what people said of images, whatever the setting learn says: the head of the model in use "
            "is fitted again with all labels, and published if it is better. The running daemon does it, or else this "
            "command. For labels in a file: python -m trainer learn --labels FILE [--checkpoints DIR]. Exit code 3: "
            "nothing is published."
        ),
    )
    parser.add_argument("--json", action="store_true", help=tr("print the result as JSON"))
    add_settings(parser, ("output", "state_dir", "checkpoint", "cache_dir"))
    return parser


def _ask(client: ControlClient, say: Callable[[str], None]) -> dict[str, object]:
    calling: Generator[dict[str, object], None, dict[str, object]] = client.call("learn", {})
    while True:
        try:
            item = next(calling)
        except StopIteration as end:
            return dict(end.value)
        if "says" in item:
            say(str(item["says"]))


def _learn_here(settings: Settings, path: Path, say: Callable[[str], None]) -> dict[str, object]:
    """Give a lesson in this process; a daemon that is started meanwhile is not in its way."""
    allow_plugins(settings.plugins)
    if (obstacle := find_obstacle(settings.checkpoint)) is not None:
        raise UserError(obstacle)
    with closing(Journal(path, read_only=True)) as journal:
        record = recall(journal, settings.checkpoint)
    with TemporaryDirectory() as folder:
        state = look_at_labels(path, record)
        given_up = None if record is None else record.given_up
        lesson = give_lesson(settings, path, state, Path(folder) / LABELS_FILE, TrainerChild, say, given_up=given_up)
    assert lesson is not None, "nobody ends it but this process itself"
    _remember(settings, path, lesson)
    outcome = lesson.outcome
    if outcome.answer.result in FAILED:
        raise LessonFailed(outcome.sentence(), outcome.exit_code)
    return outcome.as_result()


def _remember(settings: Settings, path: Path, lesson: GivenLesson) -> None:
    """Note the lesson for the next start of a daemon; one that runs by now finds out that there is nothing new."""
    with suppress(UserError, JournalBusy, OSError), ExitStack() as held:
        held.enter_context(lock(path.parents[1], [settings.output]))
        journal = held.enter_context(closing(Journal(path)))
        note(journal, settings.checkpoint, lesson.record(recall(journal, settings.checkpoint), settings.checkpoint))
