"""Memory control from every source, and what happens where they disagree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from .conftest import ServedProvider
from .stack import Router

FACT = "My dog is called Rex."
QUESTION = "What is my dog called?"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A way to ask, and what memory does then."""

    suffix: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    recalls: bool = True
    stores: int = 2
    """Turns: the user's and the assistant's."""


OFF: dict[str, Any] = {"recalls": False, "stores": 0}
READ: dict[str, Any] = {"stores": 0}
WRITE: dict[str, Any] = {"recalls": False}

CASES: dict[str, Case] = {
    "default": Case(),
    "suffix read": Case(suffix=":read", **READ),
    "suffix write": Case(suffix=":write", **WRITE),
    "suffix off": Case(suffix=":off", **OFF),
    "suffix on": Case(suffix=":on"),
    "header read": Case(headers={"X-Memory-Mode": "read"}, **READ),
    "header write": Case(headers={"X-Memory-Mode": "write"}, **WRITE),
    "header off": Case(headers={"X-Memory-Mode": "off"}, **OFF),
    "header in capitals": Case(headers={"X-Memory-Mode": "OFF"}, **OFF),
    "header default": Case(headers={"X-Memory-Mode": "default"}),
    "header none": Case(headers={"X-Memory-Mode": "none"}, **OFF),
    "header all": Case(headers={"X-Memory-Mode": "all"}),
    "header no input": Case(headers={"X-Memory-Store": "false"}, stores=1),
    "header no input, other name": Case(headers={"X-Store-Input": "false"}, stores=1),
    "header no reply": Case(headers={"X-Memory-Store-Response": "false"}, stores=1),
    "header no reply, other name": Case(headers={"X-Store-Response": "false"}, stores=1),
    "query off": Case(query="?memory=off", **OFF),
    "query false": Case(query="?memory=false", **OFF),
    "query read": Case(query="?mode=read", **READ),
    "query no input": Case(query="?store=false", stores=1),
    "body off": Case(fields={"memory": False}, **OFF),
    "body read": Case(fields={"memory_mode": "read"}, **READ),
    "body no input": Case(fields={"memory_store": False}, stores=1),
    "body no reply": Case(fields={"memory_store_response": False}, stores=1),
    "body neither": Case(fields={"store_input": False, "store_response": False}, stores=0),
    "header over suffix": Case(suffix=":off", headers={"X-Memory-Mode": "on"}),
    "query over header": Case(query="?mode=read", headers={"X-Memory-Mode": "off"}, **READ),
    "body over query": Case(query="?mode=read", fields={"memory_mode": "write"}, **WRITE),
    "a store switch adds nothing to read": Case(
        headers={"X-Memory-Mode": "read", "X-Memory-Store": "true"}, **READ
    ),
    "no memories asked for": Case(headers={"X-Context-Limit": "0"}, recalls=False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_control(router: Router, provider: ServedProvider, key: str, case: Case) -> None:
    router.ask(key, FACT)
    before = router.memories(key)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": QUESTION}]} | case.fields
    with router.http(key + case.suffix) as http:
        answer = http.post("/v1/chat/completions" + case.query, json=body, headers=case.headers)
    assert answer.status_code == 200, answer.text
    prompt = provider.prompts[-1]
    assert (FACT in prompt.memory) is case.recalls
    assert answer.json()["choices"][0]["message"]["content"] == (
        FACT if case.recalls else "I don't know."
    )
    assert router.memories(key) - before == case.stores
    assert not provider.requests[-1].query


WRONG: dict[str, tuple[dict[str, str], str, dict[str, Any], str]] = {
    "mode in a header": ({"X-Memory-Mode": "sometimes"}, "", {}, "read"),
    "mode in the query": ({}, "?mode=sometimes", {}, "read"),
    "mode in the body": ({}, "", {"memory_mode": "sometimes"}, "read"),
    "boolean in a header": ({"X-Memory-Store": "perhaps"}, "", {}, "false"),
    "boolean in the query": ({}, "?store=perhaps", {}, "false"),
    "boolean in the body": ({}, "", {"memory_store": "perhaps"}, "false"),
    "density": ({}, "", {"density": "enormous"}, "xhigh"),
    "limit": ({"X-Context-Limit": "many"}, "", {}, ""),
    "negative limit": ({"X-Context-Limit": "-1"}, "", {}, ""),
}


@pytest.mark.parametrize(("headers", "query", "fields", "named"), WRONG.values(), ids=WRONG)
def test_unknown_values_are_refused_and_the_allowed_ones_named(
    router: Router,
    provider: ServedProvider,
    key: str,
    headers: dict[str, str],
    query: str,
    fields: dict[str, Any],
    named: str,
) -> None:
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]} | fields
    with router.http(key) as http:
        answer = http.post("/v1/chat/completions" + query, json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert named in answer.text
    assert not provider.requests


@pytest.mark.parametrize("suffix", [":sometimes", ":", ":read:off", ":READ-ONLY"])
def test_unknown_suffixes_are_401_and_name_the_four(
    router: Router, provider: ServedProvider, key: str, suffix: str
) -> None:
    with router.http(key + suffix) as http:
        answer = http.post("/v1/chat/completions", json={"model": "m", "messages": []})
    assert answer.status_code == 401
    for mode in (":read", ":write", ":off"):
        assert mode in answer.json()["hint"]
    assert not provider.requests
