"""Log problems with folders and files of an inbox, each once for as long as it lasts."""

from __future__ import annotations

from loguru import logger

from models.text.language import tr

#: How many are remembered, so as not to repeat them.
MOST_COMPLAINTS = 1_000


class InboxComplaints:
    """Logs the complaints about one inbox. A ``turn`` is a walk through the whole of it."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, int | None], int] = {}  # the turn in which each was last met

    def of_folder(self, folder: str, error: OSError, turn: int) -> None:
        """Say that a folder cannot be looked into."""
        if self.is_new(folder, error.errno, turn):
            logger.warning(tr("cannot look into '{folder}': {reason}", folder=folder, reason=error.strerror or error))

    def of_file(self, path: str, what: str, turn: int) -> None:
        """Say why something that has the name of an image stays."""
        if self.is_new(path, None, turn):
            logger.warning(tr("'{path}' stays where it is: {what}", path=path, what=what))

    def is_new(self, what: str, trouble: int | None, turn: int) -> bool:
        """Whether this has not been said yet; nothing is new where too much is remembered already."""
        complaint = (what, trouble)
        is_known = complaint in self._met
        has_room = len(self._met) < MOST_COMPLAINTS
        if is_known or has_room:
            self._met[complaint] = turn
        return has_room and not is_known

    def forget_before(self, turn: int) -> None:
        """Forget what was not met in this turn, where no more could be said for as long as the program runs."""
        if len(self._met) >= MOST_COMPLAINTS:
            self._met = {complaint: met for complaint, met in self._met.items() if met == turn}
