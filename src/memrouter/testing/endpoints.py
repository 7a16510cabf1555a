"""What a provider serves besides models' answers: catalogs, embeddings, media. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from memrouter.testing.dialects.parts import dumps, openai_error

MODELS = ("gpt-5.5", "gpt-4o-mini", "claude-opus-4.8", "gemini-3.5-flash", "text-embedding-3-small")
SPEECH = bytes(range(256)) * 64
"""What every text sounds like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A finished answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


def serve(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Plain | None:
    """The answer of an endpoint that needs no model; None if there is none at this path."""
    for pattern, verb, endpoint in _ENDPOINTS:
        found = pattern.search(path)
        if found and verb == method:
            return endpoint(found, headers, body)
    return None


def _models(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    if "anthropic-version" in headers:
        data = [
            {
                "type": "model",
                "id": m,
                "display_name": m,
                "created_at": "2026-01-01T00:00:00Z",
                "lifecycle": "active",
            }
            for m in MODELS
        ]
        page = {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
        return Plain(body=dumps(page))
    if "v1beta/models" in found.string or "x-goog-api-key" in headers:
        models = [
            {
                "name": f"models/{m}",
                "displayName": m,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for m in MODELS
        ]
        return Plain(body=dumps({"models": models}))
    return Plain(body=dumps({"object": "list", "data": [_openai_model(m) for m in MODELS]}))


def _model(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    if found[1] not in MODELS:
        return Plain(body=dumps(openai_error(404, f"no model {found[1]}")), status=404)
    return Plain(body=dumps(_openai_model(found[1])))


def _openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": "scripted"}


def _embeddings(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    asked = json.loads(body)
    given = asked["input"]
    texts = [given] if isinstance(given, str) else given
    dimension = asked.get("dimensions") or 64
    vectors = [embed(str(text), dimension) for text in texts]
    if asked.get("encoding_format") == "base64":
        packed = [base64.b64encode(struct.pack(f"<{dimension}f", *v)).decode() for v in vectors]
        data: list[Any] = list(packed)
    else:
        data = list(vectors)
    tokens = sum(len(str(t)) // 4 + 1 for t in texts)
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": e} for i, e in enumerate(data)],
        "model": asked["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Plain(body=dumps(answer))


def embed(text: str, dimension: int) -> list[float]:
    """A unit vector in which texts that share words are near."""
    vector = [0.0] * dimension
    for word in re.findall(r"\w+", text.casefold()):
        digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
        vector[int.from_bytes(digest[:4]) % dimension] += 1.0 if digest[4] & 1 else -1.0
    norm = math.sqrt(sum(x * x for x in vector))
    return [x / norm for x in vector] if norm else [1.0] + [0.0] * (dimension - 1)


def _transcription(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    """Says what came, so that a client sees whether it came whole."""
    head = f"content-type: {headers.get('content-type', '')}\r\n\r\n".encode("latin-1")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        return Plain(body=dumps(openai_error(400, "expected multipart/form-data")), status=400)
    parts = []
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            content = b""
        name = part.get_param("name", header="content-disposition")
        parts.append(
            {
                "name": name,
                "filename": part.get_filename(),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    return Plain(body=dumps({"text": f"{len(parts)} parts, {len(body)} bytes", "parts": parts}))


def _speech(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    return Plain(body=SPEECH, content_type="audio/mpeg")


def _image(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    picture = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return Plain(body=dumps({"created": 1767225600, "data": [{"b64_json": picture}]}))


def _moderation(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    answer = {"id": "modr-1", "model": "omni-moderation-latest"}
    results = [{"flagged": False, "categories": {}, "category_scores": {}}]
    return Plain(body=dumps({**answer, "results": results}))


def _completion(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    choice = {"index": 0, "text": " there.", "finish_reason": "stop", "logprobs": None}
    answer = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1767225600,
        "model": json.loads(body)["model"],
        "choices": [choice],
    }
    return Plain(body=dumps(answer))


def _files(found: re.Match[str], headers: Mapping[str, str], body: bytes) -> Plain:
    return Plain(body=dumps({"object": "list", "data": [], "has_more": False}))


_Endpoint = Callable[[re.Match[str], Mapping[str, str], bytes], Plain]
_ENDPOINTS: tuple[tuple[re.Pattern[str], str, _Endpoint], ...] = (
    (re.compile(r"/models$"), "GET", _models),
    (re.compile(r"/models/([^/]+)$"), "GET", _model),
    (re.compile(r"/embeddings$"), "POST", _embeddings),
    (re.compile(r"/audio/transcriptions$"), "POST", _transcription),
    (re.compile(r"/audio/speech$"), "POST", _speech),
    (re.compile(r"/images/generations$"), "POST", _image),
    (re.compile(r"/moderations$"), "POST", _moderation),
    (re.compile(r"(?<!/chat)/completions$"), "POST", _completion),
    (re.compile(r"/files$"), "GET", _files),
)
