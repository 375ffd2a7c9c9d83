"""JSON as people write it by hand (service.dialects.loose_json)."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.dialects.loose_json import read_loose_json
from service.errors import InvalidRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex("[A-Za-z_$][A-Za-z0-9_$]*", fullmatch=True), inner),
    max_leaves=10,
)
SIGNS = st.text(st.sampled_from("{}[]\"'\\,: ab$1\n"), max_size=60)


def write_loosely(value, comma: str) -> str:
    """The same value with bare names, single quotes, and a comma before each end."""
    if isinstance(value, dict):
        return (
            "{"
            + "".join(f"{name} : {write_loosely(item, comma)}, " for name, item in value.items())[:-2]
            + (comma + "}" if value else "}")
        )
    if isinstance(value, list):
        return "[" + ", ".join(write_loosely(item, comma) for item in value) + (comma + "]" if value else "]")
    if isinstance(value, str):
        inner = json.dumps(value)[1:-1].replace('\\"', '"').replace("'", "\\'")
        return f"'{inner}'"
    return json.dumps(value)


@given(VALUES)
def test_json_is_read_as_json(value):
    assert read_loose_json(json.dumps(value).encode()) == value
    assert read_loose_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(VALUES, st.sampled_from(["", ",", " ,\n"]))
def test_the_same_is_read_when_it_is_written_by_hand(value, comma):
    assert read_loose_json(write_loosely(value, comma).encode()) == value


@given(SIGNS)
def test_whatever_comes_is_read_as_json_has_it_or_refused(text):
    try:
        strict = json.loads(text)
    except ValueError:
        with contextlib.suppress(InvalidRequest):
            read_loose_json(text.encode())
    else:
        assert read_loose_json(text.encode()) == strict


@pytest.mark.parametrize(
    "body",
    [
        "{a: NaN}",
        "{a: undefined}",
        "{a: b}",
        "{1: 2}",
        "{a: 1,, b: 2}",
        "{a: 'b}",
        '{a: "b}',
        "{a: 'b\\'}",
        "{a: 0x10}",
        "{/* a */}",
        "'",
        '"',
        "\\",
        "",
    ],
)
def test_what_else_json_has_not_is_refused(body):
    with pytest.raises(InvalidRequest, match="is not JSON"):
        read_loose_json(body.encode())


def test_what_is_wrong_is_said_of_the_body_as_it_was_sent():
    with pytest.raises(InvalidRequest, match=r"at character 1$"):
        read_loose_json(b"{a: 1, b: ]}")


@pytest.mark.parametrize("body", [b"\xff", b"[" * 200_000])
def test_what_cannot_be_read_at_all_is_refused(body):
    with pytest.raises(InvalidRequest):
        read_loose_json(body)


@pytest.mark.parametrize("part", ['"\\"', "'\\'", "a" * 9, ", ", ",\n" * 4, "a ", "a: ", "'\\", "{a:", "$"])
def test_long_bodies_of_any_kind_come_to_an_end(part):
    with pytest.raises(InvalidRequest):
        read_loose_json((part * (1_000_000 // len(part))).encode())
