"""For all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines under load are slow, and that is no failure; what failed once is printed as code.
settings.register_profile(
    "memrouter",
    deadline=None,
    print_blob=True,
    suppress_health_check=(HealthCheck.too_slow,),
)
settings.load_profile("memrouter")
