"""OpenAI-compatible endpoints as embedders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from memrouter.embed.openai import OpenAIEmbedder
from memrouter.errors import EmbedderError


class Endpoint:
    """Answers with vectors of each text's length; or with what it is told to."""

    def __init__(self, answer: tuple[int, bytes] | Exception | None = None) -> None:
        self.asked: list[tuple[str, Mapping[str, str], dict[str, Any]]] = []
        self._answer = answer

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> tuple[int, bytes]:
        """See openai.Post."""
        assert timeout_s > 0
        asked = json.loads(body)
        self.asked.append((url, headers, asked))
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer is not None:
            return self._answer
        data = [
            {"object": "embedding", "index": n, "embedding": [float(len(text)), 1.0]}
            for n, text in enumerate(asked["input"])
        ]
        # Endpoints may answer in any order.
        return 200, json.dumps({"object": "list", "data": data[::-1]}).encode()


def embedder(endpoint: Endpoint, **more: Any) -> OpenAIEmbedder:
    """An embedder that asks this endpoint."""
    given: dict[str, Any] = {
        "base_url": "https://embed.example/v1/",
        "api_key": "sk-secret",
        "model": "small",
        "dimension": 2,
    }
    return OpenAIEmbedder(endpoint.post, **(given | more))


async def test_what_is_asked() -> None:
    endpoint = Endpoint()
    found = await embedder(endpoint).query("abc", {"abc": 2.0})
    assert found.plain.tolist() == pytest.approx((np.array([3, 1]) / np.sqrt(10)).tolist())
    url, headers, body = endpoint.asked[0]
    assert url == "https://embed.example/v1/embeddings"
    assert headers["authorization"] == "Bearer sk-secret"
    assert body == {"model": "small", "encoding_format": "float", "input": ["abc"]}


async def test_what_may_be_asked_besides() -> None:
    endpoint = Endpoint()
    made = embedder(endpoint, api_key="", send_dimension=True, query_prefix="q: ")
    await made.query("abc", {})
    _, headers, body = endpoint.asked[0]
    assert "authorization" not in headers
    assert body["dimensions"] == 2
    assert body["input"] == ["q: abc"]
    assert made.name == "small-2"


async def test_many_texts_go_in_batches_and_keep_their_order() -> None:
    endpoint = Endpoint()
    texts = ["x" * (n + 1) for n in range(150)]
    vectors = await embedder(endpoint).passages(texts)
    assert [len(body["input"]) for _, _, body in endpoint.asked] == [64, 64, 22]
    assert (vectors[:, 0] / vectors[:, 1]).tolist() == pytest.approx(
        [n + 1 for n in range(150)], rel=1e-4
    )


async def test_empty_and_long_texts_are_made_fit() -> None:
    endpoint = Endpoint()
    await embedder(endpoint).passages(["", "x" * 1_000_000, "\ud800"])
    sent = endpoint.asked[0][2]["input"]
    assert sent[0] == " "
    assert sent[2] == "?"
    assert len(sent[1]) < 20_000
    assert (await embedder(endpoint).passages([])).shape == (0, 2)


def answer(*vectors: list[float]) -> tuple[int, bytes]:
    """A well-formed answer."""
    return 200, json.dumps({"data": [{"embedding": v} for v in vectors]}).encode()


FAILURES: dict[str, tuple[tuple[int, bytes] | Exception, str]] = {
    "unreachable": (ConnectionRefusedError(), "did not answer"),
    "slow": (TimeoutError(), "did not answer"),
    "wrong key": ((401, b"{}"), "answered 401"),
    "overloaded": ((503, b"busy"), "answered 503"),
    "no JSON": ((200, b"<html>"), "something else"),
    "other JSON": ((200, b"[]"), "something else"),
    "no vectors": (answer(), "1 vectors of 2"),
    "too many vectors": (answer([1, 2], [3, 4]), "1 vectors of 2"),
    "another dimension": (answer([1, 2, 3]), "1 vectors of 2"),
}


@pytest.mark.parametrize(("answered", "said"), FAILURES.values(), ids=FAILURES)
async def test_failures_are_said_without_text_or_key(
    answered: tuple[int, bytes] | Exception, said: str
) -> None:
    with pytest.raises(EmbedderError, match=said) as caught:
        await embedder(Endpoint(answered)).query("private words", {})
    shown = f"{caught.value} {caught.value.hint}"
    assert "private" not in shown
    assert "sk-secret" not in shown
    assert "embed.example" not in shown


async def test_a_zero_vector_stays_one() -> None:
    found = await embedder(Endpoint(answer([0, 0]))).query("abc", {})
    assert found.plain.tolist() == [0, 0]
