"""For all tests."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from memrouter.ops import logs

# Machines under load are slow, and that is no failure; what failed once is printed as code.
settings.register_profile(
    "memrouter",
    deadline=None,
    print_blob=True,
    suppress_health_check=(HealthCheck.too_slow,),
)
settings.load_profile("memrouter")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to the log, as an operator would see it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", written)
        logs.set_up("debug", "json")
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    for name, module in list(sys.modules.items()):  # loggers keep their first set-up
        if name.startswith("memrouter."):
            vars(vars(module).get("log", module)).pop("bind", None)
