"""`/v3/{provider url}`: the seed's own base URLs, with the real SDKs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import types

from memrouter.testing.script import NOT_KNOWN, NOTED, Answer

from .conftest import ServedProvider
from .stack import Router, raw_messages

FACT = "My dog is called Rex."
QUESTION = "What is my dog called?"
THEIR_KEY = "sk-of-the-client"
users = (f"user-{n}" for n in itertools.count())


@pytest.fixture
def user() -> str:
    """A user id that nobody else has: the account's vaults are shared by all tests."""
    return next(users)


def client(router: Router, base: str, user: str | None = None, **headers: str) -> openai.OpenAI:
    """The SDK as the seed sets it up, with this `base_url` after the router's address."""
    given = {"x-supermemory-api-key": router.account_key, **headers}
    if user is not None:
        given["x-sm-user-id"] = user
    return openai.OpenAI(
        base_url=router.url + base,
        api_key=THEIR_KEY,
        default_headers=given,
        max_retries=0,
        http_client=httpx2.Client(trust_env=False),
    )


def say(sdk: openai.OpenAI, *texts: str, stream: bool = False, **options: Any) -> str:
    """A conversation of user and assistant turns by turns; the answer."""
    roles = itertools.cycle(("user", "assistant"))
    messages: Any = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
    create = sdk.chat.completions.create
    with sdk:
        if not stream:
            whole = create(model="gpt-5", messages=messages, **options)
            return whole.choices[0].message.content or ""
        chunks = create(model="gpt-5", messages=messages, stream=True, **options)
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as in the seed": lambda url: f"/v3/{url}/v1/",
    "no slash at the end": lambda url: f"/v3/{url}/v1",
    "slashes collapsed": lambda url: f"/v3/{url.replace('//', '/')}/v1/",
    "percent-encoded": lambda url: f"/v3/{quote(url + '/v1', safe='')}",
    "percent-encoded with a slash": lambda url: f"/v3/{quote(url + '/v1/', safe='')}",
    "scheme in capitals": lambda url: f"/v3/{url.replace('http', 'HTTP')}/v1",
}


@pytest.mark.parametrize("base", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_every_spelling_of_a_base_url(
    router: Router,
    provider: ServedProvider,
    user: str,
    base: Callable[[str], str],
    stream: bool,
) -> None:
    path = base(provider.url)
    assert say(client(router, path, user), QUESTION, stream=stream) == NOT_KNOWN
    assert say(client(router, path, user), FACT, stream=stream) == NOTED
    assert say(client(router, path, user), QUESTION, stream=stream) == FACT
    for sent in provider.requests:
        assert (sent.path, sent.query) == ("/v1/chat/completions", "")
        assert sent.header("authorization") == f"Bearer {THEIR_KEY}"
        assert sent.header("host") == provider.url.removeprefix("http://")


def test_the_seeds_base_url_that_names_the_user(
    router: Router, provider: ServedProvider, user: str
) -> None:
    """It ends in `/chat/completions?userId=user123`, and the SDK appends to that what it must."""
    base = f"/v3/{provider.url}/v1/chat/completions?userId={user}"
    assert say(client(router, base), FACT) == NOTED
    assert say(client(router, base), QUESTION) == FACT
    for sent in provider.requests:
        assert (sent.path, sent.query) == ("/v1/chat/completions", "")
    by_header = client(router, f"/v3/{provider.url}/v1/", user)
    assert say(by_header, QUESTION) == FACT  # the user is the one that was meant


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions?userId={user}/chat/completions",
        "/v1/chat/completions?userId={user}chat/completions",
        "/v1/chat/completions/?userId={user}chat/completions",
        "/v1/chat/completions/?userId={user}",
        "/v1/chat/completions?userId={user}&api-version=2024",
    ],
)
def test_other_ways_to_join_that_base_url(
    router: Router, provider: ServedProvider, user: str, path: str
) -> None:
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": FACT}]}
    headers = {
        "x-supermemory-api-key": router.account_key,
        "authorization": f"Bearer {THEIR_KEY}",
    }
    with router.http(**headers) as http:
        answer = http.post(f"/v3/{provider.url}{path.format(user=user)}", json=body)
    assert answer.status_code == 200, answer.text
    sent = provider.requests[-1]
    assert sent.path == "/v1/chat/completions"
    assert sent.query == ("api-version=2024" if "api-version" in path else "")
    assert say(client(router, f"/v3/{provider.url}/v1/", user), QUESTION) == FACT


@pytest.mark.parametrize("place", ["header", "misspelled header", "query"])
def test_where_the_memory_key_may_stand(
    router: Router, provider: ServedProvider, user: str, place: str
) -> None:
    headers = {"authorization": f"Bearer {THEIR_KEY}", "x-sm-user-id": user}
    query = ""
    match place:
        case "header":
            headers["x-supermemory-api-key"] = router.account_key
        case "misspelled header":
            headers["x-supermemory--api-key"] = router.account_key
        case _:
            query = f"?apiKey={router.account_key}"
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": FACT}]}
    with router.http(**headers) as http:
        answer = http.post(f"/v3/{provider.url}/v1/chat/completions{query}", json=body)
    assert answer.status_code == 200, answer.text
    assert provider.requests[-1].header("authorization") == f"Bearer {THEIR_KEY}"
    assert provider.requests[-1].query == ""


def test_users_are_apart_however_they_are_named(router: Router, provider: ServedProvider) -> None:
    base = f"/v3/{provider.url}/v1/"
    alice, bob = f"alice-{next(users)}", f"bob-{next(users)}"
    say(client(router, base, alice), "My secret word is xylophone.")
    say(client(router, base), "My secret word is marzipan.", user=bob)
    ask = "What is my secret word?"
    assert say(client(router, base), ask, user=alice) == "My secret word is xylophone."
    assert say(client(router, base, bob), ask) == "My secret word is marzipan."
    # The header is more specific than the body.
    assert say(client(router, base, bob), ask, user=alice) == "My secret word is marzipan."
    assert say(client(router, base, f"carol-{next(users)}"), ask) == NOT_KNOWN
    for sent in provider.requests:
        assert not (b"xylophone" in sent.body and b"marzipan" in sent.body)


def test_the_account_reaches_the_same_vault_on_v1(
    router: Router, provider: ServedProvider, user: str
) -> None:
    say(client(router, f"/v3/{provider.url}/v1/", user), FACT)
    headers = {"X-OpenWebUI-User-Id": user}
    assert router.ask(router.account_key, QUESTION, extra_headers=headers) == FACT


def test_a_conversation_of_which_only_the_new_turn_is_sent(
    router: Router, provider: ServedProvider, user: str
) -> None:
    """The seed's own example."""
    base = f"/v3/{provider.url}/v1/"
    conversation = {"x-sm-conversation-id": "conv_123"}
    say(client(router, base, user), "My name is Alice", extra_headers=conversation)
    answer = say(client(router, base, user), "What's my name?", extra_headers=conversation)
    assert "Alice" in answer
    sent = provider.requests[-1].json["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == "My name is Alice"


def test_a_client_that_sends_everything_gets_nothing_twice(
    router: Router, provider: ServedProvider, user: str
) -> None:
    base = f"/v3/{provider.url}/v1/"
    conversation = {"x-sm-conversation-id": "conv_9"}
    texts = ["My name is Alice."]
    for _ in range(3):
        texts.append(say(client(router, base, user), *texts, extra_headers=conversation))
        texts.append("And I live in Oslo, as I said before.")
    say(client(router, base, user), *texts, extra_headers=conversation)
    assert len(provider.requests[-1].json["messages"]) == len(texts)
    assert provider.prompts[-1].text.count("My name is Alice.") == 1
    for before, after in itertools.pairwise(provider.requests):
        assert raw_messages(after).startswith(raw_messages(before))


SEED_HEADERS = (
    "x-supermemory-conversation-id",
    "x-supermemory-context-modified",
    "x-supermemory-tokens-processed",
    "x-supermemory-chunks-created",
    "x-supermemory-chunks-deleted",
    "x-supermemory-docs-deleted",
    "x-supermemory-chunks-retrieved",
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_seeds_headers(
    router: Router, provider: ServedProvider, user: str, stream: bool
) -> None:
    base = f"/v3/{provider.url}/v1/"
    say(client(router, base, user), FACT)
    with router.http(**_headers(router, user)) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
        answer = http.post(f"{base}chat/completions", json=body)
        given = http.post(
            f"{base}chat/completions", json=body, headers={"x-sm-conversation-id": "conv-7"}
        )
    for name in SEED_HEADERS:
        assert name in answer.headers or (stream and name.endswith("created")), name
    assert answer.headers["x-supermemory-conversation-id"]
    assert answer.headers["x-supermemory-context-modified"] == "true"
    assert int(answer.headers["x-supermemory-tokens-processed"]) > 0
    assert int(answer.headers["x-supermemory-chunks-retrieved"]) > 0
    assert "x-supermemory-error" not in answer.headers
    assert given.headers["x-supermemory-conversation-id"] == "conv-7"


CHORE = (
    "### Task:\nGenerate a concise title.\n### Chat History:\n<chat_history>\nx\n</chat_history>"
)


@pytest.mark.parametrize("text", [QUESTION, CHORE], ids=["a question", "a chore"])
@pytest.mark.parametrize("mode", ["on", "read", "write", "off"])
def test_tokens_are_counted_whatever_memory_does(
    router: Router, provider: ServedProvider, user: str, mode: str, text: str
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    with router.http(**_headers(router, user)) as http:
        path = f"/v3/{provider.url}/v1/chat/completions"
        answer = http.post(path, json=body, headers={"x-memory-mode": mode})
        by_suffix = http.post(
            path,
            json=body | {"user": f"{user}-2"},
            headers={"x-supermemory-api-key": f"{router.account_key}:{mode}"},
        )
    for given in (answer, by_suffix):
        assert int(given.headers["x-supermemory-tokens-processed"]) > 5
    assert answer.headers["x-supermemory-context-modified"] == "false"


def test_anthropic_and_gemini_below_v3(router: Router, provider: ServedProvider, user: str) -> None:
    theirs = {"x-supermemory-api-key": router.account_key, "x-sm-user-id": user}
    base = f"{router.url}/v3/{provider.url}"
    with anthropic.Anthropic(
        base_url=base, api_key=THEIR_KEY, default_headers=theirs, max_retries=0
    ) as claude:

        def to_claude(text: str) -> str:
            with claude.messages.stream(
                model="claude-opus-4.8",
                max_tokens=64,
                messages=[{"role": "user", "content": text}],
            ) as stream:
                return stream.get_final_text()

        assert to_claude(FACT) == NOTED
        assert to_claude(QUESTION) == FACT
    assert provider.requests[-1].path == "/v1/messages"
    assert THEIR_KEY in str(provider.requests[-1].headers)  # where the SDK put it

    options = types.HttpOptions(base_url=base, headers=theirs)
    gemini = genai.Client(api_key=THEIR_KEY, http_options=options)
    answer = gemini.models.generate_content(model="gemini-3.5-flash", contents=QUESTION)
    parts = gemini.models.generate_content_stream(model="gemini-3.5-flash", contents=QUESTION)
    assert answer.text == "".join(p.text or "" for p in parts) == FACT
    gemini.close()
    assert provider.requests[-1].header("x-goog-api-key") == THEIR_KEY
    assert provider.requests[-1].path.startswith(("/v1/models/", "/v1beta/models/"))


def test_everything_else_passes_through(
    router: Router, provider: ServedProvider, user: str
) -> None:
    with client(router, f"/v3/{provider.url}/v1/", user) as sdk:
        assert sdk.models.list().data
        assert sdk.embeddings.create(model="e", input="x").data
        heard = sdk.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"\x00\xff" * 99))
        assert heard.model_dump()["parts"]
        with pytest.raises(openai.NotFoundError):
            sdk.vector_stores.list()


def test_redirects_are_the_clients_to_follow(
    router: Router, provider: ServedProvider, user: str
) -> None:
    away = {"location": "http://169.254.169.254/latest/meta-data"}
    provider.queue(Answer(status=307, headers=away, body=b""))
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    with router.http(**_headers(router, user)) as http:
        answer = http.post(f"/v3/{provider.url}/v1/chat/completions", json=body)
    assert answer.status_code == 307
    assert answer.headers["location"] == away["location"]
    assert len(provider.requests) == 1


REFUSED = [
    "http://127.0.0.1:9/v1/",
    "http://localhost:{port}/v1/",
    "http://[::1]:{port}/v1/",
    "http://[::ffff:127.0.0.1]:{port}/v1/",
    "http://2130706433:{port}/v1/",
    "http://0177.0.0.1:{port}/v1/",
    "http://0x7f.0.0.1:{port}/v1/",
    "http://127.1:{port}/v1/",
    "http://0.0.0.0:{port}/v1/",
    "http://169.254.169.254/v1/",
    "http://metadata.google.internal/v1/",
    "http://10.0.0.1/v1/",
    "http://192.168.1.1/v1/",
    "http://example.com/v1/",
    "https://api.openai.com.example.com/v1/",
    "http://api.openai.com@127.0.0.1:9/v1/",
    "http://user:pass@127.0.0.1:{port}/v1/",
    "ftp://127.0.0.1:{port}/v1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "127.0.0.1:{port}/v1/",
    "http://",
    "http:///v1/",
    "//127.0.0.1:{port}/v1/",
]


@pytest.mark.parametrize("url", REFUSED)
def test_hosts_that_are_not_allowed(
    router: Router, provider: ServedProvider, user: str, url: str
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    target = url.format(port=provider.port)
    with router.http(**_headers(router, user)) as http:
        answer = http.post(f"/v3/{target}chat/completions", json=body)
    assert answer.status_code in (400, 403, 404), answer.text
    assert answer.json()["error"]
    assert answer.json()["hint"]
    assert not provider.requests


def test_a_refusal_is_one_in_each_sdks_own_words(router: Router, user: str) -> None:
    theirs = {"x-supermemory-api-key": router.account_key, "x-sm-user-id": user}
    base = f"{router.url}/v3/http://10.0.0.1"
    messages: Any = [{"role": "user", "content": FACT}]
    with anthropic.Anthropic(
        base_url=base, api_key=THEIR_KEY, default_headers=theirs, max_retries=0
    ) as claude:
        create = claude.messages.create
        with pytest.raises(anthropic.PermissionDeniedError) as refused:
            create(model="claude-opus-4.8", max_tokens=9, messages=messages)
    body: Any = refused.value.body
    assert body["error"]["message"] == "10.0.0.1 is not on the public internet"
    assert body["hint"]

    options = types.HttpOptions(base_url=base, headers=theirs)
    gemini = genai.Client(api_key=THEIR_KEY, http_options=options)
    with pytest.raises(genai.errors.ClientError) as denied:
        gemini.models.generate_content(model="gemini-3.5-flash", contents=FACT)
    gemini.close()
    assert denied.value.code == 403
    assert denied.value.message == "10.0.0.1 is not on the public internet"


def test_a_question_asked_again_still_gets_what_was_cut(
    router: Router, provider: ServedProvider, user: str
) -> None:
    """A single word on topic, which the question and its answer have made less rare meanwhile."""
    filler = "We spoke of the weather, of trains and of the price of bread in the market. " * 20
    texts = ["My cottage is in Skagen.", "ok"]
    for n in range(60):
        texts += [f"Read report {n}. {filler}", f"Report {n} is read."]
    for stream in (False, True, False):
        sdk = client(router, f"/v3/{provider.url}/v1/", user)
        assert "Skagen" in say(sdk, *texts, "Where is the cottage?", stream=stream)


def test_a_long_conversation_is_cut_and_the_evidence_stays(
    router: Router, provider: ServedProvider, user: str
) -> None:
    filler = "We spoke of the weather, of trains and of the price of bread in the market. " * 20
    messages: list[Any] = [{"role": "system", "content": "You are terse."}]
    messages.append({"role": "user", "content": "My grandmother's cottage is in Skagen."})
    messages.append({"role": "assistant", "content": "Lovely."})
    for n in range(120):
        messages.append({"role": "user", "content": f"Part {n}. {filler}"})
        messages.append({"role": "assistant", "content": f"I see, part {n}."})
    messages.append({"role": "user", "content": "Where is my grandmother's cottage?"})
    base = f"/v3/{provider.url}/v1/"
    with client(router, base, user) as sdk:
        for _ in range(2):  # at once, and when everything is indexed
            raw = sdk.chat.completions.with_raw_response.create(model="gpt-5", messages=messages)
            answer = raw.parse().choices[0].message.content or ""
            assert "Skagen" in answer
            assert raw.headers["x-supermemory-context-modified"] == "true"
            given = int(raw.headers["x-supermemory-tokens-processed"])
            sent = provider.prompts[-1]
            assert sent.messages[0].text == "You are terse."
            assert sent.question == "Where is my grandmother's cottage?"
            assert sent.tokens < 0.5 * given


def test_a_short_conversation_is_sent_as_it_came(
    router: Router, provider: ServedProvider, user: str
) -> None:
    texts = [t for n in range(50) for t in (f"Question {n}, nothing.", f"Answer {n}, nothing.")]
    say(client(router, f"/v3/{provider.url}/v1/", user), *texts, "Goodbye then.")
    sent = provider.requests[-1].json["messages"]
    assert [m["content"] for m in sent] == [*texts, "Goodbye then."]


def test_a_tool_call_and_its_result_stay_together(
    router: Router, provider: ServedProvider, user: str
) -> None:
    long = "The report goes on about rainfall, soil, wind and the harvest of the year. " * 40
    messages: list[Any] = [{"role": "system", "content": "You are terse."}]
    for n in range(60):
        call = {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages += [
            {"role": "user", "content": f"Read report {n}."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": long},
            {"role": "assistant", "content": f"Report {n} is read."},
        ]
        if n % 20 == 19:
            asked = [*messages, {"role": "user", "content": "What was in the reports?"}]
            with client(router, f"/v3/{provider.url}/v1/", user) as sdk:
                sdk.chat.completions.create(model="gpt-5", messages=asked)
            sent = provider.requests[-1].json["messages"]
            calls = {c["id"] for m in sent for c in m.get("tool_calls") or ()}
            results = {m["tool_call_id"] for m in sent if m["role"] == "tool"}
            assert calls == results
            assert sent[0]["role"] == "system"
            assert sent[1]["role"] == "user"
    assert len(sent) < len(messages)


def test_a_fault_in_memory_is_said_and_stops_nothing(
    new_router: Callable[..., Router], provider: ServedProvider
) -> None:
    router = new_router(RECALL_TIMEOUT_S="0.000001")
    base = f"/v3/{provider.url}/v1/"
    say(client(router, base, "u"), FACT)
    router.stop()
    router.start()  # the vault must be opened first: what waits for nothing is never late
    body = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
    with router.http(**_headers(router, "u")) as http:
        answer = http.post(f"{base}chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-supermemory-error"]
    assert provider.requests[-1].json["messages"] == body["messages"]


def _headers(router: Router, user: str) -> dict[str, str]:
    return {
        "x-supermemory-api-key": router.account_key,
        "authorization": f"Bearer {THEIR_KEY}",
        "x-sm-user-id": user,
    }
