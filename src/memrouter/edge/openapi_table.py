"""What the OpenAPI document says of each endpoint beyond its route and docstring: a row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from memrouter.domain import Json
from memrouter.edge import account_shapes as account
from memrouter.edge import memory_shapes as memory

Place = tuple[str, str]
"""Method and path."""

JSON = "application/json"
JSONL = "application/x-ndjson"
MULTIPART = "multipart/form-data"
STREAM = "text/event-stream"


class ErrorAnswer(msgspec.Struct, kw_only=True):
    """What is wrong, and what to do about it."""

    error: Annotated[str, Meta(examples=["No API key configured for provider: anthropic"])]
    hint: Annotated[str, Meta(examples=["Pass X-Provider-Key header"])]


class Health(msgspec.Struct, kw_only=True):
    """How the router is."""

    status: Literal["ok", "degraded", "stopping"]
    version: str
    store: Annotated[str, Meta(description="`ok`, or how it fails.")]
    embedder: str
    backlog: Annotated[int, Meta(ge=0, description="Vaults whose new chunks wait for vectors.")]


Message = dict[str, Any]


class Asked(memory.Controlled, kw_only=True):
    """What memory reads of a request, and takes out of it. All else is the provider's, and goes on
    as it came."""

    memory_store: Annotated[
        memory.Switch | None, Meta(description="False stores no user turn.")
    ] = None
    memory_store_response: Annotated[
        memory.Switch | None, Meta(description="False does not store the answer.")
    ] = None
    density: Annotated[str | None, Meta(description="low, default, high or xhigh.")] = None
    context_limit: Annotated[
        int | float | str | None, Meta(description="Memories at most, 0 to 1000.")
    ] = None


Model = Annotated[
    str,
    Meta(description="With a provider's prefix or without.", examples=["openai/gpt-5.5"]),
]
Streamed = Annotated[bool, Meta(description="Answer as server-sent events.")]


class ChatRequest(Asked, kw_only=True):
    """OpenAI's chat completions, of any provider that speaks it."""

    messages: Annotated[
        list[Message], Meta(description="`memory: false` on a message keeps it out of memory.")
    ]
    model: Model | None = None
    stream: Streamed | None = None


class ResponsesRequest(Asked, kw_only=True):
    """OpenAI's Responses."""

    input: str | list[Message]
    model: Model | None = None
    stream: Streamed | None = None


class MessagesRequest(Asked, kw_only=True):
    """Anthropic's messages."""

    messages: list[Message]
    model: Model | None = None
    system: str | list[Message] | None = None
    stream: Streamed | None = None


class GenerateRequest(Asked, kw_only=True, rename={"system_instruction": "systemInstruction"}):
    """Gemini's generateContent."""

    contents: list[Message]
    system_instruction: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An endpoint."""

    tag: str
    answer: type | None = None
    """Of a success; None where it is no JSON of ours."""
    status: int = 200
    media: str = JSON
    """Of the answer."""
    body: type | None = None
    body_media: str = ""
    """Where there is a body that is no JSON of ours."""
    body_needed: bool = True
    example: Json | str | None = None
    """Of the body."""
    parameters: tuple[str, ...] = ()
    """Names of PARAMETERS, beside those in the path."""
    errors: tuple[int, ...] = ()
    """Beside those that all endpoints of its kind have."""
    keyless: bool = False
    """Whether anybody may ask."""
    account: bool = False
    """Whether only account keys may."""
    limited: bool = False
    """Whether a key's limits count."""


def _text(**more: Any) -> Json:
    return {"type": "string", **more}


_BOOLEANS = ["true", "false"]
_DATE = {"description": "A day of UTC, or a time.", "examples": ["2026-01-31"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A header or query parameter."""

    name: str
    place: Literal["query", "header"]
    says: str
    schema: Json = field(default_factory=_text)


def _header(name: str, says: str, **schema: Any) -> Parameter:
    return Parameter(name=name, place="header", says=says, schema=_text(**schema))


def _query(name: str, says: str, schema: Json | None = None) -> Parameter:
    return Parameter(name=name, place="query", says=says, schema=schema or _text())


PARAMETERS: Mapping[str, Parameter] = {
    "session": _header("X-Session-ID", "Groups requests; without it, core.", maxLength=256),
    "mode": _header(
        "X-Memory-Mode", "What memory does.", enum=["on", "off", "read", "write"], default="on"
    ),
    "store": _header("X-Memory-Store", "Store what the user says.", enum=_BOOLEANS),
    "store_response": _header(
        "X-Memory-Store-Response", "Store what the model answers.", enum=_BOOLEANS
    ),
    "density": _header(
        "X-Memory-Density", "How much to recall.", enum=["low", "default", "high", "xhigh"]
    ),
    "context_limit": _header("X-Context-Limit", "Memories at most.", pattern="^[0-9]{1,3}$"),
    "embedding": _header("X-Embedding-Model", "Name of a configured embedding model."),
    "user": _header(
        "x-sm-user-id", "Whose vault, for account keys; without it, the key's own.", maxLength=256
    ),
    "conversation": _header(
        "x-sm-conversation-id", "Which messages belong together.", maxLength=256
    ),
    "provider_key": _header("X-Provider-Key", "The provider's key, before all stored ones."),
    "start": _query("start", "First day. By default 29 days before the last.", _text(**_DATE)),
    "end": _query("end", "Last day. By default today.", _text(**_DATE)),
    "key_id": _query("key", "Another key of the account, by its id; for account keys."),
    "with_memory": _query(
        "memory", "Delete what is stored in its vault, too.", {"type": "boolean", "default": False}
    ),
    "limit": _query(
        "limit",
        "Memories a page.",
        {"type": "integer", "minimum": 1, "maximum": memory.MAX_FOUND, "default": 100},
    ),
    "after": _query("after", "`next` of the page before.", _text(pattern="^memory_[0-9]+$")),
    "reset": _query(
        "reset", "Forget the embedding model, too.", {"type": "boolean", "default": False}
    ),
    "alt": _query("alt", "`sse` for server-sent events.", _text(enum=["sse", "json"])),
}

_SCOPED = ("session", "user")
_CONTROLLED = (*_SCOPED, "mode", "store", "store_response", "density", "context_limit")
_RELAYED = (*_CONTROLLED, "conversation", "provider_key")
_SAID = [{"role": "user", "content": "My name is Alice"}]


def _keys(**more: Any) -> Described:
    return Described(tag="Keys", account=True, **more)


def _account(**more: Any) -> Described:
    return Described(tag="Account", **more)


def _memory(**more: Any) -> Described:
    more.setdefault("parameters", _SCOPED)
    return Described(tag="Memory", limited=True, **more)


OWN: Mapping[Place, Described] = {
    ("GET", "/health"): Described(tag="Operation", answer=Health, keyless=True),
    ("GET", "/metrics"): Described(tag="Operation", media="text/plain", keyless=True),
    ("GET", "/openapi.json"): Described(tag="Operation", keyless=True),
    ("POST", "/v1/keys"): _keys(
        body=account.NewKey,
        body_needed=False,
        answer=account.MintedKey,
        status=201,
        example={"name": "user:42"},
    ),
    ("GET", "/v1/keys"): _keys(answer=account.KeyList),
    ("GET", "/v1/keys/{id}"): _keys(answer=account.KeyAnswer, errors=(404,)),
    ("PATCH", "/v1/keys/{id}"): _keys(
        body=account.KeyChange,
        answer=account.KeyAnswer,
        errors=(404,),
        example={"name": "user:43", "quota_tokens": 1_000_000, "rate_per_minute": 60},
    ),
    ("DELETE", "/v1/keys/{id}"): _keys(
        answer=account.DeletedKey, parameters=("with_memory",), errors=(400, 404, 409)
    ),
    ("POST", "/v1/keys/{id}/rotate"): _keys(answer=account.MintedKey, errors=(404, 409)),
    ("POST", "/v1/keys/{id}/revoke"): _keys(answer=account.RevokedKey, errors=(404, 409)),
    ("GET", "/v1/account/usage"): _account(
        answer=account.UsageAnswer, parameters=("start", "end", "key_id"), errors=(400, 403, 404)
    ),
    ("GET", "/v1/account/provider-keys"): _account(answer=account.ProviderKeyList, account=True),
    ("GET", "/v1/account/provider-keys/{provider}"): _account(
        answer=account.ProviderKey, account=True, errors=(404,)
    ),
    ("PUT", "/v1/account/provider-keys/{provider}"): _account(
        body=account.NewProviderKey,
        answer=account.ProviderKey,
        account=True,
        errors=(404,),
        example={"key": "sk-xxxxxxxxxxxxxxxxxxxxxxxx"},
    ),
    ("DELETE", "/v1/account/provider-keys/{provider}"): _account(
        answer=account.DeletedProviderKey, account=True, errors=(404,)
    ),
    ("GET", "/v1/models"): Described(tag="Models", answer=account.ModelList),
    ("GET", "/v1/models/{model}"): Described(tag="Models", answer=account.Model, errors=(404,)),
    ("POST", "/v1/memory/prepare"): _memory(
        body=memory.PrepareRequest,
        answer=memory.PrepareAnswer,
        parameters=(*_CONTROLLED, "embedding"),
        errors=(409,),
        example={
            "messages": [{"role": "user", "content": "What should I focus on today?"}],
            "density": "default",
        },
    ),
    ("POST", "/v1/memory/ingest"): _memory(
        body=memory.IngestRequest,
        answer=memory.IngestAnswer,
        status=202,
        parameters=(*_CONTROLLED, "embedding"),
        errors=(409,),
        example={
            "model": "openai/gpt-5.5",
            "messages": [
                {"role": "user", "content": "What should I focus on today?"},
                {"role": "assistant", "content": "Focus on the launch checklist."},
            ],
        },
    ),
    ("POST", "/v1/memory/search"): _memory(
        body=memory.SearchRequest,
        answer=memory.SearchAnswer,
        parameters=(*_SCOPED, "embedding"),
        errors=(409,),
        example={"query": "what does the user prefer", "limit": 20},
    ),
    ("POST", "/v1/memory/upload"): _memory(
        body_media=JSONL,
        answer=memory.UploadAnswer,
        parameters=(*_SCOPED, "embedding"),
        errors=(403, 409),
        example='{"content": "User prefers dark mode", "role": "user"}\n',
    ),
    ("GET", "/v1/memory/export"): _memory(media=JSONL, errors=(400,)),
    ("GET", "/v1/memory/stats"): _memory(answer=memory.StatsAnswer, errors=(400,)),
    ("POST", "/v1/memory/warmup"): _memory(answer=memory.WarmupAnswer, errors=(400,)),
    ("GET", "/v1/memory"): _memory(
        answer=memory.MemoryList, parameters=(*_SCOPED, "limit", "after"), errors=(400,)
    ),
    ("DELETE", "/v1/memory"): _memory(
        answer=memory.ClearAnswer, parameters=(*_SCOPED, "reset"), errors=(400, 409)
    ),
    ("GET", "/v1/memory/memory_{number}"): _memory(answer=memory.StoredMemory, errors=(400, 404)),
    ("DELETE", "/v1/memory/memory_{number}"): _memory(
        answer=memory.DeletedMemory, errors=(400, 404)
    ),
}
"""Endpoints of our own, as their routes name them."""


def _relayed(body: type | None = None, **more: Any) -> Described:
    more.setdefault("parameters", _RELAYED)
    return Described(tag="Relayed, with memory", body=body, limited=True, **more)


def _passed(body_media: str = JSON, **more: Any) -> Described:
    return Described(
        tag="Passed through",
        body_media=body_media,
        body_needed=bool(body_media),
        parameters=("provider_key",),
        limited=True,
        **more,
    )


_CHAT = {"model": "openai/gpt-5.5", "messages": _SAID}
_GEMINI = {"contents": [{"role": "user", "parts": [{"text": "My name is Alice"}]}]}
_GENERATE = _relayed(GenerateRequest, example=_GEMINI)
_STREAM = _relayed(GenerateRequest, example=_GEMINI, parameters=(*_RELAYED, "alt"))

PROVIDERS: Mapping[Place, Described] = {
    ("POST", "/v1/chat/completions"): _relayed(ChatRequest, example=_CHAT),
    ("POST", "/v1/responses"): _relayed(
        ResponsesRequest, example={"model": "openai/gpt-5.5", "input": "My name is Alice"}
    ),
    ("POST", "/v1/messages"): _relayed(
        MessagesRequest,
        example={"model": "claude-opus-4.8", "max_tokens": 1024, "messages": _SAID},
    ),
    ("POST", "/v1/models/{model}:generateContent"): _GENERATE,
    ("POST", "/v1/models/{model}:streamGenerateContent"): _STREAM,
    ("POST", "/v1beta/models/{model}:generateContent"): _GENERATE,
    ("POST", "/v1beta/models/{model}:streamGenerateContent"): _STREAM,
    ("POST", "/v3/{url}"): _relayed(body_media=JSON, example=_CHAT),
    ("POST", "/v1/messages/count_tokens"): _passed(),
    ("POST", "/v1/responses/compact"): _passed(),
    ("POST", "/v1/completions"): _passed(),
    ("POST", "/v1/embeddings"): _passed(),
    ("POST", "/v1/moderations"): _passed(),
    ("POST", "/v1/audio/transcriptions"): _passed(MULTIPART),
    ("POST", "/v1/audio/speech"): _passed(),
    ("POST", "/v1/images/generations"): _passed(),
    ("GET", "/v1/files"): _passed(""),
    ("POST", "/v1/files"): _passed(MULTIPART),
    ("POST", "/v1beta/models/{model}:countTokens"): _passed(),
}
"""Endpoints of providers. Whatever else stands under /v1, /v1beta, /v3 passes through as well."""

SUMMARIES: Mapping[Place, str] = {
    ("POST", "/v1/chat/completions"): "OpenAI chat completions, with memory.",
    ("POST", "/v1/responses"): "OpenAI Responses, with memory.",
    ("POST", "/v1/messages"): "Anthropic messages, with memory.",
    ("POST", "/v3/{url}"): "Any provider by its URL, with memory: /v3/https://host/path.",
}
"""Where the path alone does not say it."""

TAGS: Mapping[str, str] = {
    "Relayed, with memory": "Recall, inject, relay, store. Bodies are the provider's own.",
    "Passed through": "To the provider and back, untouched. So is all else under /v1 and /v3.",
    "Memory": "The vault of the key, without a provider.",
    "Keys": "One for each user of an app. For account keys.",
    "Account": "Provider keys and usage.",
    "Models": "What there is to ask.",
    "Operation": "For operators; no key is needed.",
}

ERRORS: Mapping[int, str] = {
    400: "The request cannot be understood.",
    401: "No memory key, or not a known one.",
    402: "The key's token quota is used up.",
    403: "This key may not do that.",
    404: "There is no such thing.",
    409: "The request contradicts what is stored.",
    413: "The body is over the limit.",
    429: "The key sends more than it may.",
    500: "Something went wrong here.",
    502: "The provider cannot be reached.",
    503: "The router, or this key, has as much under way as it may.",
}

LINKS: Mapping[Place, Mapping[str, Mapping[str, str]]] = {
    ("POST", "/v1/keys"): {
        name: {"id": "$response.body#/id"}
        for name in ("show_key", "change_key", "rotate_key", "revoke_key", "delete_key")
    },
    ("GET", "/v1/keys"): {"show_key": {"id": "$response.body#/keys/0/id"}},
    ("POST", "/v1/keys/{id}/rotate"): {
        name: {"id": "$response.body#/id"} for name in ("show_key", "delete_key")
    },
    ("GET", "/v1/models"): {"show_model": {"model": "$response.body#/data/0/id"}},
}
"""Operations that an answer leads to: operationId → parameter → where in the answer it stands."""
