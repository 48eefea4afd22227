"""Log problems with folders and files of an inbox, each once for as long as it lasts."""

from __future__ import annotations

from loguru import logger

from models.text.language import tr

#: Complaints that are remembered, so that they are not repeated.
MOST_COMPLAINTS = 1_000


class InboxComplaints:
    """Logs the complaints about one inbox. ``turn`` is the number of a walk through the whole of it."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, int | None], int] = {}  # the turn in which each last occurred

    def of_folder(self, folder: str, error: OSError, turn: int) -> None:
        """Log that a folder cannot be read."""
        if self.is_new(folder, error.errno, turn):
            logger.warning(tr("cannot look into '{folder}': {reason}", folder=folder, reason=error.strerror or error))

    def of_file(self, path: str, what: str, turn: int) -> None:
        """Log why something with the name of an image is left there."""
        if self.is_new(path, None, turn):
            logger.warning(tr("'{path}' stays where it is: {what}", path=path, what=what))

    def is_new(self, what: str, error_number: int | None, turn: int) -> bool:
        """Whether a complaint was not logged yet, and there is room to remember it."""
        complaint = (what, error_number)
        is_known = complaint in self._met
        has_room = len(self._met) < MOST_COMPLAINTS
        if is_known or has_room:
            self._met[complaint] = turn
        return has_room and not is_known

    def forget_before(self, turn: int) -> None:
        """Forget complaints that did not occur in this turn, if there is no room for new ones."""
        if len(self._met) >= MOST_COMPLAINTS:
            self._met = {complaint: met for complaint, met in self._met.items() if met == turn}
