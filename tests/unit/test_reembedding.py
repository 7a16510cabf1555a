"""`memrouter embedder` on a data folder, without a server. The model itself is played."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from memrouter import app, choice, reembedding
from memrouter.choice import Choice
from memrouter.config import Config
from memrouter.domain import Scope
from memrouter.embed import onnx
from memrouter.errors import ConfigError, EmbedderError

from .test_offline import Desk


class _Session:
    """An encoder that gives each token its id as vector."""

    def get_inputs(self) -> Sequence[Any]:
        """What the model wants."""
        return [type("Input", (), {"name": "input_ids"})]

    def run(self, _: None, given: dict[str, Any]) -> list[Any]:
        """Vectors of three numbers."""
        ids = given["input_ids"].astype(np.float32)
        return [np.stack((ids, np.ones_like(ids), np.ones_like(ids)), axis=2)]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder."""
    folder = tmp_path / "models" / "arctic-embed-tiny"
    folder.mkdir(parents=True)
    Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]")).save(
        str(folder / "tokenizer.json")
    )
    (folder / "model.onnx").write_bytes(b"weights")
    monkeypatch.setattr(onnx, "_session", lambda *_: _Session())
    return folder


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "data")
    made.store(b'{"content": "My dog is called Biscuit."}\n{"content": "I live in Oslo."}\n')
    return made


def said(desk: Desk, work: Any, *args: Any, **named: Any) -> str:
    shown = io.StringIO()
    work(desk.config, *args, Console(file=shown, width=200), **named)
    return shown.getvalue()


async def held(config: Config) -> list[tuple[str, int]]:
    parts = app.build(config, Path(config.data_dir))
    found = [await parts.store.signals(Scope(vault=v)) async for v in parts.store.vaults()]
    await parts.close()
    return [(signals.encoder, int(signals.encoded.sum())) for signals in found]


def test_a_folder_is_used_and_given_up(desk: Desk, model: Path) -> None:
    assert "static (default)" in said(desk, reembedding.show)
    assert "Done" in said(desk, reembedding.use, str(model), wait=True)
    assert choice.read(Path(desk.config.data_dir)) == Choice(use=str(model))
    ((name, count),) = asyncio.run(held(desk.config))
    assert (name.startswith("arctic-embed-tiny-3-"), count) == (True, 2)
    shown = said(desk, reembedding.show)
    assert f"wordllama-256 + {name}" in shown
    assert str(model) in shown
    assert "In use" in said(desk, reembedding.use, str(model), wait=True)
    assert "Biscuit" in desk.found("what is my dog called")
    desk.store(b'{"content": "My cat is called Mochi."}\n')
    assert asyncio.run(held(desk.config)) == [(name, 3)]
    assert "Done" in said(desk, reembedding.use, "static", wait=True)
    assert asyncio.run(held(desk.config)) == [("", 0)]


def test_without_waiting_the_choice_is_left_to_a_server(desk: Desk, model: Path) -> None:
    assert "server" in said(desk, reembedding.use, str(model), wait=False)
    assert choice.read(Path(desk.config.data_dir)).done is False
    assert "being brought" in said(desk, reembedding.show)


def test_a_command_watches_a_server_that_works(
    desk: Desk, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(desk.config.data_dir)
    monkeypatch.setattr(reembedding, "_LOOK_S", 0.01)
    read = choice.progress
    looks: list[int] = []

    def look(at: Path) -> choice.Progress:
        """The server is done at the third look."""
        looks.append(1)
        if len(looks) == 3:
            choice.write(at, choice.read(at).finished())
        return read(at)

    monkeypatch.setattr(choice, "progress", look)
    with choice.leading(folder):
        assert "Done" in said(desk, reembedding.use, str(model), wait=True)
    assert len(looks) == 3


def test_what_cannot_be_loaded_is_not_chosen(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"no model\*\.onnx"):
        said(desk, reembedding.use, str(tmp_path), wait=True)
    assert choice.read(Path(desk.config.data_dir)) == Choice()


def test_a_choice_by_the_configuration_stands(desk: Desk, model: Path) -> None:
    config = Config(data_dir=desk.config.data_dir, embedder=str(model))
    with pytest.raises(ConfigError, match="setting"):
        reembedding.use(config, "static", Console(file=io.StringIO()), wait=True)
    parts = app.build(config, Path(config.data_dir))
    assert parts.encoders.name.startswith("arctic-embed-tiny")
    assert parts.choice == Choice(use=str(model), done=False)
    shown = io.StringIO()
    reembedding.show(config, Console(file=shown, width=200))
    assert "setting" in shown.getvalue()
