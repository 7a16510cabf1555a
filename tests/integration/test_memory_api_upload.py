"""Uploads and exports: every line stored once, every bad line named, nothing past the limits."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import World
from .memory_client import SESSION, UPLOAD, Api


@pytest.fixture
async def api(world: World) -> Api:
    return Api(world, await world.key())


# --- export and import ---


async def test_an_export_can_be_uploaded_again(api: Api) -> None:
    await api.world.ask(api.key, "My dog is called Rex.")
    await api.say("tea\u2028\n\0 \U0001f600", "coffee", **SESSION)
    await api("POST", "/upload", b'{"content":"Be nice.","role":"system","timestamp":1e12}')
    exported = await api.exported()
    assert len(exported) == 5
    other = Api(api.world, await api.world.key())
    lines = (await api.raw("GET", "/export")).body
    done = await other("POST", "/upload", lines)
    assert done["stats"]["stored"] == 5
    assert await other.exported() == exported
    for _ in range(2):  # it holds them already, as the vault does that they come from
        assert (await other("POST", "/upload", lines))["stats"]["stored"] == 5
        done = await api("POST", "/upload", lines)
        assert (done["stats"]["stored"], done["new"]) == (5, 0)
    assert await other.exported() == exported == await api.exported()
    assert len(await other.exported(**SESSION)) == 2


async def test_a_conversation_that_was_imported_goes_on(api: Api) -> None:
    await api.world.ask(api.key, "My dog is called Rex.", "Noted.", "And my cat is Tom.")
    known = await api.texts()
    other = Api(api.world, await api.world.key())
    await other("POST", "/upload", (await api.raw("GET", "/export")).body)
    await api.world.ask(other.key, *known, "And my bird is Kim.")
    assert (await other.texts())[: len(known) + 1] == [*known, "And my bird is Kim."]


async def test_what_was_deleted_comes_back_by_upload(api: Api) -> None:
    await api.say("My dog is called Rex.", "Noted.")
    lines = (await api.raw("GET", "/export")).body
    await api("DELETE", "/memory_1")
    for _ in range(2):
        await api("POST", "/upload", lines)
    assert sorted(await api.texts()) == ["My dog is called Rex.", "Noted."]


async def test_an_empty_vault_exports_nothing(api: Api) -> None:
    answer = await api.raw("GET", "/export")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"].startswith("application/x-ndjson")


async def test_the_same_upload_is_stored_once(api: Api) -> None:
    for new in (3, 0, 0):
        done = await api("POST", "/upload", UPLOAD)
        assert done["stats"] == {"inputItems": 3, "memories": 3, "stored": 3, "failed": 0}
        assert (done.get("new", 3), done.get("known", 0)) == (new, 3 - new)
        assert ("; 3 of them were there already" in done["message"]) is (not new)
        api.world.clock.advance(days=1)
    assert len(await api.texts()) == 3
    later = b'{"content": "User prefers dark mode", "timestamp": 1733000000001}'
    await api("POST", "/upload", later)
    assert len(await api.texts()) == 4


async def test_uploads_at_the_same_time_are_stored_once(api: Api) -> None:
    lines = b"\n".join(b'{"content":"Item %d"}' % n for n in range(300))
    await asyncio.gather(*(api("POST", "/upload", lines) for _ in range(3)))
    assert (await api("GET", "/stats"))["memories"] == 300


async def test_the_session_of_a_line_wins(api: Api) -> None:
    lines = b'{"content":"a","session_id":"line"}\n{"content":"b"}\n{"content":"c","session_id":7}'
    await api("POST", "/upload", lines, x_session_id="header")
    assert await api.texts(x_session_id="line") == ["a"]
    assert await api.texts(x_session_id="header") == ["b"]
    assert await api.texts(x_session_id="7") == ["c"]


FAILED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{not json", "Not valid JSON"),
    "no object": (b"[]", "Expected `object`, got `array`"),
    "no content": (b'{"role":"user"}', "missing required field `content`"),
    "content of another type": (b'{"content":5}', "Expected `str`, got `int`"),
    "content null": (b'{"content":null}', "Expected `str`, got `null`"),
    "blank": (b'{"content":" \\n"}', "content is blank"),
    "empty": (b'{"content":""}', "content is blank"),
    "a role that is none": (b'{"content":"x","role":"wizard"}', "Invalid enum value 'wizard'"),
    "a tool": (b'{"content":"x","role":"tool"}', "Invalid enum value 'tool'"),
    "bad UTF-8": (b'{"content":"bad \xff bytes"}', "Not valid UTF-8"),
    "cut UTF-8": (b'{"content":"cut \xe2\x82"}', "Not valid UTF-8"),
    "half a surrogate pair": (b'{"content":"\\ud800"}', "Not valid JSON"),
    "two objects": (b'{"content":"x"} {"content":"y"}', "Not valid JSON"),
    "in words": (b'{"content":"y","timestamp":"yesterday"}', "Expected `int | float | null`"),
    "in digits": (b'{"content":"y","timestamp":"1733000000000"}', "Expected `int | float | null`"),
    "true": (b'{"content":"y","timestamp":true}', "Expected `int | float | null`"),
    "in seconds": (b'{"content":"y","timestamp":1733000000}', "in seconds, it seems"),
    "seconds with a fraction": (b'{"content":"y","timestamp":1733000000.5}', "in seconds"),
    "the epoch": (b'{"content":"y","timestamp":0}', "in seconds"),
    "negative": (b'{"content":"y","timestamp":-5}', "negative"),
    "in the future": (b'{"content":"y","timestamp":1780866000000}', "in the future"),
    "in microseconds": (b'{"content":"y","timestamp":1733000000000000}', "in the future"),
    "absurd": (b'{"content":"y","timestamp":1e300}', "in the future"),
    "not a number": (b'{"content":"y","timestamp":NaN}', "Not valid JSON"),
    "a session too long": (b'{"content":"y","session_id":"%s"}' % (b"x" * 300), "session_id"),
    "a session with a line break": (b'{"content":"y","session_id":"a\\nb"}', "session_id"),
    "a session of another type": (b'{"content":"y","session_id":[]}', "session_id"),
    "a conversation too long": (
        b'{"content":"y","conversation_id":"%s"}' % (b"x" * 300),
        "conversation_id",
    ),
    "a place before the first": (b'{"content":"y","position":-1}', "position"),
    "nested deeply": (b"[" * 100_000, "Not"),
    "too long": (b'{"content":"%s"}' % (b"x" * (4 << 20)), "longer than 4,194,304 bytes"),
}


@pytest.mark.parametrize(("line", "reason"), FAILED.values(), ids=FAILED)
async def test_a_bad_line_is_named_and_the_rest_stored(api: Api, line: bytes, reason: str) -> None:
    body = b"\n".join([b'{"content":"first"}', b"", line, b'{"content":"last"}'])
    done = await api("POST", "/upload", body)
    assert done["status"] == "partial"
    assert done["stats"] == {"inputItems": 3, "memories": 2, "stored": 2, "failed": 1}
    assert not {"new", "known"} & done.keys()  # all were new
    [error] = done["errors"]
    assert error["line"] == 3
    assert reason in error["reason"]
    assert done["message"] == "Stored 2 memories from 3 items"
    assert await api.texts() == ["first", "last"]


async def test_of_many_bad_lines_the_first_are_named(api: Api) -> None:
    done = await api("POST", "/upload", b"[]\n" * 250)
    assert done["stats"] == {"inputItems": 250, "memories": 0, "stored": 0, "failed": 250}
    assert [error["line"] for error in done["errors"]] == list(range(1, 101))
    assert done["errorsLeftOut"] == 150


ODD_BUT_RIGHT: dict[str, bytes] = {
    "no line end": b'{"content":"a"}\n{"content":"b"}',
    "CR LF": b'{"content":"a"}\r\n{"content":"b"}\r\n',
    "blank lines": b'\n\n{"content":"a"}\n \t\n{"content":"b"}\n\n\n',
    "a byte order mark": b'\xef\xbb\xbf{"content":"a"}\n{"content":"b"}',
    "nulls": b'{"content":"a","role":null,"timestamp":null,"session_id":null}\n{"content":"b"}',
    "fields that we do not know": b'{"content":"a","x":{"y":[1]}}\n{"content":"b","id":"m_1"}',
    "a fraction of a millisecond": b'{"content":"a","timestamp":1733000000000.5}\n{"content":"b"}',
    "tomorrow, in another zone": b'{"content":"a","timestamp":1780743600000}\n{"content":"b"}',
}


@pytest.mark.parametrize("body", ODD_BUT_RIGHT.values(), ids=ODD_BUT_RIGHT)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "image/png", ""])
async def test_odd_uploads_that_are_right(api: Api, body: bytes, content_type: str) -> None:
    done = await api("POST", "/upload", body, content_type=content_type)
    assert done["status"] == "complete"
    assert await api.texts() == ["a", "b"]


async def test_an_upload_of_too_many_lines_stores_nothing(api: Api) -> None:
    wrong = await api("POST", "/upload", b'{"content":"x"}\n' * 10_001, status=413)
    assert "10,000 lines" in wrong["error"]
    assert "Split" in wrong["hint"]
    wrong = await api("POST", "/upload", b"[]\n" * 10_001, status=413)
    wrong = await api("POST", "/upload", b"\n" * 100_001, status=413)
    assert await api.texts() == []


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\n"])
async def test_an_empty_upload_is_refused(api: Api, body: bytes) -> None:
    wrong = await api("POST", "/upload", body, status=400)
    assert wrong["error"] == "The upload is empty"
    assert wrong["hint"]


async def test_a_compressed_upload_is_refused(api: Api) -> None:
    assert (await api("POST", "/upload", UPLOAD, status=400, content_encoding="gzip"))["hint"]
