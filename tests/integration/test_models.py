"""Models from scripted providers, over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from memrouter.app import Parts
from memrouter.config import Provider
from memrouter.edge import catalog
from memrouter.testing.endpoints import MODELS
from memrouter.testing.provider import ScriptedProvider
from memrouter.testing.script import Answer as Said
from memrouter.upstream import providers

from .conftest import PROVIDER_KEY, World, started


async def listed(world: World, **headers: str) -> dict[str, Any]:
    answer = await world.client(world.account_key, **headers).get("/v1/models")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def test_the_models_of_all_configured_providers(world: World) -> None:
    found = await listed(world)
    assert [p["provider"] for p in found["providers"]] == ["openai", "anthropic", "google"]
    assert all(p["models"] == list(MODELS) for p in found["providers"])
    assert found["models"] == [m["id"] for m in found["data"]]
    assert "anthropic/claude-opus-4.8" in found["models"]
    assert found["catalog_updated"] == "2026-06-05T21:00:00.000Z"
    assert (found["object"], found["default"]) == ("list", None)


async def test_each_is_asked_in_its_own_way_and_once(world: World) -> None:
    await listed(world)
    await listed(world)
    asked = {request.path: request for request in world.provider.requests}
    assert len(world.provider.requests) == 3
    assert set(asked) == {"/v1/models", "/v1beta/models"}
    versions = [r.header("anthropic-version") for r in world.provider.requests]
    assert sorted(versions, key=str) == ["2023-06-01", None, None]
    for request in world.provider.requests:
        assert world.account_key not in repr(request)


async def test_a_provider_that_does_not_answer_does_not_fail_the_list(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "TIMEOUT_S", 0.3)
    world.provider.queue(
        Said(when="/v1/models", status=500),
        Said(when="/v1/models", body=b"<html>", delay_s=5),
    )
    began = perf_counter()
    found = await listed(world)
    assert [p["provider"] for p in found["providers"]] == ["google"]
    assert perf_counter() - began < 4


@pytest.fixture
async def odd(
    tmp_path: Path, provider: ScriptedProvider, served: tuple[ScriptedProvider, int]
) -> AsyncIterator[World]:
    """A router with a provider that nobody answers for, and one of one's own."""
    settings = {
        "openai": Provider(api_key="sk-x", base_url="http://127.0.0.1:9", models=("gpt-own", "x*")),
        "own": Provider(base_url=f"http://127.0.0.1:{served[1]}"),
    }

    def wrap(parts: Parts) -> Parts:
        return replace(parts, providers=providers.table(settings))

    async with started(tmp_path, provider, served[1], wrap=wrap, default_model="own/x") as world:
        yield world


async def test_configured_models_where_a_provider_cannot_be_reached(odd: World) -> None:
    found = await listed(odd)
    assert found["providers"] == [
        {"provider": "openai", "models": ["gpt-own"]},
        {"provider": "own", "models": list(MODELS)},
    ]
    assert found["default"] == "own/x"


@pytest.mark.parametrize("name", ["openai/gpt-5.5", "gpt-5.5", "google/gemini-3.5-flash"])
async def test_one_model(world: World, name: str) -> None:
    answer = await world.client(world.account_key).get(f"/v1/models/{name}")
    assert answer.status == 200
    assert answer.json["id"].endswith(name)
    assert answer.json["object"] == "model"


async def test_geminis_own_list_passes_through(world: World) -> None:
    answer = await world.client(world.account_key).get("/v1beta/models")
    assert answer.json["models"][0]["name"] == f"models/{MODELS[0]}"


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1beta/models"])
async def test_googles_sdks_get_googles_own_list(world: World, path: str) -> None:
    client = world.client(world.account_key, x_goog_api_client="google-genai-sdk/3.4.0")
    answer = await client.get(path)
    assert answer.json["models"][0]["name"] == f"models/{MODELS[0]}"
    assert world.provider.requests[-1].header("x-goog-api-key") == PROVIDER_KEY
