from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from memrouter.edge import bodies
from memrouter.errors import BadRequest


class Asked(msgspec.Struct, kw_only=True):
    name: Annotated[str, msgspec.Meta(min_length=1)] = "none"
    count: int = 0


READ = {
    "all fields": (b'{"name": "a", "count": 2}', Asked(name="a", count=2)),
    "white space": (b' {\n"name":"a"} ', Asked(name="a")),
    "no fields": (b"{}", Asked()),
    "unknown fields are others' affair": (b'{"x": [1]}', Asked()),
    "nothing at all": (b"", Asked()),
    "escapes": (b'{"name": "\\u00e9\\u0000"}', Asked(name="é\0")),
}


@pytest.mark.parametrize(("body", "asked"), READ.values(), ids=READ)
def test_bodies(body: bytes, asked: Asked) -> None:
    assert bodies.decode(body, Asked, default=b"{}") == asked


WRONG = {
    "not JSON": (b"hello", "not valid JSON"),
    "cut off": (b'{"name": "a"', "not valid JSON"),
    "more behind it": (b"{} {}", "not valid JSON"),
    "not UTF-8": (b'{"name": "\xff"}', "not valid JSON|not as it should be"),
    "a lone surrogate": (b'{"name": "\\ud800"}', "not valid JSON|not as it should be"),
    "an array": (b"[]", "not as it should be"),
    "null": (b"null", "not as it should be"),
    "another type": (b'{"count": "2"}', r"`int`.*count"),
    "too short": (b'{"name": ""}', "length >= 1.*name"),
    "a number beyond 64 bits": (b'{"count": 1e400}', "not"),
    "nested deeply": (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
}


@pytest.mark.parametrize(("body", "match"), WRONG.values(), ids=WRONG)
def test_a_wrong_body_is_named(body: bytes, match: str) -> None:
    with pytest.raises(BadRequest, match=match) as refused:
        bodies.decode(body, Asked)
    assert refused.value.hint


def test_an_empty_body_is_wrong_where_one_is_needed() -> None:
    with pytest.raises(BadRequest, match="not valid JSON"):
        bodies.decode(b"", Asked)


def test_an_answer_is_json() -> None:
    response = bodies.answer({"a": [1, None]}, 201)
    assert response.status_code == 201
    assert response.body == b'{"a":[1,null]}'
    assert response.headers["content-type"] == "application/json"
