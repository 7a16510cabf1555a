"""One request on its way through the relay."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from memrouter.domain import Json, Scope, Target
from memrouter.edge.asgi import Request, Send
from memrouter.edge.callers import Caller
from memrouter.edge.outcome import Outcome
from memrouter.memory.engine import Plan
from memrouter.memory.forgive import Tried
from memrouter.memory.historian import Draft
from memrouter.upstream.v3 import V3Url
from memrouter.wire import raw
from memrouter.wire.format import ReplyReader, WireFormat

_DOUBLED = re.compile(r"^(?:/+v1)+(?=/v1(?:beta)?/)")
_BARE = re.compile(
    r"^/(?:chat/completions|responses|messages|completions|embeddings|models|moderations"
    r"|audio|images|files)(?:/|$)"
)
_GEMINI = re.compile(
    r"^/v1(?:beta|alpha)?/(?:models|tunedModels)/[^/]+:(?:streamG|g)enerateContent$"
)

PATHS = {
    "/v1/chat/completions": "openai_chat",
    "/v1/responses": "openai_responses",
    "/v1/messages": "anthropic_messages",
}
"""Path on /v1 → the format spoken there."""
PROVIDERS = re.compile(r"^/v1(?:beta|alpha)?/.|^/upload/")
"""Paths that are a provider's, unless they are ours."""
OURS = re.compile(r"^/v1/(?:memory|keys|account)(?:/|$)|^/v1/models(?:$|/[^:]*$)")
"""Paths that are never a provider's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is asked for: a format that memory understands, or anything else of a provider."""

    wire: WireFormat | None = None
    url: V3Url | None = None
    """On /v3: the provider's URL."""

    @property
    def label(self) -> str:
        """Names it in logs and metrics."""
        return self.wire.name if self.wire else "pass_through"


def usual(path: str) -> str:
    """The path as clients should have it.

    Base URLs end in /v1 or do not, and SDKs add a version of their own or do not.
    """
    return "/v1" + path if _BARE.match(path) else _DOUBLED.sub("", path)


def v1_endpoint(method: str, path: str, formats: Mapping[str, WireFormat]) -> Endpoint:
    """The endpoint at a path on /v1, /v1beta …"""
    plain = path.rstrip("/")
    if method == "POST":
        if name := PATHS.get(plain):
            return Endpoint(wire=formats[name])
        if _GEMINI.match(plain):
            return Endpoint(wire=formats["gemini_generate"])
    return Endpoint()


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Filled in as it goes."""

    request: Request
    endpoint: Endpoint
    send: Send
    outcome: Outcome
    caller: Caller | None = None
    body: Json = field(default_factory=dict)
    unread: bytes = field(default=b"", repr=False)
    """The body as it came, where `body` is what a glance tells of it; see `whole`."""
    scope: Scope | None = None
    target: Target | None = None
    model: str = ""
    plan: Plan | None = None
    """What memory does for it; None where memory is off."""
    drafting: asyncio.Task[Tried[Draft]] | None = None
    """Finds out what the prompt adds, while the provider is at work."""
    committed: bool = False
    reader: ReplyReader | None = None
    """Reads a copy of the answer."""
    served: bool = False
    """Whether its usage has been counted."""

    def whole(self) -> Json:
        """All of the body."""
        if self.unread:
            self.body = raw.parse(self.unread)
            self.unread = b""
        return self.body

    @property
    def wire(self) -> WireFormat | None:
        return self.endpoint.wire
