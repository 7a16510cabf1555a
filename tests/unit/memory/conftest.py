"""What has a compiled part is tested with it and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memrouter.memory import authors, occurrences, ranking


@pytest.fixture(scope="module", params=["compiled", "by_numpy"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once as it is compiled, once as it is where nothing could be compiled."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by_numpy":
            for module in (authors, occurrences, ranking):
                patch.setattr(module, "_native", None)
        elif ranking._native is None:
            pytest.skip("there is no C compiler")
        yield
