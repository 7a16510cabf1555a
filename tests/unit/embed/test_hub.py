"""Encoders by name. fastembed is played by a fake: it is optional, and its models lie on a hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memrouter.embed import hub
from memrouter.embed.hub import HubEmbedder
from memrouter.errors import EmbedderError


class Source:
    """fastembed with a cache: models that are not in it cannot be fetched."""

    def __init__(self, cached: Sequence[str]) -> None:
        self.cached = cached
        self.given: list[str] = []
        self.caches: list[str] = []
        self.broken = False

    @property
    def TextEmbedding(self) -> Any:
        return _Model(self)


class _Model:
    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(self, model: str, *, cache_dir: str, threads: int) -> _Model:
        if model not in self._source.cached:
            raise ConnectionError(f"no route to the hub ({threads})")
        self._source.caches.append(cache_dir)
        return self

    def list_supported_models(self) -> list[dict[str, str]]:
        return [{"model": "intfloat/e5-small"}, {"model": "BAAI/bge-small-en-v1.5"}]

    def embed(self, texts: Sequence[str], batch_size: int) -> Iterator[Any]:
        assert len(texts) <= batch_size
        if self._source.broken:
            raise RuntimeError("out of memory")
        self._source.given += texts
        return iter([np.array([3.0, 4.0])] * len(texts))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source(["intfloat/e5-small"])
    monkeypatch.setattr(hub, "import_module", lambda _: made)
    return made


async def test_prefixes_of_a_known_model_are_put_in_front(source: Source, tmp_path: Path) -> None:
    embedder = HubEmbedder("intfloat/e5-small", tmp_path)
    source.given.clear()
    asked = await embedder.query("red", {})
    found = await embedder.passages(["blue"] * 40)
    assert source.given == ["query: red", *["passage: blue"] * 40]
    assert asked.plain.tolist() == pytest.approx([0.6, 0.8])
    assert found.shape == (40, 2)
    assert (embedder.name, embedder.dimension, embedder.instant) == (
        "intfloat/e5-small-2",
        2,
        False,
    )
    assert source.caches == [str(tmp_path)]


async def test_a_failing_model_is_an_embedder_error(source: Source, tmp_path: Path) -> None:
    embedder = HubEmbedder("intfloat/e5-small", tmp_path)
    source.broken = True
    with pytest.raises(EmbedderError, match="RuntimeError"):
        await embedder.query("red", {})


def test_without_a_hub_it_is_said_what_to_do(source: Source, tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="ConnectionError") as caught:
        HubEmbedder("baai/BGE-small-en-v1.5", tmp_path)
    assert "cannot be reached" in caught.value.hint
    assert "folder" in caught.value.hint
    with pytest.raises(EmbedderError) as caught:
        HubEmbedder("no-such-model", tmp_path)
    assert "e5-small" in caught.value.hint


def test_without_fastembed_it_is_said_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(hub, "import_module", missing)
    with pytest.raises(EmbedderError, match="no folder here") as caught:
        HubEmbedder("./nowhere", tmp_path)
    assert "memrouter[hub]" in caught.value.hint
