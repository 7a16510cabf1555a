"""Verbatim JSON: what is taken apart and joined again has the same values, byte for byte."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrouter.errors import BadRequest
from memrouter.wire import raw

ODD_VALUES = {
    "integer beyond 64 bits": b"123456789012345678901234567890",
    "float that is whole": b"1.0",
    "float beyond 64 bits": b"-1E400",
    "negative zero": b"-0",
    "escapes": rb'"\u00e9 \/ \" \\ \n"',
    "surrogate pair": rb'"\ud83d\ude00"',
    "lone surrogate": rb'"a\ud800"',
    "low before high": rb'"\udc00\ud800"',
    "backslash and letters": rb'"\\ud800"',
    "repeated keys within": b'{"a":1, "a" : 2}',
    "brackets in strings": rb'["}],:{[\"", "\\"]',
    "empty": b"{}",
    "null": b"null",
}


@pytest.mark.parametrize("value", ODD_VALUES.values(), ids=ODD_VALUES)
def test_values_keep_their_bytes(value: bytes) -> None:
    text = b' {"first" : ' + value + b' ,\n"k":[ ' + value + b" , 1 ]} "
    fields = raw.split_object(text)
    assert bytes(fields["first"]) == value
    assert [bytes(item) for item in raw.split_array(fields["k"])] == [value, b"1"]
    assert raw.join_object({"first": fields["first"]}) == b'{"first":' + value + b"}"
    assert raw.join_array([fields["first"]] * 2) == b"[" + value + b"," + value + b"]"


def test_of_repeated_keys_the_last_counts() -> None:
    assert raw.join_object(raw.split_object(b'{"a":1,"b":2,"a":3}')) == b'{"a":3,"b":2}'
    # and where the slow way is taken
    assert raw.join_object(raw.split_object(rb'{"a":"\ud800","a":3}')) == b'{"a":3}'


def test_keys_come_back_whatever_they_are() -> None:
    for text in (rb'{"\ud800":1}', '{"é\u2028":1}'.encode(), rb'{"\"\\":1}', b'{"":1}'):
        assert json.loads(raw.join_object(raw.split_object(text))) == json.loads(text)


def test_nothing_is_taken_apart_that_is_not_of_its_kind() -> None:
    for text in (b"[1]", b"1", b'"a"', b"", b'["\\ud800"]'):
        with pytest.raises(ValueError, match="not a JSON object"):
            raw.split_object(text)
    for text in (b"{}", b"null", b"", b'{"a":"\\ud800"}'):
        with pytest.raises(ValueError, match="not a JSON array"):
            raw.split_array(text)


def test_deep_nesting_below_the_limit() -> None:
    value = b"[" * 1000 + b"]" * 1000
    text = b'{"a":' + value + b',"b":1}'
    raw.parse(text)
    assert {k: bytes(v) for k, v in raw.split_object(text).items()} == {"a": value, "b": b"1"}
    assert [bytes(v) for v in raw.split_array(b"[" + value + b"]")] == [value]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values), st.booleans(), st.sampled_from([None, 1]))
def test_the_slow_way_agrees_with_the_fast_one(
    value: dict[str, Any], ascii: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass")
    text = raw.without_lone_surrogates(text)
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    fast = {k: bytes(v) for k, v in raw.split_object(text).items()}
    slow = {k: bytes(v) for k, v in raw._members_of_object(text.strip()).items()}
    assert slow == fast


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "white space": (b" \n", "empty"),
    "cut": (b'{"a":', "char 5"),
    "trailing": (b'{"a":1} x', "char 8"),
    "trailing comma": (b'{"a":1,}', "char"),
    "single quotes": (b"{'a':1}", "char 1"),
    "not an object": (b"[1]", "an array"),
    "null": (b"null", "null"),
    "a string": (b'"a"', "a string"),
    "a number": (b"1", "a number"),
    "a boolean": (b"true", "a boolean"),
    "NaN": (b'{"a":NaN}', "NaN"),
    "infinity": (b'{"a":-Infinity}', "-Infinity"),
    "NUL in a string": (b'{"a":"\x00"}', "control character"),
    "invalid UTF-8": (b'{"a":"\xff"}', "byte 6"),
    "encoded surrogate": (b'{"a":"\xed\xa0\x80"}', "byte 6"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "byte 0"),
    "nested too deeply": (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "deep"),
    "only opened": (b"[" * 100_000, "deep"),
}


@pytest.mark.parametrize(("body", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_with_a_reason_and_a_hint(body: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(said)) as refused:
        raw.parse(body)
    assert refused.value.hint


ACCEPTED: dict[str, tuple[bytes, Any]] = {
    "escaped NUL": (rb'{"a":"\u0000"}', {"a": "\x00"}),
    "lone surrogate": (rb'{"a":"x\ud800y","b":"\\ud800"}', {"a": "x\ufffdy", "b": "\\ud800"}),
    "pair": (rb'{"a":"\ud83d\ude00\ud83d"}', {"a": "😀\ufffd"}),
    "byte order mark": (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    "float beyond 64 bits": (b'{"a":1E400}', {"a": float("inf")}),
    "integer of 5,000 digits": (b'{"a":' + b"9" * 5000 + b',"b":"\\ud800"}', None),
}


@pytest.mark.parametrize(("body", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(body: bytes, value: Any) -> None:
    parsed = raw.parse(body)
    if value is not None:
        assert parsed == value
    assert list(raw.split_object(body)) == list(parsed)


@given(st.text(st.characters()), st.text(st.characters(codec="utf-8")), st.booleans())
def test_splicing_puts_text_in_front_and_leaves_the_string_as_it_is(
    text: str, own: str, ascii: bool
) -> None:
    string = json.dumps(own, ensure_ascii=ascii).encode()
    spliced = bytes(raw.splice(text, msgspec.Raw(string)))
    assert spliced.endswith(string[1:])
    clean = re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert json.loads(spliced) == clean + own


def test_lone_surrogates_of_our_own_become_replacement_characters() -> None:
    assert json.loads(bytes(raw.encode({"a": ["\ud800", "\\ud800"]}))) == {"a": ["�", "\\ud800"]}


def test_written_values_are_only_counted() -> None:
    assert raw.written(None) == ""
    assert raw.written({"a": [1]}) == '{"a":[1]}'
    assert raw.written(10**30) == "1" + "0" * 30


# --- a glance ---

LONG = '{"role":"user","content":"%s"}' % ("x" * 2_000)
GLANCES: dict[str, tuple[str, Any]] = {
    "short": ('{"a":1,"b":"x","c":[1,{"d":2}]}', {"a": 1, "b": "x", "c": [1, {"d": 2}]}),
    "white space": (' {"a" : [ 1 ] }\n', {"a": [1]}),
    "a long array": (f'{{"m":[{LONG}, 7, "x",{LONG}]}}', {"m": []}),
    "a long text": (f'{{"m":"{"é" * 2_000}"}}', {"m": "é" * 2_000}),
    "a key twice": ('{"a":1,"a":2}', {"a": 2}),
    "nothing": ("{}", {}),
}


@pytest.mark.parametrize(("body", "seen"), GLANCES.values(), ids=GLANCES)
def test_a_glance(body: str, seen: Any) -> None:
    found = raw.glance(body.encode())
    assert found is not None
    assert found[0] == seen
    assert list(found[1]) == list(seen)


@pytest.mark.parametrize("bad", sorted(REFUSED), ids=str)
def test_what_is_refused_is_never_glanced_at(bad: str) -> None:
    assert raw.glance(REFUSED[bad][0]) is None


WRONG = (b"{", b"}", b'"', b"\x01", b"\xff", b",", b"0", b"e", b"\\", b"tru", b"NaN", b"[")
BODY = b'{"model":"gpt","messages":[{"role":"user","content":"a\\n\xc3\xa9"},' + (
    b'{"x":[1,-2.5e3,null,true,{"y":"%b"}]}],"stream":false}' % (b"z" * 1_100)
)


@given(st.integers(0, len(BODY)), st.sampled_from(WRONG), st.integers(0, 2))
def test_a_glance_takes_only_what_is_valid(at: int, put: bytes, cut: int) -> None:
    body = BODY[:at] + put + BODY[at + cut :]
    found = raw.glance(body)
    try:
        parsed = raw.parse(body)
    except BadRequest:
        assert found is None
    else:
        if found is not None:
            assert list(found[0]) == list(parsed)
            assert found[0].get("model") == parsed.get("model")
