"""People, keys, sessions and deletions in any order, against a model of who may see what.

Every request carries words that no other request carries. The model knows which words may lie in
which session of which vault; whatever the router sends anywhere may hold no others.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from memrouter.edge import auth
from memrouter.testing.asgi import Answer, Client
from memrouter.testing.exchange import Recorded
from memrouter.testing.script import Answer as Said
from memrouter.testing.script import Prompt

from .conftest import World

T = TypeVar("T")
WORD = re.compile(r"canary\d+q")
KEY = re.compile(r"mk[_-][A-Za-z0-9_-]{32,}")
SESSION = "secretsession"
USER = "secretuser"
CORE = ""

sessions = st.sampled_from([CORE, CORE, f"{SESSION}1", f"{SESSION}2"])
formats = st.sampled_from(["chat", "responses", "messages", "gemini"])
topics = st.sampled_from(["dog", "cat", "horse"])
names = st.sampled_from([f"{USER}1", f"{USER}2"])
modes = st.sampled_from(["", "", "", "on", "read", "write", "off"])
places = st.sampled_from(["suffix", "header", "body", "query"])
densities = st.sampled_from(["low", "default", "xhigh"])


@dataclass(slots=True, eq=False)
class Vault:
    """What may lie in a vault, by session: the model."""

    held: dict[str, set[str]] = field(default_factory=dict)

    def visible(self, session: str) -> set[str]:
        """Words that a recall in this session may find."""
        return self.of(session) | self.of(CORE)

    def of(self, session: str) -> set[str]:
        return self.held.setdefault(session, set())

    @property
    def all(self) -> set[str]:
        return set().union(*self.held.values())


@dataclass(slots=True, eq=False)
class Person:
    """Whoever can open a vault: by a key of its own, or as a user whom an account names."""

    vault: Vault
    key: str
    id: str = ""
    user: str = ""

    def headers(self, suffix: str = "") -> dict[str, str]:
        named = {"x-sm-user-id": self.user} if self.user else {}
        return {"authorization": f"Bearer {self.key}{suffix}", **named}


def heard(prompt: Prompt) -> Said:
    """A provider that repeats all it was told, so that every leak would spread."""
    return Said(text=f"You told me: {prompt.text[-3000:]}")


def body_of(format: str, text: str, stream: bool) -> tuple[str, dict[str, Any]]:
    """Path under the provider's origin, and body, of a request that says a text."""
    said = [{"role": "user", "content": text}]
    match format:
        case "chat":
            return "/v1/chat/completions", {"model": "gpt-5.5", "messages": said, "stream": stream}
        case "responses":
            return "/v1/responses", {"model": "gpt-5.5", "input": text, "stream": stream}
        case "messages":
            body = {"model": "claude-opus-4.1", "max_tokens": 9, "messages": said}
            return "/v1/messages", {**body, "stream": stream}
    action = "streamGenerateContent" if stream else "generateContent"
    contents = [{"role": "user", "parts": [{"text": text}]}]
    return f"/v1beta/models/gemini-3.5-flash:{action}", {"contents": contents}


class Isolation(RuleBasedStateMachine):
    """One example: two accounts, whose users have the same names, and what they do."""

    people: Bundle[Person] = Bundle("people")
    steps = 0
    """Taken in all examples."""
    _words = 0

    def __init__(self, runner: asyncio.Runner, world: World, log: io.StringIO) -> None:
        super().__init__()
        self._runner = runner
        self._world = world
        self._log = log
        self._keys: set[str] = {world.account_key}
        self._users: dict[tuple[str, str], Person] = {}
        self._origin = world.parts.config.providers["openai"].base_url.removesuffix("/v1")
        world.provider.script = heard
        world.provider.clear()

    # --- who there is ---

    @initialize()
    def accounts(self) -> None:
        """Two accounts that share nothing but the router."""
        self._accounts = [self.do(self._account()) for _ in range(2)]

    async def _account(self) -> str:
        directory = self._world.parts.directory
        key = auth.mint()
        account = await directory.add_account()
        await directory.add_key(
            account,
            auth.digest(key),
            masked=auth.masked(key),
            name="account",
            now=self._world.clock.now(),
            is_account=True,
        )
        self._keys.add(key)
        return key

    @rule(target=people, account=st.integers(0, 1))
    def mint(self, account: int) -> Person:
        made = self._asked(self._accounts[account], "POST", "/v1/keys", {"name": "x"}, status=201)
        return self._person(Vault(), made)

    @rule(target=people, account=st.integers(0, 1), name=names)
    def name_a_user(self, account: int, name: str) -> Person:
        return self._user(account, name)

    @rule(target=people, account=st.integers(0, 1), name=names)
    def mint_for_a_user(self, account: int, name: str) -> Person:
        user = self._user(account, name)
        body = {"name": "x", "user_id": name}
        made = self._asked(self._accounts[account], "POST", "/v1/keys", body, status=201)
        return self._person(user.vault, made)

    @rule(target=people, old=consumes(people))
    def rotate(self, old: Person) -> Person:
        if not old.id:
            return old
        path = f"/v1/keys/{old.id}/rotate"
        made = self._asked(self._account_of(old), "POST", path)
        self._dead(old)
        return self._person(old.vault, made)

    @rule(gone=consumes(people), memory=st.booleans())
    def delete_key(self, gone: Person, memory: bool) -> None:
        if not gone.id:
            return
        query = "?memory=true" if memory else ""
        self._asked(self._account_of(gone), "DELETE", f"/v1/keys/{gone.id}{query}")
        if memory:
            gone.vault.held.clear()
        self._dead(gone)

    def _user(self, account: int, name: str) -> Person:
        key = self._accounts[account]
        return self._users.setdefault((key, name), Person(vault=Vault(), key=key, user=name))

    def _person(self, vault: Vault, made: Any) -> Person:
        self._keys.add(made["key"])
        return Person(vault=vault, key=made["key"], id=made["id"])

    def _account_of(self, person: Person) -> str:
        for key in self._accounts:
            if self._send(key, "GET", f"/v1/keys/{person.id}", may={*()}).status == 200:
                return key
        raise AssertionError("a key of no account")

    def _dead(self, person: Person) -> None:
        answer = self._send(person.key, "GET", "/v1/memory", may=set())
        assert answer.status == 401, "a dead key opens a vault"

    # --- what they do ---

    @rule(
        who=people,
        session=sessions,
        format=formats,
        stream=st.booleans(),
        mode=modes,
        place=places,
        topic=topics,
        asks=st.booleans(),
        density=densities,
        v3=st.booleans(),
    )
    def talk(self, who: Person, session: str, **how: Any) -> None:
        self.do(self._talks([(who, session, how)]))

    @rule(
        group=st.lists(
            st.tuples(people, sessions, formats, st.booleans(), topics), min_size=2, max_size=4
        )
    )
    def talk_at_once(self, group: Any) -> None:
        """Requests that are under way together."""
        every = {"mode": "", "place": "suffix", "density": "xhigh", "asks": True}
        self.do(
            self._talks(
                [
                    (who, session, {**every, "format": f, "stream": s, "topic": t, "v3": s})
                    for who, session, f, s, t in group
                ]
            )
        )

    async def _talks(self, group: Sequence[tuple[Person, str, dict[str, Any]]]) -> None:
        words = [self._word() for _ in group]
        for (who, session, how), word in zip(group, words, strict=True):
            if how["mode"] in ("", "on", "write"):
                who.vault.of(session).add(word)
        allowed = [
            w.vault.visible(s) | {word} for (w, s, _), word in zip(group, words, strict=True)
        ]
        answers = await asyncio.gather(
            *(
                self._talk(who, s, word, **how)
                for (who, s, how), word in zip(group, words, strict=True)
            )
        )
        for (who, session, how), answer, may in zip(group, answers, allowed, strict=True):
            assert answer.status == 200, answer.body
            self._seen(answer, may)
            if how["mode"] in ("", "on", "write"):  # the reply is stored, with all that it repeats
                who.vault.of(session).update(WORD.findall(answer.body.decode()))
        self._sent(dict(zip(words, allowed, strict=True)))

    async def _talk(
        self,
        who: Person,
        session: str,
        word: str,
        *,
        format: str,
        stream: bool,
        mode: str,
        place: str,
        topic: str,
        asks: bool,
        density: str,
        v3: bool,
    ) -> Answer:
        text = (
            f"What is my {topic} called? asks {word}" if asks else f"My {topic} is called {word}."
        )
        path, body = body_of(format, text, stream)
        suffix = f":{mode}" if mode and place == "suffix" else ""
        headers = who.headers(suffix)
        if v3:
            key = headers.pop("authorization").removeprefix("Bearer ")
            headers |= {"x-supermemory-api-key": key, "authorization": "Bearer sk-client"}
            path = f"/v3/{self._origin}{path}"
        query = ["alt=sse"] if format == "gemini" and stream else []
        if mode and place == "header":
            headers["x-memory-mode"] = mode
        elif mode and place == "query":
            query.append(f"mode={mode}")
        elif mode and place == "body":
            body["memory_mode"] = mode
        if session and place == "header":
            headers["x-session-id"] = session
        elif session:
            body["session_id"] = session
        body["density"] = density
        return await self._client(headers).post(path + "?" * bool(query) + "&".join(query), body)

    @rule(who=people, session=sessions, topic=topics)
    def ingest(self, who: Person, session: str, topic: str) -> None:
        word = self._word()
        who.vault.of(session).add(word)
        said = [{"role": "user", "content": f"My {topic} is called {word}."}]
        body = {"messages": said, **_session(session)}
        self._memory(who, "POST", "/ingest", body, may=who.vault.of(session), status=202)

    @rule(who=people, session=sessions, other=sessions, topic=topics)
    def upload(self, who: Person, session: str, other: str, topic: str) -> None:
        lines = []
        for where in (session, other):
            word = self._word()
            who.vault.of(where).add(word)
            lines.append({"content": f"My {topic} is called {word}.", "session_id": where or None})
        data = b"\n".join(json.dumps(line).encode() for line in lines)
        answer = self._memory(who, "POST", "/upload", data, may=set())
        assert answer["status"] == "complete"

    @rule(who=people, session=sessions, topic=topics)
    def prepare(self, who: Person, session: str, topic: str) -> None:
        word = self._word()
        said = [{"role": "user", "content": f"What is my {topic} called? asks {word}"}]
        body = {"messages": said, "density": "xhigh", **_session(session)}
        self._memory(who, "POST", "/prepare", body, may=who.vault.visible(session) | {word})

    @rule(who=people, session=sessions, topic=topics)
    def search(self, who: Person, session: str, topic: str) -> None:
        body = {"query": f"{topic} called", "limit": 1000}
        headers = {"x-session-id": session} if session else {}
        self._memory(who, "POST", "/search", body, headers, may=who.vault.of(session))

    @rule(who=people, session=sessions, what=st.sampled_from(["", "/export", "/stats"]))
    def look(self, who: Person, session: str, what: str) -> None:
        headers = {"x-session-id": session} if session else {}
        may = who.vault.of(session) if session else who.vault.all
        answer = self._send(
            who.key, "GET", f"/v1/memory{what}", b"", {**who.headers(), **headers}, may
        )
        assert answer.status == 200

    @rule(who=people, number=st.integers(1, 40), delete=st.booleans())
    def one(self, who: Person, number: int, delete: bool) -> None:
        """A memory by its number, which other vaults have, too."""
        method = "DELETE" if delete else "GET"
        path = f"/v1/memory/memory_{number}"
        answer = self._send(who.key, method, path, b"", who.headers(), who.vault.all)
        assert answer.status in (200, 404)

    @rule(who=people, session=sessions, all=st.booleans())
    def clear(self, who: Person, session: str, all: bool) -> None:
        if all or not session:
            self._memory(who, "DELETE", "", may=set())
            who.vault.held.clear()
        else:
            self._memory(who, "DELETE", "", headers={"x-session-id": session}, may=set())
            who.vault.held.pop(session, None)

    # --- what they try ---

    @rule(who=people, name=names, session=sessions)
    def pose_as_a_user(self, who: Person, name: str, session: str) -> None:
        """A minted key names somebody: on /v1 that is not heard, on /v3 it is refused."""
        if who.user:
            return
        headers = {**who.headers(), "x-sm-user-id": name}
        may = who.vault.all
        answer = self._send(who.key, "GET", "/v1/memory/export", b"", headers, may)
        assert answer.status == 200
        path, body = body_of("chat", "hi", stream=False)
        refused = self._send(who.key, "POST", f"/v3/{self._origin}{path}", body, headers, set())
        assert refused.status == 403
        assert self._send(who.key, "GET", "/v1/keys", may=set()).status == 403

    @rule(who=people, kind=st.sampled_from(["mode", "json", "messages", "path", "key", "provider"]))
    def err(self, who: Person, kind: str) -> None:
        """Errors quote nobody else, and the log quotes nobody."""
        word = self._word()
        path, body = body_of("chat", word, stream=False)
        sent: Any = body
        key = who.key
        match kind:
            case "mode":
                body["memory_mode"] = word
            case "json":
                sent = b'{"messages": "' + word.encode()
            case "messages":
                body["messages"] = word
            case "path":
                path = f"/v1/memory/{word}"
            case "key":
                key = f"mk_{word}{'x' * 40}:{word}"
            case "provider":
                self._world.provider.script = None
                self._world.provider.queue(Said(status=500, message=f"no {word}"))
                body["memory_mode"] = "off"
        headers = {**who.headers(), "authorization": f"Bearer {key}"}
        answer = self._send(key, "POST", path, sent, headers, {word})
        self._world.provider.script = heard
        assert answer.status >= 400
        self._sent({word: {word}})

    @rule(seconds=st.sampled_from([60.0, 3600.0, 86400.0 * 5]))
    def time_passes(self, seconds: float) -> None:
        self._world.clock.advance(seconds=seconds)

    @rule()
    def vectors_come(self) -> None:
        self.do(self._world.embedded())

    @rule(path=st.sampled_from(["/metrics", "/health", "/openapi.json"]))
    def operate(self, path: str) -> None:
        told = self.do(self._client({}).get(path)).body.decode()
        assert not WORD.findall(told), "a text in what everybody may read"
        assert SESSION not in told
        assert USER not in told
        assert not self._keys & set(KEY.findall(told)), "a key in what everybody may read"

    @invariant()
    def counted(self) -> None:
        Isolation.steps += 1

    def teardown(self) -> None:
        self.do(self._world.embedded())
        self._logged()

    # --- how it is checked ---

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(what)

    def _word(self) -> str:
        Isolation._words += 1
        return f"canary{Isolation._words}q"

    def _client(self, headers: dict[str, str]) -> Client:
        return Client(self._world.edge, {"content-type": "application/json", **headers})

    def _send(
        self,
        key: str,
        method: str,
        path: str,
        body: Any = b"",
        headers: dict[str, str] | None = None,
        may: set[str] = frozenset(),  # type: ignore[assignment]
    ) -> Answer:
        given = headers or {"authorization": f"Bearer {key}"}
        answer = self.do(self._client(given).send(method, path, body))
        self._seen(answer, may)
        return answer

    def _asked(self, key: str, method: str, path: str, body: Any = b"", status: int = 200) -> Any:
        """Ask for something about keys."""
        headers = {"authorization": f"Bearer {key}"}
        answer = self.do(self._client(headers).send(method, path, body))
        assert answer.status == status, answer.body
        assert not WORD.findall(answer.body.decode())
        return answer.json

    def _memory(
        self,
        who: Person,
        method: str,
        path: str,
        body: Any = b"",
        headers: dict[str, str] | None = None,
        *,
        may: set[str],
        status: int = 200,
    ) -> Any:
        given = {**who.headers(), **(headers or {})}
        answer = self._send(who.key, method, f"/v1/memory{path}", body, given, may)
        assert answer.status == status, answer.body
        return answer.json

    def _seen(self, answer: Answer, may: set[str]) -> None:
        """An answer holds no word but these, and no key."""
        told = answer.body.decode() + repr(answer.headers)
        foreign = set(WORD.findall(told)) - may
        assert not foreign, f"foreign words in an answer: {foreign}"
        assert not self._keys & set(KEY.findall(told)), "a key in an answer"
        self._logged()

    def _sent(self, may: dict[str, set[str]]) -> None:
        """The requests that went out since: each holds what its asker may see, and no key."""
        for sent in self._world.provider.requests:
            self._forwarded(sent, may)
        self._world.provider.clear()

    def _forwarded(self, sent: Recorded, may: dict[str, set[str]]) -> None:
        told = sent.body.decode() + repr((sent.path, sent.query, sent.headers))
        words = set(WORD.findall(told))
        asked = [word for word in may if sent.prompt and word in sent.prompt.question]
        assert asked, "a request that nobody made"
        assert words <= may[asked[0]], f"foreign words in a prompt: {words - may[asked[0]]}"
        assert not KEY.findall(told), "a memory key reached the provider"
        assert SESSION not in told
        assert USER not in told

    def _logged(self) -> None:
        """What was logged since holds no word, no name and no key."""
        told = self._log.getvalue()
        self._log.seek(0)
        self._log.truncate()
        assert not WORD.findall(told), "a text in the log"
        assert SESSION not in told, "a session in the log"
        assert USER not in told, "a user in the log"
        assert not KEY.findall(told), "a key in the log"


def _session(session: str) -> dict[str, str]:
    return {"session_id": session} if session else {}
