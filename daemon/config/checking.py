"""Settings that are right each by itself, and wrong together or with what lies on the disk."""

from __future__ import annotations

from pathlib import Path

from daemon.config.settings import RULES_KEY, Settings
from daemon.files.marker import marked_folder
from models.errors import UserError
from models.text.language import tr


def check_together(settings: Settings) -> None:
    """Refuse settings that contradict each other, such as an inbox inside the output. Raises `UserError`."""
    check_output(settings)
    if settings.others_dir.casefold() == settings.quarantine_dir.casefold():
        raise UserError(tr("others_dir and quarantine_dir are the same folder: give them different names"))
    if isinstance(settings.quiet_after_close_seconds, dict):
        for inbox in settings.quiet_after_close_seconds:
            if inbox not in settings.watch:
                raise UserError(
                    tr("quiet_after_close_seconds: {inbox} is not an inbox: name one of watch", inbox=inbox)
                )
    check_outputs_of_classes(settings)
    for inbox in settings.watch:
        if _is_no_folder(inbox):
            raise UserError(tr("watch: {inbox} is not a folder: give one", inbox=inbox))
        if settings.output in inbox.parents:
            raise UserError(
                tr(
                    "watch: the inbox {inbox} lies inside the output {output}, so what is filed would come "
                    "in again: move one of them elsewhere",
                    inbox=inbox,
                    output=settings.output,
                )
            )


def check_output(settings: Settings) -> None:
    """Refuse an output that is a file or lies inside a class folder, and one folder for two things in it.

    Raises `UserError`.
    """
    output = settings.output
    others = {settings.others_dir.casefold(), settings.quarantine_dir.casefold()}
    if settings.are_duplicates_moved and settings.duplicates_dir.casefold() in others:
        raise UserError(tr("duplicates_dir is the folder of other images already: give it another name"))
    if _is_no_folder(output):
        raise UserError(tr("output: {output} is not a folder: give one", output=output))
    if (folder := marked_folder(output)) is not None:
        raise UserError(
            tr(
                "output: {output} lies inside the class folder {folder}: give a folder outside it",
                output=output,
                folder=folder,
            )
        )


def check_outputs_of_classes(settings: Settings) -> None:
    """Refuse the output of a class that is an inbox or a file, or lies where images of other classes go.

    Raises `UserError`.
    """
    for name, rule in settings.rules.items():
        output = rule.output
        if output is None or output == settings.output:
            continue
        values = {"place": f'{RULES_KEY}."{name}".output', "output": output}
        if _is_no_folder(output):
            raise UserError(tr("{place}: {output} is not a folder: give one", **values))
        if (folder := marked_folder(output)) is not None:
            raise UserError(
                tr(
                    "{place}: {output} lies inside the class folder {folder}: give a folder outside it",
                    folder=folder,
                    **values,
                )
            )
        for other in settings.outputs:
            if other in output.parents or output in other.parents:
                raise UserError(
                    tr(
                        "{place}: one of {output} and the output {other} lies inside the other: give separate folders",
                        other=other,
                        **values,
                    )
                )
        for inbox in settings.watch:
            if inbox == output or output in inbox.parents:
                raise UserError(
                    tr(
                        "{place}: the inbox {inbox} is, or lies in, {output}, so what is filed would come in again: "
                        "give another folder",
                        inbox=inbox,
                        **values,
                    )
                )


def _is_no_folder(path: Path) -> bool:
    """Whether something else than a folder lies there, as far as that can be seen: its mount may be dead now."""
    try:
        return path.exists() and not path.is_dir()
    except OSError:
        return False
