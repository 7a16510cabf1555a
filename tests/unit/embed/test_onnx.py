"""Sentence encoders from a folder. The model itself is played by a fake session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from memrouter.embed import onnx
from memrouter.embed.onnx import Manner, OnnxEmbedder, manner_of, pooled
from memrouter.errors import EmbedderError

WORDS = {"[PAD]": 0, "[UNK]": 1, "ask": 2, ":": 3, "red": 4, "blue": 5}


class Session:
    """An encoder that gives each token its id as vector, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.broken = False

    def get_inputs(self) -> list[Any]:
        """What the model wants."""
        return [type("Input", (), {"name": name}) for name in ("input_ids", "attention_mask")]

    def run(self, _: None, given: dict[str, Any]) -> list[Any]:
        """Token ids as vectors of two numbers."""
        if self.broken:
            raise RuntimeError("out of memory")
        self.given.append(given)
        ids = given["input_ids"].astype(np.float32)
        return [np.stack((ids, np.ones_like(ids)), axis=2)]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """In place of onnxruntime."""
    made = Session()
    monkeypatch.setattr(onnx, "_session", lambda *_: made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder."""
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "model.onnx").write_bytes(b"weights")
    return tmp_path


def write(folder: Path, name: str, content: object) -> None:
    """A JSON file in a folder."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


async def test_texts_become_vectors_of_length_1_in_their_order(
    folder: Path, session: Session
) -> None:
    embedder = OnnxEmbedder(folder)
    vectors = await embedder.passages(["red blue red blue", "red", "blue blue"])
    assert embedder.dimension == 2
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1])
    assert (vectors[:, 0] / vectors[:, 1]).tolist() == pytest.approx([4.5, 4, 5], rel=1e-3)


async def test_prefixes_of_a_model_are_put_in_front(folder: Path, session: Session) -> None:
    embedder = OnnxEmbedder(folder, manner=Manner(query="ask : "))
    asked = await embedder.query("red", {"red": 9.0})
    assert session.given[-1]["input_ids"].tolist() == [[2, 3, 4]]
    assert asked.weighted is asked.plain
    await embedder.passages(["red"])
    assert session.given[-1]["input_ids"].tolist() == [[4]]


async def test_long_texts_are_cut(folder: Path, session: Session) -> None:
    embedder = OnnxEmbedder(folder, manner=Manner(max_tokens=8))
    await embedder.passages(["red " * 1_000_000 + "\ud800"])
    assert session.given[-1]["input_ids"].shape == (1, 8)


async def test_a_failing_model_is_an_embedder_error(folder: Path, session: Session) -> None:
    embedder = OnnxEmbedder(folder)
    session.broken = True
    with pytest.raises(EmbedderError, match="RuntimeError"):
        await embedder.query("red", {})


def test_names_tell_models_apart(folder: Path, session: Session) -> None:
    name = OnnxEmbedder(folder).name
    assert OnnxEmbedder(folder).name == name
    (folder / "model.onnx").write_bytes(b"other weights")
    assert OnnxEmbedder(folder).name != name


def test_pooling() -> None:
    output = np.array([[[3, 4], [0, 8], [9, 9]]], np.float32)
    mask = np.array([[1, 1, 0]])
    assert pooled(output, mask, "cls")[0].tolist() == pytest.approx([0.6, 0.8])
    mean = np.array([1.5, 6]) / np.linalg.norm([1.5, 6])
    assert pooled(output, mask, "mean")[0].tolist() == pytest.approx(mean.tolist())
    assert pooled(output[:, 0], mask, "mean")[0].tolist() == pytest.approx([0.6, 0.8])
    with pytest.raises(EmbedderError):
        pooled(output * np.nan, mask, "cls")


MANNERS: dict[str, tuple[str, dict[str, object], Manner]] = {
    "unknown": ("some-model", {}, Manner()),
    "by its folder": ("snowflake-arctic-embed-s", {}, Manner(pooling="cls", query=onnx._ASK)),
    "by its own name": (
        "int8",
        {"config.json": {"_name_or_path": "intfloat/multilingual-e5-small"}},
        Manner(query="query: ", passage="passage: "),
    ),
    "by sentence-transformers' files": (
        "mine",
        {
            "1_Pooling/config.json": {"pooling_mode_cls_token": True},
            "config_sentence_transformers.json": {"prompts": {"query": "q: ", "document": "d: "}},
        },
        Manner(pooling="cls", query="q: ", passage="d: "),
    ),
    "by ours": (
        "e5-small",
        {onnx.SETTINGS: {"pooling": "cls", "max_tokens": 128}},
        Manner(pooling="cls", max_tokens=128),
    ),
}


@pytest.mark.parametrize(("name", "files", "manner"), MANNERS.values(), ids=MANNERS)
def test_how_a_model_wants_to_be_asked(
    tmp_path: Path, name: str, files: dict[str, object], manner: Manner
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file, content in files.items():
        write(folder, file, content)
    assert manner_of(folder) == manner


def test_broken_settings_are_said(tmp_path: Path) -> None:
    write(tmp_path, onnx.SETTINGS, {"polling": "cls"})
    with pytest.raises(EmbedderError, match=r"memrouter\.json"):
        manner_of(tmp_path)
    (tmp_path / onnx.SETTINGS).write_text("{", "utf-8")
    with pytest.raises(EmbedderError, match="cannot be read"):
        manner_of(tmp_path)


def test_which_model_file(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"no model\*\.onnx"):
        onnx.model_file(tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model_int8.onnx").touch()
    assert onnx.model_file(tmp_path).name == "model_int8.onnx"
    (tmp_path / "onnx" / "model.onnx").touch()
    assert onnx.model_file(tmp_path).name == "model.onnx"


def test_a_folder_without_a_tokenizer_is_said(tmp_path: Path, session: Session) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(EmbedderError, match="cannot be used"):
        OnnxEmbedder(tmp_path)


def test_a_missing_package_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(onnx, "import_module", missing)
    with pytest.raises(EmbedderError) as caught:
        OnnxEmbedder(folder)
    assert "memrouter[onnx]" in caught.value.hint
