"""Say why a request is refused, with the status of HTTP for it."""

from __future__ import annotations

from models.text.language import tr


class Refusal(Exception):
    """A request that is not answered as it was meant; the message is a sentence for the reader."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def no_image() -> Refusal:
    """Refuse an id that no image has."""
    return Refusal(404, tr("there is no such image"))


def image_changed() -> Refusal:
    """Refuse to show what is no longer the image that was filed."""
    return Refusal(409, tr("the image was changed or moved since it was filed"))


def ending() -> Refusal:
    """Refuse what would have to be waited for while the server ends: the page asks again."""
    return Refusal(503, tr("the server of the page is ending"))
