"""The errors of this program: a user's mistake is a sentence, one image's fault stays with that image."""

from __future__ import annotations


class UserError(Exception):
    """Something the person at the keyboard can put right: one sentence that says what to do, no traceback."""

    exit_code = 2


class BackboneError(UserError):
    """An unknown backbone name, a duplicate one, or a plug-in that could not be imported."""


class WeightsUnavailable(UserError):
    """The weights of a backbone are neither here nor obtainable; the sentence says how to get them."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, unsafe or does not fit; the one being served stays."""


#: Why an image cannot be used; the last two where a decoder was given up.
REASONS = ("empty", "not-an-image", "truncated", "corrupt", "too-large", "timeout", "crashed-decoder")


class ImageError(Exception):
    """One image that cannot be used. Its neighbours go on.

    ``reason`` is one of `REASONS` (also the name of its quarantine folder). The message is a sentence for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives the way between two processes
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message
