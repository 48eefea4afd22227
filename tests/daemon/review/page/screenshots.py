"""The pictures of the page in the READMEs: ``python -m tests.daemon.review.page.screenshots``.

Every picture in them is drawn by `tests.scenes`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from models.text.language import Language
from tests.daemon.review.page.browser import TILE, chromium, context_of
from tests.daemon.review.page.stub import ADDRESS, KINDS, Stub

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).resolve().parents[4] / "daemon" / "review" / "pictures"
NAMES: dict[Language, tuple[str, ...]] = {"en": KINDS, "ko": ("배", "고양이", "산", "영수증", "나무")}
#: A palette of this size keeps a picture under 150 kB.
COLOURS = 255


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with chromium() as browser:
        for language, names in NAMES.items():
            page = context_of(browser, 1120).new_page()
            Stub(count=60, language=language, classes=names, odd_names=False).open(page)
            page.wait_for_selector(TILE)
            page.keyboard.press("ArrowRight")
            save(page, f"unsure.{language}.png")
            page.goto(f"{ADDRESS}#model")
            page.wait_for_selector(".matrix")
            save(page, f"model.{language}.png")


def save(page: Page, name: str) -> None:
    page.wait_for_timeout(2000)  # for the thumbnails
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(COLOURS, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
