"""Whatever a file holds, decoding it gives crops or an ImageError that says why in a sentence."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image, ImageFile, JpegImagePlugin

from models.decoding.images import decode
from models.errors import ImageError
from tests.models.pictures import BLUE, FORMATS, RED, WHITE, encode, noise, one, png, quadrants, tiff, transform

REASONS = {"empty", "not-an-image", "truncated", "corrupt", "too-large"}


def refusal(data: bytes, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(BytesIO(data), [transform(32)], **options)
    return checked(caught.value)


def outcome(data: bytes) -> str:
    try:
        one(BytesIO(data), 16)
    except ImageError as error:
        return checked(error).reason
    return "decoded"


def checked(error: ImageError) -> ImageError:
    """Every message is one plain sentence that shows nothing of the machinery."""
    message = str(error)
    assert error.reason in REASONS
    assert message[0].isupper()
    assert message.endswith(".")
    assert "\n" not in message
    assert not any(word in message for word in ("<", "object at", "Pillow", "PIL", "Error", "BytesIO", "MAX_"))
    return error


# What is no image at all


def test_empty() -> None:
    assert refusal(b"").reason == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        bytes(100_000),
        b"hello\n",
        b"BMW is a maker of cars, and this is a text about them.",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(100),
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\xff\xd8",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\0\0\1\0\1\0\x10\x10",
        b"8BPS\0\1",
    ],
)
def test_not_an_image(data: bytes) -> None:
    assert refusal(data).reason == "not-an-image"


def test_other_formats_of_the_library_are_not_read() -> None:
    for format_ in ("PPM", "ICO", "TGA", "PCX", "JPEG2000", "PDF", "EPS"):
        file = BytesIO()
        noise(32, 32).save(file, format_)
        assert refusal(file.getvalue()).reason == "not-an-image"


# What is cut short or damaged


@pytest.mark.parametrize("format_", FORMATS)
def test_cut_short_at_any_byte(format_: str) -> None:
    data = encode(noise(24, 16), format_).getvalue()
    reasons = [outcome(data[:length]) for length in range(32, len(data))]
    assert set(reasons) <= {"truncated", "corrupt", "decoded"}
    unmarked = {"TIFF": 10, "AVIF": 1, "HEIF": 1}  # between two of their parts, nothing shows that a third should come
    assert reasons.count("corrupt") <= unmarked.get(format_, 0)
    assert "corrupt" not in reasons[-100:]
    assert reasons.count("decoded") <= 20  # nothing but an end mark is missing
    assert "decoded" not in reasons[:-20]


def test_a_lenient_library_is_not_what_this_relies_on() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    data = encode(noise(64, 48), "JPEG").getvalue()
    assert refusal(data[:-200], reduce=False).reason == "truncated"
    assert refusal(data[:-200]).reason == "truncated"


def damaged_png() -> bytes:
    data = encode(noise(32, 32), "PNG").getvalue()
    at = data.index(b"IDAT") + 40
    return data[:at] + bytes(60) + data[at + 60 :]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(damaged_png(), id="png-data"),
        pytest.param(png((8, 8), 3, 0, b"\0" * 80).getvalue(), id="png-depth"),
        pytest.param(png((0, 8), 8, 0, b"\0" * 80).getvalue(), id="png-no-width"),
        pytest.param(tiff(b"\0" * 64, (8, 8), bits=8, photometric=77).getvalue(), id="tiff-photometric"),
        pytest.param(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\x55" * 50 + b"\xff\xd9", id="jpeg-no-frame"),
        pytest.param(b"GIF89a" + bytes(30) + b";", id="gif-nothing"),
    ],
)
def test_damaged(data: bytes) -> None:
    assert refusal(data).reason == "corrupt"


@pytest.mark.parametrize("format_", FORMATS)
def test_any_damage_gives_crops_or_an_image_error(format_: str) -> None:
    data = encode(noise(48, 40), format_).getvalue()
    rng = np.random.default_rng(5)
    survived = 0
    for _ in range(60):
        victim = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            victim[place] = rng.integers(0, 256)
        try:
            assert one(BytesIO(victim), 32).shape == (32, 32, 3)
            survived += 1
        except ImageError as error:
            checked(error)
    assert survived < 60


# What is too large


def sized(width: int, height: int) -> dict[str, bytes]:
    """Files that claim a size in their header and have hardly any pixels."""
    gif = b"GIF89a" + struct.pack("<HH", min(width, 65535), min(height, 65535)) + b"\0\0\0" + b","
    gif += struct.pack("<HHHHB", 0, 0, min(width, 65535), min(height, 65535), 0) + b"\x02\x01\x44\x00;"
    bmp = b"BM" + struct.pack("<IIIIiiHHIIIIII", 100, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(46)
    jpeg = encode(noise(8, 8), "JPEG").getvalue()
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg = jpeg[:at] + struct.pack(">HH", min(height, 65535), min(width, 65535)) + jpeg[at + 4 :]
    webp = b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0"
    webp += struct.pack("<I", min(width, 16384) - 1)[:3] + struct.pack("<I", min(height, 16384) - 1)[:3] + bytes(78)
    heic = encode(noise(64, 64), "HEIF").getvalue()
    avif = encode(noise(64, 64), "AVIF").getvalue()
    patched = []
    for data in (heic, avif):
        at = data.index(b"ispe") + 8
        patched.append(data[:at] + struct.pack(">II", min(width, 16000), min(height, 16000)) + data[at + 8 :])
    return {
        "PNG": png((width, height), 8, 2, b"\0" * 80).getvalue(),
        "GIF": gif,
        "BMP": bmp,
        "JPEG": jpeg,
        "WEBP": webp,
        "TIFF": tiff(b"\0" * 64, (width, height), bits=8).getvalue(),
        "HEIF": patched[0],
        "AVIF": patched[1],
    }


@pytest.mark.parametrize("format_", FORMATS)
def test_bomb_is_refused_before_a_pixel_is_decoded(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sized(60_000, 60_000)[format_]

    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("pixels were asked for")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert refusal(data).reason == "too-large"
    assert refusal(data, max_pixels=1_000_000).reason == "too-large"


@pytest.mark.parametrize("format_", FORMATS)
def test_limit_is_exact(format_: str) -> None:
    file = encode(noise(50, 40), format_)
    assert one(file, 32, max_pixels=2000).shape == (32, 32, 3)
    error = refusal(file.getvalue(), max_pixels=1999)
    assert error.reason == "too-large"
    assert "50 x 40" in str(error)
    assert "1999" in str(error)


def test_limit_may_lie_above_the_library_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert one(encode(noise(50, 40), "TIFF"), 32).shape == (32, 32, 3)
    assert Image.MAX_IMAGE_PIXELS == 100_000_000
    one(encode(noise(50, 40), "TIFF"), 32, max_pixels=5000)
    assert Image.MAX_IMAGE_PIXELS == 100_000_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert one(encode(noise(50, 40), "WEBP"), 32).shape == (32, 32, 3)


def test_more_pixels_than_the_header_says() -> None:
    data = encode(noise(512, 512), "HEIF").getvalue()
    at = data.index(b"ispe") + 8
    assert refusal(data[:at] + struct.pack(">II", 64, 64) + data[at + 8 :]).reason == "too-large"


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(50_000_000))),
        (b"zTXt", b"comment\0\0" + zlib.compress(bytes(50_000_000))),
        (b"iTXt", b"comment\0\1\0\0\0" + zlib.compress(bytes(50_000_000))),
    ],
)
def test_bomb_in_a_text_or_profile_chunk_is_not_unpacked(chunk: tuple[bytes, bytes]) -> None:
    tracemalloc.start()
    try:
        assert one(png((8, 8), 8, 0, b"\0" * 72, chunk), 8).max() == 0
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_more_bytes_than_any_allowed_image_needs() -> None:
    class Huge(BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            return 1 << 40 if whence == 2 else super().seek(offset, whence)

    with pytest.raises(ImageError) as caught:
        decode(Huge(encode(noise(8, 8), "PNG").getvalue()), [transform(8)])
    assert checked(caught.value).reason == "too-large"


# What the plug-ins may raise, and say


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (MemoryError(), "too-large"),
        (OSError("out of memory error when reading image file"), "too-large"),
        (Image.DecompressionBombError("Image size (9 pixels) exceeds limit"), "too-large"),
        (RecursionError("maximum recursion depth exceeded"), "corrupt"),
        (struct.error("unpack requires a buffer of 4 bytes"), "corrupt"),
        (zlib.error("Error -3 while decompressing data"), "corrupt"),
        (SyntaxError("not identified by this driver"), "corrupt"),
        (ValueError("embedded null byte"), "corrupt"),
        (EOFError(), "corrupt"),
        (IndexError("bytes index out of range"), "corrupt"),
        (OverflowError("Python int too large to convert to C long"), "corrupt"),
        (ZeroDivisionError(), "corrupt"),
        (AssertionError(), "corrupt"),
        (RuntimeError("decoder"), "corrupt"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "corrupt"),
        (OSError("image file is truncated (3 bytes not processed)"), "truncated"),
    ],
)
def test_everything_raised_becomes_an_image_error(
    fault: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: object) -> None:
        raise fault

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", load)
    assert refusal(encode(quadrants(), "JPEG").getvalue()).reason == reason


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit])
def test_being_stopped_is_not_the_image_s_fault(fault: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise fault

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", load)
    with pytest.raises(fault):
        one(encode(quadrants(), "JPEG"), 32)


def test_a_failing_disk_is_not_the_image_s_fault() -> None:
    class Failing(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if size == -1:  # all that there is, once its beginning told of an image
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(OSError, match="Input/output") as caught:
        decode(Failing(encode(noise(64, 64), "PNG").getvalue()), [transform(32)])
    assert caught.value.errno == 5


def strange_apng() -> BytesIO:
    """It says that it is an animation, of no frames."""
    return png((8, 8), 8, 2, (b"\0" + bytes(RED) * 8) * 8, (b"acTL", bytes(8)))


def strange_multi_picture() -> BytesIO:
    """It says that it holds several pictures, and the list of them is garbage."""
    data = encode(Image.new("RGB", (8, 8), RED), "JPEG").getvalue()
    return BytesIO(data[:2] + b"\xff\xe2" + struct.pack(">H", 14) + b"MPF\0garbage!" + data[2:])


def strange_tiff() -> BytesIO:
    """One of its tags, the last, has more data than the file has bytes."""
    data = tiff(b"\xff" * 64, (8, 8), bits=8).getvalue()
    at = data.index(struct.pack("<HHI", 339, 4, 1))
    return BytesIO(data[:at] + struct.pack("<HHII", 40000, 7, 100_000, 8) + data[at + 12 :])


STRANGE = [(strange_apng, RED), (strange_multi_picture, RED), (strange_tiff, WHITE)]


@pytest.mark.parametrize(("make", "colour"), STRANGE)
@pytest.mark.parametrize("action", ["error", "always"])
def test_warnings_of_the_library_go_nowhere(
    make: Callable[[], BytesIO], colour: tuple[int, ...], action: Literal["error", "always"]
) -> None:
    with warnings.catch_warnings(record=True) as seen:
        one(encode(noise(8, 8), "PNG"), 8)
        warnings.simplefilter(action)  # in front of whatever the first decode may have set
        assert np.abs(one(make(), 8).astype(int) - colour).max() <= 2
        assert seen == []
        with pytest.warns(UserWarning, match="ours"):
            warnings.warn("ours", stacklevel=1)


@pytest.mark.parametrize("make", [strange_apng, strange_tiff])
def test_strange_files_do_make_the_library_warn(make: Callable[[], BytesIO]) -> None:
    with pytest.warns(UserWarning, match=r"Invalid APNG|Tag data larger"), Image.open(make()) as image:
        image.load()


def test_nothing_is_logged_or_printed(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    many = tiff(b"\0" * 64, (8, 8), bits=8).getvalue()
    at = many.index(struct.pack("<HHI", 277, 4, 1)) + 8
    with caplog.at_level("DEBUG"):
        assert refusal(many[:at] + struct.pack("<I", 1000) + many[at + 4 :]).reason == "corrupt"
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_key_of_a_text_chunk_does_not_pass_for_transparency() -> None:
    picture = encode(Image.new("RGB", (8, 8), BLUE), "PNG").getvalue()
    text = struct.pack(">I", 14) + b"tEXttransparency\0x"
    text += struct.pack(">I", zlib.crc32(text[4:]))
    assert one(BytesIO(picture[:33] + text + picture[33:]), 8)[0, 0].tolist() == list(BLUE)


# Real hostile files


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["nasty_gofuzz", "nasty_heif_avif"])
def test_fuzzed_files_decode_or_say_why(name: str, shared_data: Path) -> None:
    outcomes = {"decoded": 0, **dict.fromkeys(REASONS, 0)}
    for path in sorted(path for path in (shared_data / name).rglob("*") if path.is_file()):
        with path.open("rb") as file:
            try:
                (crop,) = decode(file, [transform(64, 56)], max_pixels=50_000_000)
            except ImageError as error:
                outcomes[checked(error).reason] += 1
                continue
        assert crop.shape == (56, 56, 3)
        outcomes["decoded"] += 1
    assert outcomes["decoded"] >= (250 if name == "nasty_gofuzz" else 15)
    assert outcomes["truncated"] > 0
    assert outcomes["corrupt"] > 0


def test_libtiff_does_not_write_to_standard_error(shared_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in sorted((shared_data / "nasty_gofuzz" / "tiff").iterdir()):
        with path.open("rb") as file, contextlib.suppress(ImageError):
            decode(file, [transform(64, 64)])
    assert capfd.readouterr().err == ""
