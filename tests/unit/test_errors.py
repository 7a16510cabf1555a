from __future__ import annotations

import re

import pytest

from memrouter import errors
from memrouter.errors import MemrouterError


def below(base: type[MemrouterError]) -> list[type[MemrouterError]]:
    """Errors of errors.py, as its docstring draws them."""
    found = [c for c in base.__subclasses__() if c.__module__ == errors.__name__]
    return [base, *(e for c in found for e in below(c))]


def test_the_docstring_draws_the_tree() -> None:
    lines = (errors.__doc__ or "").splitlines()[2:]
    found = [re.match(r"([│├└─ ]*)(\w+)(?: +(\d{3}))?", line) for line in lines]
    drawn = [(len(m[1]) // 4, m[2], int(m[3]) if m[3] else None) for m in found if m]
    path: list[str] = []
    parents = {}
    for depth, name, _ in drawn:
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else "Exception"
    tree = below(MemrouterError)
    assert parents == {error.__name__: error.__bases__[0].__name__ for error in tree}
    statuses = {error.__name__: error.status for error in tree}
    assert {n: s for _, n, s in drawn if s} == {n: statuses[n] for _, n, s in drawn if s}


@pytest.mark.parametrize("error", below(MemrouterError))
def test_every_error_says_what_it_is_for(error: type[MemrouterError]) -> None:
    assert error.__doc__
    assert 400 <= error.status < 600
    is_the_clients = issubclass(error, errors.RequestError)
    assert is_the_clients is (error.status < 500)


def test_message_hint_and_when_to_come_back() -> None:
    error = errors.RateLimited("slow down", "wait", retry_after_s=1.5)
    assert (str(error), error.hint, error.retry_after_s) == ("slow down", "wait", 1.5)
    assert errors.NotFound("x").hint == ""


def test_a_missing_provider_key_is_said_in_the_seeds_words() -> None:
    error = errors.ProviderKeyMissing("anthropic")
    assert error.status == 400
    assert str(error) == "No API key configured for provider: anthropic"
    assert error.hint == (
        "Add your anthropic API key in your account settings, or pass X-Provider-Key header"
    )
