"""The errors of this program: those that a user can fix, and those of a single image."""

from __future__ import annotations


class UserError(Exception):
    """An error that the user can fix: its message is one sentence that says what to do; no traceback is shown."""

    exit_code = 2


class BackboneError(UserError):
    """An unknown or duplicate name of a backbone, or a plug-in that could not be imported."""


class WeightsUnavailable(UserError):
    """The weights of a backbone are not on this machine and cannot be downloaded; the message says how to get them."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, unsafe or does not fit. A daemon keeps the one in use."""


#: Why an image cannot be used; the last two are for decoders that hang or crash.
REASONS = ("empty", "not-an-image", "truncated", "corrupt", "too-large", "timeout", "crashed-decoder")


class ImageError(Exception):
    """An image that cannot be used; other images are not affected.

    ``reason`` is one of `REASONS`, and the name of its quarantine folder. ``message`` is a sentence for the user.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both arguments, so that it can be pickled
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message
