"""One provider and one router for tests that share them, and routers of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memrouter.testing.provider import ScriptedProvider, serving

from .stack import Router


class ServedProvider(ScriptedProvider):
    """A scripted provider that knows its own port."""

    port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="session")
def served() -> Iterator[ServedProvider]:
    provider = ServedProvider()
    with serving(provider) as port:
        provider.port = port
        yield provider


@pytest.fixture(scope="session")
def shared_router(
    served: ServedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Router]:
    router = Router(tmp_path_factory.mktemp("router"), served.port)
    yield router.start()
    router.kill()
    _check_spills(router)  # what all tests together left behind


@pytest.fixture
def provider(served: ServedProvider) -> Iterator[ServedProvider]:
    """The scripted provider, with nothing recorded and nothing in its queue."""
    served.release()
    served.clear()
    served.script = None
    yield served
    served.release()


@pytest.fixture
def router(shared_router: Router, provider: ServedProvider) -> Iterator[Router]:
    """The shared router; what it sent to the provider is searched for leaks afterwards."""
    if not shared_router.running:  # a test broke it: the others still get theirs
        shared_router.start()
    yield shared_router
    assert shared_router.running, shared_router.log[-4000:]
    _check_leaks(shared_router, provider)


@pytest.fixture
def new_router(provider: ServedProvider, tmp_path: Path) -> Iterator[Callable[..., Router]]:
    """Makes routers that the test may kill; keyword arguments are MEMROUTER_ settings."""
    made: list[Router] = []

    def make(*arguments: str, **settings: str) -> Router:
        router = Router(tmp_path / f"router-{len(made)}", provider.port, **settings)
        made.append(router)
        return router.start(*arguments)

    yield make
    for router in made:
        router.kill()
        _check_leaks(router, provider)
        _check_spills(router)
        shutil.rmtree(router.data, ignore_errors=True)


@pytest.fixture
def key(router: Router) -> str:
    """A memory key of the shared router, its vault empty."""
    return router.mint()


def _check_leaks(router: Router, provider: ServedProvider) -> None:
    leaks = {leak for request in provider.requests for leak in router.leaks(request)}
    assert not leaks, f"reached the provider: {sorted(leaks)}"


def _check_spills(router: Router) -> None:
    spills = set(router.spills())
    assert not spills, f"written where it must not be: {sorted(spills)}"
