"""Another embedding model than the default: chosen by a request, kept by the vault."""

from __future__ import annotations

from pathlib import Path

from memrouter import app, start
from memrouter.config import Config, Embeddings, Provider
from memrouter.edge import auth
from memrouter.testing.asgi import Client, running
from memrouter.testing.provider import ScriptedProvider, serving

KEY = auth.mint()


def config(folder: Path, port: int) -> Config:
    base = f"http://127.0.0.1:{port}/v1"
    return Config(
        data_dir=str(folder),
        account_key=KEY,
        recall_timeout_s=5,
        providers={"openai": Provider(base_url=base, api_key="sk-x")},
        embeddings={"small": Embeddings(base_url=base, model="embed-small", dimension=64)},
    )


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "gpt-5.5", "messages": [{"role": "user", "content": text}], **more}


async def test_a_vault_keeps_the_model_it_was_made_with(tmp_path: Path) -> None:
    provider = ScriptedProvider()
    with serving(provider) as port:
        settings = config(tmp_path, port)
        parts = app.build(settings, tmp_path)
        await start.ensure_account(settings, parts.directory)
        edge = app.create_with(parts)
        async with running(edge):
            client = Client(edge, {"authorization": f"Bearer {KEY}"})
            path = "/v1/chat/completions"
            first = await client.post(path, chat("My dog is called Rex.", embeddings="small"))
            assert first.status == 200
            asked = [r.path for r in provider.requests]
            while "/v1/embeddings" not in asked:
                assert (await client.get("/v1/memory/stats")).status == 200
                asked = [r.path for r in provider.requests]
            answer = await client.post(path, chat("What is my dog called?"))
            assert "Rex" in str(answer.json)
            assert "embeddings" not in provider.requests[0].json
            refused = await client.post(path, chat("hello there", embeddings="default"))
            assert refused.status == 409
            assert "reset=true" in refused.json["hint"]
            unknown = await client.post(path, chat("hello there", embeddings="large"))
            assert unknown.status == 400
            assert "small" in unknown.json["hint"]
            cleared = await client.send("DELETE", "/v1/memory?reset=true")
            assert cleared.json["reset"] is True
            again = await client.post(path, chat("hello there", embeddings="default"))
            assert again.status == 200
