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
    """fastembed, its logger and the hub it fetches from."""

    def __init__(self, cached: Sequence[str]) -> None:
        self.cached = cached
        self.on_hub: list[str] = []
        self.given: list[str] = []
        self.caches: list[str] = []
        self.asked: list[str] = []
        self.quiet: list[str] = []
        self.broken = False

    @property
    def TextEmbedding(self) -> Any:
        return _Model(self)

    @property
    def logger(self) -> Any:
        return self

    def disable(self, name: str) -> None:
        self.quiet.append(name)

    def HfApi(self) -> Source:
        return self

    def model_info(self, repository: str, timeout: float) -> None:
        self.asked.append(repository)
        if repository not in self.on_hub:
            raise ConnectionError(f"no route to the hub ({timeout})")


class _Model:
    def __init__(self, source: Source) -> None:
        self._source = source

    def __call__(
        self, model: str, *, cache_dir: str, threads: int, local_files_only: bool = False
    ) -> _Model:
        if local_files_only and model not in self._source.cached:
            raise ValueError(f"Could not load model {model} from any source ({threads})")
        self._source.caches.append(cache_dir)
        return self

    def list_supported_models(self) -> list[dict[str, Any]]:
        names = ("intfloat/e5-small", "BAAI/bge-small-en-v1.5")
        return [{"model": name, "sources": {"hf": name.lower(), "url": None}} for name in names]

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


def test_what_is_in_the_cache_asks_no_hub(source: Source, tmp_path: Path) -> None:
    HubEmbedder("intfloat/e5-small", tmp_path)
    assert (source.asked, source.quiet) == ([], ["fastembed"])


def test_what_is_not_is_fetched(source: Source, tmp_path: Path) -> None:
    source.on_hub.append("baai/bge-small-en-v1.5")
    HubEmbedder("baai/BGE-small-en-v1.5", tmp_path)
    assert source.caches == [str(tmp_path)]


def test_without_a_hub_it_is_said_what_to_do(source: Source, tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="cannot be reached: ConnectionError") as caught:
        HubEmbedder("baai/BGE-small-en-v1.5", tmp_path)
    assert "folder" in caught.value.hint
    assert source.caches == []
    with pytest.raises(EmbedderError, match="does not know") as caught:
        HubEmbedder("no-such-model", tmp_path)
    assert "e5-small" in caught.value.hint


def test_a_broken_model_is_said_to_be(source: Source, tmp_path: Path) -> None:
    source.broken = True
    with pytest.raises(EmbedderError, match="cannot be loaded: RuntimeError"):
        HubEmbedder("intfloat/e5-small", tmp_path)


@pytest.mark.parametrize("path", ["../x", "./x", "/nowhere/x", "~/no-such-folder", "a/b/c"])
def test_a_path_is_no_name(source: Source, tmp_path: Path, path: str) -> None:
    with pytest.raises(EmbedderError, match=f"no folder {path}"):
        HubEmbedder(path, tmp_path)


def test_a_file_is_no_folder(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.touch()
    with pytest.raises(EmbedderError, match="is a file"):
        HubEmbedder(str(file), tmp_path)


def test_without_fastembed_it_is_said_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(hub, "import_module", missing)
    with pytest.raises(EmbedderError, match="no folder here") as caught:
        HubEmbedder("nowhere", tmp_path)
    assert "memrouter[hub]" in caught.value.hint
