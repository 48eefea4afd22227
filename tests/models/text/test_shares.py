from __future__ import annotations

import pytest

from models.text.shares import read_share


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("0.05", 0.05),
        ("5%", 0.05),
        (" 5 % ", 0.05),
        ("0.5%", 0.005),
        ("１%", 0.01),
        ("5％", 0.05),
        ("1/50", 0.02),
        ("1 / 50", 0.02),
        (".5/100", 0.005),
        ("5e-2", 0.05),
        ("1", 1.0),
        ("-5%", -0.05),
    ],
)
def test_a_share_is_read_as_people_write_it(text: str, share: float) -> None:
    assert read_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["", "%", "five", "5 percent", "1/0", "0/0", "1/", "/2", "nan", "inf", "nan%", "1e999", "5%%", "1/2/3"]
)
def test_what_is_no_share_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_share(text)
