"""Lines, greetings and versions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.control import protocol
from daemon.control.protocol import FAULT, Busy, Malformed, Refused
from models.text.language import speaking

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _JSON, max_size=4))
@settings(max_examples=100)
def test_a_message_comes_back_as_it_was(message: dict[str, object]) -> None:
    line = protocol.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert protocol.decode(line[:-1]) == message


def test_a_name_that_is_not_utf8_comes_back_as_it_was() -> None:
    assert protocol.decode(protocol.encode({"path": "caf\udce9.jpg"})) == {"path": "caf\udce9.jpg"}


def test_what_is_too_long_or_no_json_is_not_sent() -> None:
    for message in ({"text": "x" * protocol.LONGEST_LINE}, {"number": float("nan")}):
        with pytest.raises(ValueError, match=r"long|JSON"):
            protocol.encode(message)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[1]", b"3", b"null", b"\xff", b'{"a": NaN}', b"[" * 100_000, b"9" * 10_000, b"\0" * 10]
)
def test_anything_else_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        protocol.decode(line)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"id": 1},
        {"id": "1", "method": "status"},
        {"id": True, "method": "status"},
        {"id": -1, "method": "status"},
        {"id": 1 << 60, "method": "status"},
        {"id": 1, "method": 2},
        {"id": 1, "method": "status", "params": []},
        {"id": 1, "method": "status", "more": 1},
    ],
)
def test_a_call_has_an_id_a_method_and_parameters(message: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        protocol.request(message)


def test_a_version_that_differs_is_said_by_whoever_reads_it_and_which_is_older() -> None:
    older, newer = {"imagesortd": protocol.VERSION - 1}, {"imagesortd": protocol.VERSION + 1}
    restart = "daemon is of an older version than this command: restart the daemon"
    upgrade = "command is of an older version than the running daemon: upgrade it"
    for read, message, sentence in (
        (protocol.language_of, newer, restart),
        (protocol.output_of, older, restart),
        (protocol.language_of, older, upgrade),
        (protocol.output_of, newer, upgrade),
    ):
        with pytest.raises(Malformed, match=sentence):
            read(message)


def test_the_language_is_that_of_the_command() -> None:
    with speaking("ko"):
        assert protocol.command_greeting() == {"imagesortd": protocol.VERSION, "language": "ko"}
    assert protocol.language_of({"imagesortd": protocol.VERSION, "language": "ko"}) == "ko"
    assert protocol.language_of({"imagesortd": protocol.VERSION, "language": "tlh"}) == "en"
    assert protocol.language_of({"imagesortd": protocol.VERSION}) == "en"


def test_an_error_is_read_as_it_was_made() -> None:
    refused = protocol.refusal({"id": 1, **protocol.error("no", 3)})
    assert refused is not None
    assert (str(refused), refused.exit_code, type(refused)) == ("no", 3, Refused)
    assert isinstance(protocol.refusal(protocol.error("busy", 2, is_busy=True)), Busy)
    assert protocol.refusal({"id": 1, "result": {}}) is None


@pytest.mark.parametrize("error", [3, {}, {"sentence": "no"}, {"sentence": 1, "exit": 2}, {"sentence": "", "exit": 0}])
def test_an_error_that_cannot_be_read_is_a_fault(error: object) -> None:
    refused = protocol.refusal({"error": error})
    assert refused is not None
    assert refused.exit_code == FAULT
