from __future__ import annotations

import pytest

from memrouter.errors import ConfigError, UpstreamRefused
from memrouter.upstream.allowlist import Allowlist

# entry, scheme, host, port → allowed
ENTRIES: dict[str, tuple[str, str, str, int, bool]] = {
    "host, any port": ("llm.internal", "http", "llm.internal", 8000, True),
    "host, https": ("llm.internal", "https", "llm.internal", 443, True),
    "host and port": ("llm.internal:8000", "http", "llm.internal", 8000, True),
    "host and another port": ("llm.internal:8000", "http", "llm.internal", 8001, False),
    "another host": ("llm.internal", "http", "x.llm.internal", 80, False),
    "capitals": ("LLM.Internal.", "http", "llm.internal", 80, True),
    "a whole URL": ("http://llm.internal:8000/", "http", "llm.internal", 8000, True),
    "address": ("10.0.0.8", "http", "10.0.0.8", 80, True),
    "address and port": ("127.0.0.1:9000", "http", "127.0.0.1", 9000, True),
    "IPv6": ("::1", "http", "[::1]", 9000, True),
    "IPv6 in brackets": ("[::1]", "http", "[::1]", 9000, True),
    "IPv6 and port": ("[0::1]:9000", "http", "[::1]", 9000, True),
    "IPv6 and another port": ("[::1]:9000", "http", "[::1]", 9001, False),
}


@pytest.mark.parametrize(
    ("entry", "scheme", "host", "port", "allowed"), ENTRIES.values(), ids=ENTRIES
)
def test_entries(entry: str, scheme: str, host: str, port: int, allowed: bool) -> None:
    allowlist = Allowlist((), [entry])
    if allowed:
        assert allowlist.check(scheme, host, port) is False
    else:
        with pytest.raises(UpstreamRefused):
            allowlist.check(scheme, host, port)


@pytest.mark.parametrize("entry", ["", "a b", "host:port", "http://", "user@host", "*.example"])
def test_entries_that_are_none(entry: str) -> None:
    with pytest.raises(ConfigError, match="allowed_upstreams"):
        Allowlist((), [entry])


def test_a_known_host_may_be_named_too() -> None:
    assert Allowlist({"api.openai.com"}).check("https", "api.openai.com", 443)
    named = Allowlist({"api.openai.com"}, ["api.openai.com"])
    assert named.check("http", "api.openai.com", 8080) is False
