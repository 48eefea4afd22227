"""Marks of all outputs of a daemon: the one that it files into, and those that the rules of classes name.

Where the first one is away, nothing is filed. Where another one is, nothing is filed into that one, nor taken out of
it, and all else goes on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from daemon.files.locks import FolderBusy
from daemon.files.output_mark import OutputAway, OutputMark
from models.files.ownership import make_folder

#: Letters of the hash in the name of the folder that remembers one of the other outputs.
_HASH = 12


def memory_of(output: Path, main: Path, memory: Path) -> Path:
    """Return the folder for the files by which an output is remembered, such as the number in its mark.

    For the main output that is ``memory``, the folder of the journal; for any other output, a folder in it.
    """
    if output == main:
        return memory
    return memory / f"output-{hashlib.sha256(os.fsencode(output)).hexdigest()[:_HASH]}"


class OutputMarks:
    """The marks of several outputs, the main one first, as one daemon sees them; ``memory`` as in `OutputMark`.

    Here one of the other outputs counts as away, too, where another daemon files into it, or it cannot be locked.
    """

    def __init__(self, outputs: Sequence[Path], memory: Path) -> None:
        self.main = outputs[0]
        self._main = OutputMark(self.main, memory)
        self._memories = {output: memory_of(output, outputs[0], memory) for output in outputs}
        self._other_outputs = {output: OutputMark(output, self._memories[output]) for output in outputs[1:]}
        self._refused: dict[Path, str] = {}  # why: another daemon files into it, or it cannot be locked

    def why_away(self) -> str | None:
        """Say what to do if the main output is not there; None if it is."""
        return self._main.why_away()

    def other_outputs(self) -> dict[Path, str | None]:
        """Map each of the other outputs to why it is away, or to None."""
        return {output: self._why_other_away(output) for output in self._other_outputs}

    def other_outputs_away(self) -> dict[Path, str]:
        """Map those of the other outputs that are away to the reason."""
        return {output: why for output, why in self.other_outputs().items() if why is not None}

    def outputs_away(self) -> dict[Path, str]:
        """Map the outputs that are away to the reason, the main one among them."""
        main = self._main.why_away()
        return self.other_outputs_away() if main is None else {self.main: main} | self.other_outputs_away()

    def why_closed(self, path: str) -> str | None:
        """Say why nothing may be opened at a path now: it lies in another output, which is away. Else None."""
        for output in self._other_outputs:
            if path.startswith(str(output)) and (path == str(output) or path.startswith(f"{output}/")):
                return self._why_other_away(output)
        return None

    def _why_other_away(self, output: Path) -> str | None:
        return self._refused.get(output) or self._other_outputs[output].why_away()

    def device_of(self, output: Path) -> int | None:
        """Return the file system that an output is on, inside `at_work`; None where it has no mark."""
        mark = self._other_outputs.get(output, self._main)
        return mark.device_of(output)

    @contextmanager
    def at_work(self, *, make: bool = True) -> Iterator[None]:
        """Do what `OutputMark.at_work` does for all that are there; raise what it raises for the main one."""
        with ExitStack() as held:
            held.enter_context(self._main.at_work(make=make))
            for output in self._other_outputs:
                self._take(output, held, make=make)
            yield

    def require_free(self) -> None:
        """Raise `FolderBusy` where another daemon files into one of the other outputs."""
        for output, mark in self._other_outputs.items():
            self._make_memory(output)
            with suppress(OutputAway, OSError), mark.at_work():
                pass

    def _take(self, output: Path, held: ExitStack, *, make: bool) -> None:
        self._refused.pop(output, None)
        if make:
            self._make_memory(output)
        try:
            held.enter_context(self._other_outputs[output].at_work(make=make))
        except (OutputAway, FolderBusy) as error:
            self._refused[output] = str(error)
        except OSError as error:
            self._refused[output] = f"{output}: {error.strerror}"

    def _make_memory(self, output: Path) -> None:
        with suppress(OSError):  # it is not remembered, then
            make_folder(self._memories[output])

    def release(self) -> None:
        """Let other daemons file into the outputs."""
        for mark in (self._main, *self._other_outputs.values()):
            mark.release()
