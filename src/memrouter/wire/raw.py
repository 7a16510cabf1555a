"""JSON as it was written: read it, take it apart, and put it together with the same bytes.

Decoding and encoding again would change big integers, `1.0`, `1E400`, escapes, lone surrogates and
repeated keys. So a body is read from its decoded form and changed as `msgspec.Raw`, slices of the
client's own bytes; only white space between the parts of what is taken apart may go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import msgspec
import orjson

from memrouter.domain import Json
from memrouter.errors import BadRequest

_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\n\r"
_HINT = "Send one JSON object in UTF-8, as the provider's API asks for"

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])

# Every escape in turn, so that `\\ud800`, a backslash and letters, is no surrogate.
_ESCAPE = re.compile(rb"\\(?:u[dD][89aAbB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{}:,]', re.DOTALL)


def parse(body: bytes) -> Json:
    """Decode a request body; lone surrogates in it become U+FFFD, they cannot be stored.

    raises  BadRequest if it is not one JSON object in UTF-8, saying where it goes wrong
    """
    body = body.removeprefix(_BOM)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _parse_leniently(body)
    if not isinstance(value, dict):
        raise BadRequest(f"The body is not a JSON object but {_kind(value)}", _HINT)
    return value


_LONG_BYTES = 1_024


def glance(body: bytes) -> tuple[Json, dict[str, msgspec.Raw]] | None:
    """A body of which no message is to be read: its fields, decoded and as they were written.

    Long arrays are taken for empty ones: what is in them is the provider's to judge. It takes half
    the time of `parse`. None if `parse` must see to it, or say what is wrong.
    """
    try:
        if not body.isascii():
            body.decode()
        fields = _object.decode(body)
        return {name: _glanced(value) for name, value in fields.items()}, fields
    except (ValueError, RecursionError):  # of all decoders
        return None


def _glanced(value: msgspec.Raw) -> Any:
    view = memoryview(value)
    return [] if len(view) > _LONG_BYTES and view[0] == _ARRAY else orjson.loads(view)


_ARRAY = ord("[")


def _parse_leniently(body: bytes) -> Any:
    """What the fast decoder refuses although it is JSON, or why it is none."""
    try:
        text = without_lone_surrogates(body).decode()
    except UnicodeDecodeError as e:
        raise BadRequest(f"The body is not valid UTF-8 at byte {e.start}", _HINT) from e
    if not text.strip():
        raise BadRequest("The body is empty", _HINT)
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_int=_integer)
    except json.JSONDecodeError as e:
        raise BadRequest(f"The body is not valid JSON: {e}", _HINT) from e
    except RecursionError as e:
        raise BadRequest("The body is nested too deeply", _HINT) from e


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not valid JSON: {name} is no JSON number", _HINT)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 4000 else float(digits)


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def without_lone_surrogates(text: bytes) -> bytes:
    """JSON in which each escape that is half a surrogate pair is U+FFFD; no length changes."""
    return _ESCAPE.sub(lambda m: rb"\ufffd" if m[1] else m[0], text)


def first_byte(value: msgspec.Raw) -> str:
    """The character that tells a JSON value's type: one of `{["tfn`, a digit or `-`."""
    view = memoryview(value)
    return chr(view[0]) if view else ""


def split_object(value: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Fields of a JSON object, in order; of repeated keys the last one's value.

    The object must be valid: `parse` has been here. Raises ValueError if it is no object.
    """
    try:
        return _object.decode(value)
    except (msgspec.DecodeError, RecursionError):  # lone surrogates, or nested deeply
        return _members_of_object(bytes(value).removeprefix(_BOM).strip(_WHITE))


def split_array(value: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """Items of a JSON array. The array must be valid. Raises ValueError if it is none."""
    try:
        return _array.decode(value)
    except (msgspec.DecodeError, RecursionError):
        text = bytes(value).strip(_WHITE)
    if text[:1] != b"[":
        raise ValueError("not a JSON array")
    return [msgspec.Raw(text[start:end].strip(_WHITE)) for _, start, end in _members(text)]


def _members_of_object(text: bytes) -> dict[str, msgspec.Raw]:
    if text[:1] != b"{":
        raise ValueError("not a JSON object")
    fields = {}
    key = ""
    for is_key, start, end in _members(text):
        if is_key:
            key = json.loads(text[start:end])
        else:
            fields[key] = msgspec.Raw(text[start:end].strip(_WHITE))
    return fields


def _members(text: bytes) -> Iterator[tuple[bool, int, int]]:
    """(is a key, start, end) of what stands in the outermost brackets of valid JSON."""
    depth = 0
    start = 1
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark == 0x22:  # a string, whatever it holds
            continue
        if depth == 1 and mark in b":,":
            yield mark == 0x3A, start, token.start()
            start = token.end()
        elif mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if depth == 0 and text[start : token.start()].strip(_WHITE):
                yield False, start, token.start()


def join_object(fields: Mapping[str, msgspec.Raw]) -> bytes:
    """A JSON object of these fields, their values byte for byte."""
    pieces: list[bytes | msgspec.Raw] = []
    for key, value in fields.items():
        pieces += (b"," if pieces else b"{", _key(key), b":", value)
    pieces.append(b"}" if pieces else b"{}")
    return b"".join(pieces)


def join_array(items: Iterable[msgspec.Raw]) -> bytes:
    """A JSON array of these items, byte for byte."""
    return b"[%b]" % b",".join(items)


def _key(key: str) -> bytes:
    try:
        return orjson.dumps(key)
    except TypeError:  # a lone surrogate; it was the client's, so it stays
        return json.dumps(key).encode()


def encode(value: Any) -> msgspec.Raw:
    """A value of our own as JSON; lone surrogates in it become U+FFFD."""
    try:
        return msgspec.Raw(orjson.dumps(value))
    except TypeError:
        return msgspec.Raw(without_lone_surrogates(json.dumps(value).encode()))


def written(value: Any) -> str:
    """A decoded value as JSON text, for what only counts its length; "" for None."""
    if value is None:
        return ""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):  # an integer beyond 64 bits
        return json.dumps(value)


def splice(text: str, string: msgspec.Raw) -> msgspec.Raw:
    """The JSON string `string` with `text` in front of what it holds, which is not decoded."""
    return msgspec.Raw(bytes(encode(text))[:-1] + memoryview(string)[1:])
