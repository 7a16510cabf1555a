"""Models, as the real SDKs list them."""

from __future__ import annotations

import anthropic
import httpx2
from google import genai

from memrouter.testing.endpoints import MODELS

from .stack import Router


def test_openai_lists_models_and_finds_one(router: Router) -> None:
    with router.openai(router.mint()) as client:
        names = [model.id for model in client.models.list()]
        found = client.models.retrieve("openai/gpt-5.5")
    assert {"openai/gpt-5.5", "anthropic/claude-opus-4.8"} <= set(names)
    assert (found.id, found.object, found.owned_by) == ("openai/gpt-5.5", "model", "openai")


def test_anthropic_lists_models_and_finds_one(router: Router) -> None:
    http = httpx2.Client(trust_env=False)
    with anthropic.Anthropic(
        base_url=router.url, api_key=router.mint(), http_client=http
    ) as client:
        names = [model.id for model in client.models.list()]
        found = client.models.retrieve("anthropic/claude-opus-4.8")
    assert "anthropic/claude-opus-4.8" in names
    assert found.id == "anthropic/claude-opus-4.8"


def test_google_lists_its_own_models(router: Router) -> None:
    client = genai.Client(api_key=router.mint(), http_options={"base_url": router.url})
    try:
        names = [model.name for model in client.models.list()]
    finally:
        client.close()
    assert names == [f"models/{model}" for model in MODELS]
