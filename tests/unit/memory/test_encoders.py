"""Which encoder a vault is asked by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memrouter.domain import Vectors
from memrouter.memory.encoders import Encoders
from memrouter.ports import Asked


class Named:
    """An encoder that is only asked for its name."""

    dimension = 2
    instant = False

    def __init__(self, name: str) -> None:
        self.name = name

    async def query(self, text: str, rarity: Mapping[str, float]) -> Asked:
        """Never asked here."""
        raise NotImplementedError

    async def passages(self, texts: Sequence[str]) -> Vectors:
        """Never asked here."""
        raise NotImplementedError


def test_without_an_encoder_the_default_embedder_is_alone() -> None:
    encoders = Encoders()
    assert (encoders.current, encoders.name, encoders.named("a")) == (None, "", None)


def test_vaults_that_are_not_done_are_still_asked_by_the_one_before() -> None:
    old, new = Named("old"), Named("new")
    encoders = Encoders(old)
    encoders.use(new, (old,))
    assert (encoders.name, encoders.named("new"), encoders.named("old")) == ("new", new, old)
    encoders.use(None, (new,))
    assert (encoders.name, encoders.named("new"), encoders.named("old")) == ("", new, None)
