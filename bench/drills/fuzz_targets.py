"""What is fuzzed: every parser, each with what must hold of it beside not breaking.

A target takes bytes. It returns for whatever they are, or raises an AssertionError that says what
did not hold; any other exception is a find, too, but `MemrouterError`s where a parser may refuse.
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any
from urllib.parse import urlsplit

from memrouter import tokens
from memrouter.domain import Chunk, Reply, Turn
from memrouter.edge import auth, controls, exchange, headers
from memrouter.edge.decoding import Decoder
from memrouter.edge.jsonl import JsonLines
from memrouter.errors import BadRequest, MemrouterError, TooLarge, Unauthorized
from memrouter.memory import analysis, chunking, context, periods, query, question
from memrouter.upstream import providers, v3
from memrouter.upstream.allowlist import Allowlist
from memrouter.upstream.message import split_url, write_head
from memrouter.upstream.target import Sent
from memrouter.wire import raw, written
from memrouter.wire.format import WireFormat
from memrouter.wire.sse import SSEParser
from memrouter.wire.table import FORMATS

Target = Callable[[bytes], None]

NOW = datetime(2026, 6, 5, 21, 0, tzinfo=UTC)
_PROVIDERS = providers.table({})
_ALLOWED = Allowlist(_PROVIDERS.known_hosts, ("127.0.0.1:9000", "models.example"))
_PATHS = ("/v1/chat/completions", "/v1beta/models/gemini-3.5-flash:streamGenerateContent")
_LIMIT = 4_096  # of SSE events: small, so that it is passed
_BLOCK = "<memory_context>\n[MEMORY - just now (Fri, Jun 5, 9:00 PM)] x\n</memory_context>\n\n"
_ONE = b""
"""Stands for the only message, where the body holds no list: a string, or an object."""


def pieces(data: bytes) -> Iterator[bytes]:
    """The data cut at places that depend on nothing but the data."""
    dice = random.Random(zlib.crc32(data))
    at = 0
    longest = dice.choice((1, 2, 7, 64, 1024))
    while at < len(data):
        size = dice.randint(1, longest)
        yield data[at : at + size]
        at += size


# --- streams ---


def sse(data: bytes) -> None:
    """Cut anywhere, the same events: those of a reader that does it all at once."""
    whole, cut = SSEParser(_LIMIT), SSEParser(_LIMIT)
    events = whole.feed(data)
    assert [e for piece in pieces(data) for e in cut.feed(piece)] == events, "cut"
    assert events == list(_events(data)), "the specification reads otherwise"
    # What follows a finished event is read as if nothing had been before it.
    assert whole.feed(b"\n\ndata: end\n\n")[-1] == (b"", b"end"), "the next event"


def _events(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Events as the HTML standard has them, read in the simplest way."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *ended, _ = text.split(b"\n\n")
    for event in ended:
        stripped = event.lstrip(b"\n")
        if len(stripped) > _LIMIT:
            continue
        name, said = b"", []
        for line in stripped.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                said.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ")
        if said:
            yield name, b"\n".join(said)


def reply(wire: WireFormat, streamed: bool) -> Target:
    """A reader never raises, and where its bytes are cut changes nothing."""

    def read(blocks: Iterable[bytes]) -> Reply:
        reader = wire.reader(streamed=streamed)
        for block in blocks:
            reader.feed(block)
        return reader.finish()

    def target(data: bytes) -> None:
        whole, cut = read([data]), read(pieces(data))
        if whole == cut:
            return
        # A body is read when it is whole; what a provider sends behind it does not count.
        assert not streamed, "cut"
        assert not whole.complete, "cut"
        ends = accumulate(len(piece) for piece in pieces(data))
        assert any(read([data[:end]]) == cut for end in ends), "cut"

    return target


def decoding(data: bytes) -> None:
    """Compressed answers, cut anywhere, broken anywhere."""
    coding, data = data[:1], data[1:]
    name = (b"gzip", b"deflate", b"x-gzip", b"br", b"")[coding[0] % 5] if coding else b"gzip"
    packed = gzip.compress(data, mtime=0) if data[:1] < b"\x80" else data
    whole, cut = Decoder(name), Decoder(name)
    assert whole.decode(packed) == b"".join(cut.decode(p) for p in pieces(packed))


# --- bodies ---


def body(wire: WireFormat) -> Target:
    """Any JSON object is read, and edited with all else byte for byte; anything else is refused."""

    def target(data: bytes) -> None:
        try:
            read = raw.parse(data)
        except BadRequest as e:
            _helpful(e)
            return
        fields = raw.split_object(data)
        assert raw.parse(raw.join_object(fields)) == read, "taken apart and put together"
        try:
            wire.check(read)
        except BadRequest as e:
            _helpful(e, wire.messages_field)
            return
        _edited(wire, read, fields)

    return target


def _edited(wire: WireFormat, read: Any, fields: dict[str, Any]) -> None:
    turns = wire.turns(read)
    assert all(turn.tokens > 0 for turn in turns), "a turn without tokens"
    wire.chore(read)
    wire.conversation(read)
    wire.stateful(read)
    wire.system_text(read)
    for path in _PATHS:
        wire.model(read, path)
        wire.streams(read, path)
        renamed, _ = wire.with_model(fields, path, "other")
        _others(fields, renamed, {"model"})
    stripped = wire.strip(fields, controls.BODY_FIELDS)
    assert not controls.BODY_FIELDS & stripped.keys(), "a field of ours stays"
    _others(fields, stripped, {wire.messages_field, *controls.BODY_FIELDS})
    users = [n for n, turn in enumerate(turns) if turn.role == "user"]
    if not users:
        return
    at = users[-1]
    injected = wire.inject(fields, {at: _BLOCK}, None)
    _others(fields, injected, {wire.messages_field})
    before, after = _messages(wire, fields), _messages(wire, injected)
    assert before[:at] == after[:at], "a message in front of the block changed"
    assert len(before) == len(after), "messages came or went"
    assert before[at + 1 :] == after[at + 1 :], "a message behind the block changed"
    if before != [_ONE]:
        kept = wire.keep(fields, range(len(before)))
        assert _messages(wire, kept) == before, "keeping all changed some"
    led = wire.lead(fields, [Turn(role="user", text="a"), Turn(role="assistant", text="b")])
    _others(fields, led, {wire.messages_field})
    raw.parse(raw.join_object(led))


def _others(before: dict[str, Any], after: dict[str, Any], but: set[str]) -> None:
    for name, value in before.items():
        if name not in but:
            assert bytes(after[name]) == bytes(value), "a field changed that nobody touched"


def _messages(wire: WireFormat, fields: dict[str, Any]) -> list[bytes]:
    value = fields.get(wire.messages_field)
    if value is None or raw.first_byte(value) != "[":
        return [_ONE]
    return [bytes(item) for item in raw.split_array(value)]


def editing(data: bytes) -> None:
    """JSON of any kind taken apart and put together."""
    try:
        value = raw.parse(b'{"x":' + data + b"}")
    except BadRequest:
        return
    fields = raw.split_object(b'{"x":' + data + b"}")
    assert raw.parse(raw.join_object(fields)) == value
    inner = fields["x"]
    match raw.first_byte(inner):
        case "[":
            items = raw.split_array(inner)
            assert len(items) == len(value["x"]) or "x" not in value, "items"
            again = raw.parse(b'{"x":' + raw.join_array(items) + b"}")
            assert again == {"x": value["x"]}
        case "{":
            assert raw.split_object(inner).keys() == value["x"].keys() or b"\\u" in data
        case '"':
            spliced = raw.splice("in front ", inner)
            assert raw.parse(b'{"x":' + bytes(spliced) + b"}")["x"] == "in front " + value["x"]


def upload(data: bytes) -> None:
    """JSONL: cut anywhere the same memories and the same complaints."""
    whole, cut = JsonLines("session", NOW, 50), JsonLines("session", NOW, 50)
    assert _lines(whole, [data]) == _lines(cut, pieces(data))
    assert whole.count == whole.failed + len(whole.items) or whole.count > 50


def _lines(reader: JsonLines, blocks: Any) -> Any:
    try:
        for block in blocks:
            reader.feed(block)
        reader.finish()
    except TooLarge:
        return "too large"
    return reader.items, reader.failed, reader.errors


def _helpful(refusal: MemrouterError, names: str = "") -> None:
    assert refusal.hint, "a refusal without a hint"
    assert names in str(refusal), "a refusal that names no field"


# --- heads ---


def v3_url(data: bytes) -> None:
    """A /v3 URL is refused, or leads to an allowed host and nowhere else."""
    path, _, asked = data.decode("latin-1").partition("?")
    try:
        url = v3.parse(path, asked, _PROVIDERS, _ALLOWED)
    except MemrouterError as e:
        _helpful(e)
        return
    sent = Sent(provider_key="k", authorization="", x_api_key="", x_goog_api_key="", query_key="")
    theirs = headers.without(url.query, headers.V3_PARAMETERS)
    aimed = v3.target(url, query=theirs, sent=sent)
    parts = urlsplit(aimed.url)
    assert parts.hostname == url.host.strip("[]"), "another host than the one that was checked"
    assert parts.username is None, "credentials in a URL"
    assert url.host in _PROVIDERS.known_hosts or url.host in ("127.0.0.1", "models.example")
    _, path = split_url(aimed.url)
    try:
        written_head = write_head("POST", path, {"Host": parts.netloc}, aimed.headers, (), b"")
    except BadRequest:
        pass  # what HTTP cannot carry
    else:
        assert written_head.count(b"\n") == 4 + len(aimed.headers), "a line more in the head"
    assert not {"userId", "apiKey"} & headers.parameters(theirs).keys(), "a parameter of ours stays"


def head(data: bytes) -> None:
    """Headers and a query: keys and controls are found or refused, nothing of ours is left."""
    lines = data.split(b"\n")
    asked = lines[0].decode("latin-1")
    split = [line.partition(b":") for line in lines[1:40]]
    given = headers.decode((n.strip().lower(), v.strip()) for n, _, v in split if n.strip())
    parameters = headers.parameters(asked)
    for is_v3 in (False, True):
        try:
            shown = auth.find(given, parameters, v3=is_v3)
        except Unauthorized as e:
            _helpful(e)
        else:
            assert shown.key.startswith("mk_"), "no memory key"
            assert shown.key not in repr(shown), "a key in a repr"
    named: dict[str, str] = dict(given)
    try:
        controls.read(headers=named, query=parameters, body=dict(parameters))
    except BadRequest as e:
        _helpful(e)
    for name, value in headers.forwarded(given):
        assert not name.startswith(headers.OUR_PREFIXES), "a header of ours is sent on"
        assert name not in headers.CREDENTIALS, "credentials are sent on as they came"
        assert (name, value) in given or name == "accept-encoding", "a header changed"
    theirs = headers.without(asked, headers.OUR_PARAMETERS)
    assert not headers.OUR_PARAMETERS & headers.parameters(theirs).keys(), "a parameter stays"
    path = exchange.usual("/" + asked)
    exchange.v1_endpoint("POST", path, FORMATS)


# --- text ---


def text(data: bytes) -> None:
    """What users write: chunks hold all of it, a block holds it inert, and nothing hangs on it."""
    said = data.decode("utf-8", "replace")
    found = chunking.split(said, 40, tokens.estimate)
    assert _bare("".join(found)) == _bare(said), "chunking lost something"
    written.user_text(said)
    written.assistant_text(said)
    chunk = Chunk(id=1, turn=1, role="user", text=said, tokens=1, created=NOW)
    block = context.render([chunk, chunk], NOW, UTC)
    assert block is not None
    assert block.count("<memory_context>") == 1, "an opening tag in a block"
    assert block.count("</memory_context>") == 1, "a closing tag in a block"
    ours = [line for line in block.split("\n") if line.startswith("[MEMORY - ")]
    assert len(ours) == 2, "a line like ours"


def asking(data: bytes) -> None:
    """What users ask: terms, periods, names."""
    said = data.decode("utf-8", "replace")
    turn = Turn(role="user", text=said)
    question.read(query.question([turn]), query.surroundings([turn, turn]), NOW)
    analysis.index_terms(said, NOW)
    analysis.author_of(said)
    periods.period(said, NOW)
    assert tokens.estimate(said) >= 0


def _bare(said: str) -> str:
    return "".join(said.split())


TARGETS: dict[str, Target] = {
    "sse": sse,
    **{f"reply {name}": reply(wire, streamed=False) for name, wire in FORMATS.items()},
    **{f"stream {name}": reply(wire, streamed=True) for name, wire in FORMATS.items()},
    "decoding": decoding,
    **{f"body {name}": body(wire) for name, wire in FORMATS.items()},
    "editing": editing,
    "upload": upload,
    "v3 url": v3_url,
    "head": head,
    "text": text,
    "asking": asking,
}
