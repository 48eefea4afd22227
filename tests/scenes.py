"""Pictures of everyday things, drawn on the spot: for screenshots, where patterns would say little."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from PIL import Image, ImageDraw, ImageFilter

#: Pixels of a side while a picture is drawn; it is made smaller then, which smooths its edges.
_SIDE = 1024
_Pen = ImageDraw.ImageDraw


def scene(kind: str, seed: int, side: int) -> Image.Image:
    """Draw a picture of a kind; every seed gives another one."""
    chance = random.Random(f"{kind} {seed}")
    picture = Image.new("RGB", (_SIDE, _SIDE))
    SCENES[kind](picture, ImageDraw.Draw(picture), chance)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def _shade(chance: random.Random, red: int, green: int, blue: int, spread: int = 22) -> tuple[int, int, int]:
    first, second, third = (max(0, min(255, one + chance.randint(-spread, spread))) for one in (red, green, blue))
    return first, second, third


def _sky(picture: Image.Image, top: tuple[int, int, int], bottom: tuple[int, int, int]) -> None:
    ramp = Image.linear_gradient("L").resize((_SIDE, _SIDE))
    picture.paste(Image.composite(Image.new("RGB", ramp.size, bottom), Image.new("RGB", ramp.size, top), ramp))


def _mountains(picture: Image.Image, pen: _Pen, chance: random.Random) -> None:
    _sky(picture, _shade(chance, 105, 150, 200), _shade(chance, 245, 214, 180))
    x, y = chance.randint(150, 850), chance.randint(120, 330)
    pen.ellipse((x - 70, y - 70, x + 70, y + 70), fill=(255, 240, 205))
    for depth, base in enumerate((420, 560, 720)):
        ink = _shade(chance, 120 - 32 * depth, 135 - 25 * depth, 150 - 30 * depth, 10)
        ridge = [(-40, _SIDE)]
        for step in range(-40, _SIDE + 200, 110):
            ridge.append((step, base + chance.randint(-110, 90)))
        pen.polygon([*ridge, (_SIDE + 200, _SIDE)], fill=ink)


def _boats(picture: Image.Image, pen: _Pen, chance: random.Random) -> None:
    _sky(picture, _shade(chance, 140, 190, 225), _shade(chance, 225, 235, 240))
    pen.rectangle((0, 600, _SIDE, _SIDE), fill=_shade(chance, 50, 110, 150))
    for _ in range(26):
        x, y = chance.randint(-60, _SIDE), chance.randint(620, _SIDE)
        pen.line((x, y, x + chance.randint(60, 170), y), fill=(150, 190, 212), width=5)
    for _ in range(chance.randint(1, 2)):
        x, size = chance.randint(180, 620), chance.uniform(0.7, 1.15)
        hull, sail = _shade(chance, 150, 60, 50, 50), _shade(chance, 245, 240, 228, 10)
        waterline = 640 + 60 * size
        points = [(0, 0), (330, 0), (270, 85), (60, 85)]
        pen.polygon([(x + size * a, waterline + size * b) for a, b in points], fill=hull)
        pen.line((x + size * 165, waterline, x + size * 165, waterline - size * 430), fill=(90, 70, 55), width=10)
        pen.polygon([(x + size * a, waterline - size * b) for a, b in ((180, 30), (180, 420), (320, 30))], fill=sail)
        pen.polygon([(x + size * a, waterline - size * b) for a, b in ((150, 60), (150, 370), (40, 60))], fill=sail)


def _cats(picture: Image.Image, pen: _Pen, chance: random.Random) -> None:
    picture.paste(_shade(chance, 205, 190, 170, 40), (0, 0, _SIDE, _SIDE))
    fur = chance.choice([(225, 150, 80), (90, 90, 98), (240, 232, 220), (60, 54, 52), (190, 160, 130)])
    x, y = chance.randint(440, 580), chance.randint(500, 590)
    for way in (-1, 1):
        pen.polygon([(x + way * 255, y - 90), (x + way * 225, y - 380), (x + way * 50, y - 215)], fill=fur)
        ear = [(x + way * 220, y - 140), (x + way * 205, y - 310), (x + way * 95, y - 210)]
        pen.polygon(ear, fill=(226, 160, 158))
    pen.ellipse((x - 275, y - 255, x + 275, y + 240), fill=fur)
    eye = chance.choice([(120, 170, 90), (210, 170, 60), (110, 160, 200)])
    for way in (-1, 1):
        pen.ellipse((x + way * 115 - 62, y - 75, x + way * 115 + 62, y + 45), fill=eye)
        pen.ellipse((x + way * 115 - 19, y - 68, x + way * 115 + 19, y + 38), fill=(22, 22, 22))
        for lift in (-25, 10, 45):
            pen.line((x + way * 70, y + 110, x + way * 330, y + 100 + lift), fill=(250, 250, 250), width=6)
    pen.polygon([(x - 34, y + 70), (x + 34, y + 70), (x, y + 112)], fill=(210, 120, 120))
    pen.arc((x - 80, y + 85, x, y + 160), 10, 170, fill=(40, 35, 35), width=8)
    pen.arc((x, y + 85, x + 80, y + 160), 10, 170, fill=(40, 35, 35), width=8)


def _receipts(picture: Image.Image, pen: _Pen, chance: random.Random) -> None:
    picture.paste(_shade(chance, 120, 95, 75, 35), (0, 0, _SIDE, _SIDE))
    left, right = chance.randint(230, 300), chance.randint(710, 800)
    pen.rectangle((left, 90, right, 950), fill=(250, 249, 244))
    pen.rectangle((left + 90, 140, right - 90, 180), fill=(50, 50, 50))
    for y in range(240, 780, 52):
        pen.rectangle((left + 45, y, left + 45 + chance.randint(90, 240), y + 16), fill=(120, 120, 120))
        pen.rectangle((right - 45 - chance.randint(50, 100), y, right - 45, y + 16), fill=(95, 95, 95))
    pen.rectangle((left + 45, 800, right - 45, 806), fill=(120, 120, 120))
    pen.rectangle((right - 230, 835, right - 45, 870), fill=(40, 40, 40))
    picture.paste(picture.rotate(chance.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=picture.getpixel((5, 5))))


def _trees(picture: Image.Image, pen: _Pen, chance: random.Random) -> None:
    _sky(picture, _shade(chance, 150, 195, 230), _shade(chance, 235, 240, 225))
    pen.rectangle((0, 720, _SIDE, _SIDE), fill=_shade(chance, 120, 155, 85))
    for x in sorted(chance.sample(range(80, 950, 90), chance.randint(2, 4))):
        height, green = chance.randint(330, 520), _shade(chance, 60, 115, 65, 30)
        pen.rectangle((x - 22, 800 - height // 2, x + 22, 810), fill=(105, 75, 50))
        for level in range(3):
            y, width = 800 - height + level * height // 4, 90 + 45 * level
            pen.polygon([(x, y - 90), (x - width, y + height // 4), (x + width, y + height // 4)], fill=green)
    picture.paste(picture.filter(ImageFilter.GaussianBlur(1)))


#: What there is to draw.
SCENES: Mapping[str, Callable[[Image.Image, _Pen, random.Random], None]] = {
    "boats": _boats,
    "cats": _cats,
    "mountains": _mountains,
    "receipts": _receipts,
    "trees": _trees,
}
