"""The default embedder, on its real weights."""

from __future__ import annotations

import numpy as np
import pytest

from memrouter.embed import static
from memrouter.embed.static import StaticEmbedder
from memrouter.errors import EmbedderError


@pytest.fixture(scope="module")
def embedder() -> StaticEmbedder:
    """Loaded once."""
    return StaticEmbedder()


ODD = ["", " ", "\x00", "\ud800 lone", "🏠", "花生过敏", "x" * 1_000_000, "what is it"]


async def test_vectors_have_length_1(embedder: StaticEmbedder) -> None:
    vectors = await embedder.passages(["I live in Porto", "花生", *ODD])
    assert vectors.shape == (2 + len(ODD), embedder.dimension)
    lengths = np.linalg.norm(vectors, axis=1)
    assert all(length == pytest.approx(1, abs=1e-4) or length == 0 for length in lengths)
    assert lengths[0] == pytest.approx(1, abs=1e-4)


async def test_no_texts_have_no_vectors(embedder: StaticEmbedder) -> None:
    assert (await embedder.passages([])).shape == (0, embedder.dimension)


async def test_batches_change_nothing(embedder: StaticEmbedder) -> None:
    texts = [f"text number {n}" for n in range(150)]
    together = await embedder.passages(texts)
    alone = np.concatenate([await embedder.passages([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-5)


async def test_like_texts_are_nearer(embedder: StaticEmbedder) -> None:
    asked = (await embedder.query("Where is my home?", {})).plain
    near, far = await embedder.passages(["I live in a house in Porto", "The compiler failed"])
    assert asked @ near > asked @ far


async def test_rare_words_weigh_more(embedder: StaticEmbedder) -> None:
    porto = (await embedder.passages(["Porto"]))[0]
    text = "the house and the garden in Porto"
    even = await embedder.query(text, {})
    rarity = dict.fromkeys(text.lower().split(), 1.0)
    skewed = await embedder.query(text, rarity | {"porto": 9.0})
    assert np.allclose(even.plain, even.weighted)
    assert np.allclose(even.plain, skewed.plain)
    assert skewed.weighted @ porto > even.weighted @ porto + 0.1


async def test_words_weigh_whatever_script_they_are_in(embedder: StaticEmbedder) -> None:
    plain = await embedder.query("iPhoneを買った", {})
    skewed = await embedder.query("iPhoneを買った", {"iphone": 5.0, "を買った": 0.1})
    assert not np.allclose(plain.weighted, skewed.weighted, atol=1e-3)


async def test_weights_of_other_words_weigh_nothing(embedder: StaticEmbedder) -> None:
    found = await embedder.query("Porto", {"lisbon": 3.0})
    assert np.allclose(found.plain, found.weighted)


@pytest.mark.parametrize("text", ODD, ids=repr)
async def test_odd_questions(embedder: StaticEmbedder, text: str) -> None:
    found = await embedder.query(text[:1_000], {"what": 1.0})
    assert np.isfinite(found.weighted).all()
    assert np.isfinite(found.plain).all()


def test_missing_weights_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "find_spec", lambda _: None)
    with pytest.raises(EmbedderError, match="wordllama"):
        StaticEmbedder()
