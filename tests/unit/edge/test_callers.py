from __future__ import annotations

from typing import Any

import pytest

from memrouter.domain import AccountId, Json, KeyRecord, MemoryOptions, Mode, Scope
from memrouter.edge import auth
from memrouter.edge.asgi import Request, Surface
from memrouter.edge.callers import Caller, Callers
from memrouter.edge.controls import Controls
from memrouter.edge.headers import parameters
from memrouter.errors import BadRequest, Forbidden, Unauthorized
from memrouter.testing.clock import FixedClock
from memrouter.testing.directory import MemoryDirectory

ACCOUNT_KEY = "mk_" + "a" * 40
USER_KEY = "mk_" + "u" * 40


class World:
    """A directory with an account key and a key that it minted."""

    def __init__(self) -> None:
        self.directory = MemoryDirectory()
        self.callers = Callers(
            self.directory,
            user_headers=("x-openwebui-user-id",),
            session_headers=("x-openwebui-chat-id",),
        )
        self.records: dict[str, KeyRecord] = {}
        self.account = AccountId("")

    async def fill(self) -> World:
        self.account = await self.directory.add_account()
        for key, is_account in ((ACCOUNT_KEY, True), (USER_KEY, False)):
            self.records[key] = await self.directory.add_key(
                self.account,
                auth.digest(key),
                masked=auth.masked(key),
                name="n",
                now=FixedClock().now(),
                is_account=is_account,
            )
        return self

    async def scope(
        self,
        key: str = ACCOUNT_KEY,
        *,
        surface: Surface = "v1",
        query: str = "",
        thread: str | None = None,
        body: Json | None = None,
        asked: Controls | None = None,
        **headers: str,
    ) -> Scope:
        sent = request(key, surface=surface, query=query, **headers)
        caller = await self.callers.identify(sent)
        controls = asked or Controls(options=MemoryOptions())
        return await self.callers.scope(caller, sent, controls, thread, body=body)


@pytest.fixture
async def world() -> World:
    return await World().fill()


def request(
    key: str = USER_KEY, *, surface: Surface = "v1", query: str = "", **headers: str
) -> Request:
    named = {n.replace("_", "-"): v for n, v in headers.items()}
    if key:
        named["x-memory-key"] = key
    return Request(
        method="POST",
        path="/",
        query=query,
        headers=list(named.items()),
        surface=surface,
        named=named,
        parameters=parameters(query),
    )


# --- who ---


async def test_a_known_key_is_known(world: World) -> None:
    caller = await world.callers.identify(request(f"{USER_KEY}:read"))
    assert caller.key == world.records[USER_KEY]
    assert caller.account == world.account
    assert caller.shown.mode is Mode.READ


@pytest.mark.parametrize("key", ["", "mk_" + "x" * 40, f"{USER_KEY}x", "sk-1", f"{USER_KEY}:fast"])
async def test_an_unknown_key_is_not(world: World, key: str) -> None:
    with pytest.raises(Unauthorized):
        await world.callers.identify(request(key))


async def test_a_revoked_key_is_not(world: World) -> None:
    id = world.records[USER_KEY].id
    assert await world.directory.revoke_key(world.account, id, FixedClock().now())
    with pytest.raises(Unauthorized, match="Invalid Memory Key"):
        await world.callers.identify(request())


async def test_only_account_keys_may_do_some_things(world: World) -> None:
    (await world.callers.identify(request(ACCOUNT_KEY))).require_account("mint keys")
    caller = await world.callers.identify(request(USER_KEY))
    with pytest.raises(Forbidden, match="may not mint keys"):
        caller.require_account("mint keys")


# --- whose memory ---


async def test_without_a_user_a_key_opens_its_own_vault(world: World) -> None:
    for key, record in world.records.items():
        for surface in ("v1", "v3"):
            scope = await world.scope(key, surface=surface)
            assert scope == Scope(vault=record.vault)


# surface, what names the user → the user
USERS: dict[str, tuple[Surface, dict[str, Any], str]] = {
    "v1, header": ("v1", {"x_sm_user_id": "ann"}, "ann"),
    "v1, a front end's header": ("v1", {"x_openwebui_user_id": "ann"}, "ann"),
    "v1, both": ("v1", {"x_sm_user_id": "bob", "x_openwebui_user_id": "ann"}, "ann"),
    "v1, body": ("v1", {"body": {"user": "ann"}}, ""),
    "v1, query": ("v1", {"query": "userId=ann"}, ""),
    "v3, header": ("v3", {"x_sm_user_id": "ann"}, "ann"),
    "v3, body": ("v3", {"body": {"user": "ann"}}, "ann"),
    "v3, query": ("v3", {"query": "userId=ann"}, "ann"),
    "v3, header and body": ("v3", {"x_sm_user_id": "ann", "body": {"user": "bob"}}, "ann"),
    "v3, body and query": ("v3", {"body": {"user": "ann"}, "query": "userId=bob"}, "ann"),
    "v3, a front end's header": ("v3", {"x_openwebui_user_id": "ann"}, ""),
    "v3, an empty header": ("v3", {"x_sm_user_id": "", "query": "userId=ann"}, "ann"),
}


@pytest.mark.parametrize(("surface", "named", "user"), USERS.values(), ids=USERS)
async def test_who_names_the_user(
    world: World, surface: Surface, named: dict[str, Any], user: str
) -> None:
    scope = await world.scope(surface=surface, **named)
    own = world.records[ACCOUNT_KEY].vault
    expected = await world.directory.user_vault(world.account, user) if user else own
    assert scope.vault == expected


async def test_users_have_vaults_of_their_own_in_their_account(world: World) -> None:
    ann = await world.scope(x_sm_user_id="ann")
    assert ann == await world.scope(surface="v3", query="userId=ann")
    assert ann != await world.scope(x_sm_user_id="bob")
    assert ann != await world.scope(x_sm_user_id="Ann")
    other = await World().fill()
    assert ann != await other.scope(x_sm_user_id="ann")


async def test_a_minted_key_on_v1_cannot_be_led_to_another_vault(world: World) -> None:
    """Front ends send such headers with any key."""
    scope = await world.scope(USER_KEY, x_sm_user_id="ann", x_openwebui_user_id="ann")
    assert scope.vault == world.records[USER_KEY].vault


@pytest.mark.parametrize("named", [{"x_sm_user_id": "ann"}, {"query": "userId=ann"}], ids=str)
async def test_a_minted_key_on_v3_may_not_name_users(world: World, named: dict[str, Any]) -> None:
    with pytest.raises(Forbidden, match="may not name users"):
        await world.scope(USER_KEY, surface="v3", **named)


async def test_a_minted_key_on_v3_may_send_the_providers_user(world: World) -> None:
    scope = await world.scope(USER_KEY, surface="v3", body={"user": "end-user-7"})
    assert scope.vault == world.records[USER_KEY].vault


@pytest.mark.parametrize("user", ["x" * 300, "a\x00b", "a\nb"], ids=["long", "NUL", "line"])
async def test_an_absurd_user_is_an_error(world: World, user: str) -> None:
    with pytest.raises(BadRequest):
        await world.scope(x_sm_user_id=user)


# --- sessions and conversations ---


async def test_the_session_is_what_the_controls_say(world: World) -> None:
    asked = Controls(options=MemoryOptions(), session="s", conversation="c")
    scope = await world.scope(USER_KEY, asked=asked, thread="t")
    assert (scope.session, scope.conversation) == ("s", "c")


async def test_an_agents_thread_is_a_conversation_where_none_is_named(world: World) -> None:
    assert (await world.scope(thread="t")).conversation == "t"
    assert (await world.scope(thread=None)).conversation == ""
    assert len((await world.scope(thread="t" * 1000)).conversation) == 200


async def test_only_account_keys_may_name_sessions_by_front_ends_headers(world: World) -> None:
    account = await world.callers.identify(request(ACCOUNT_KEY))
    user = await world.callers.identify(request(USER_KEY))
    assert world.callers.session_headers(account) == ("x-openwebui-chat-id",)
    assert world.callers.session_headers(user) == ()
    assert world.callers.own_headers == ("x-openwebui-user-id", "x-openwebui-chat-id")


# --- Infinite Chat ---


@pytest.mark.parametrize(("setting", "wants"), [(None, False), ("on", True), ("off", False)])
async def test_an_account_may_want_its_conversations_bounded(
    world: World, setting: str | None, wants: bool
) -> None:
    if setting is not None:
        await world.directory.set_setting(world.account, "infinite_chat", setting)
    caller = await world.callers.identify(request())
    assert await world.callers.wants_bounds(caller) is wants
    always = Callers(world.directory, bounds_by_default=True)
    assert await always.wants_bounds(caller)


def test_a_caller_shows_no_key_when_it_is_printed(world: World) -> None:
    shown = auth.find([("x-memory-key", USER_KEY)], {})
    caller = Caller(key=world.records[USER_KEY], shown=shown)
    assert USER_KEY not in repr(caller)
