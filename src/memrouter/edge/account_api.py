"""What an account stores and what it used: provider keys, and usage of each key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memrouter.domain import KeyId, KeyRecord, UsageRow
from memrouter.edge import auth, bodies
from memrouter.edge.account_shapes import (
    DeletedProviderKey,
    NewProviderKey,
    Period,
    ProviderKey,
    ProviderKeyList,
    UsageAnswer,
    Used,
    UsedOnDay,
)
from memrouter.edge.callers import Caller, Callers
from memrouter.edge.provider_keys import ProviderKeys
from memrouter.edge.usage import Meter
from memrouter.errors import BadRequest, NotFound
from memrouter.ports import Clock, Directory
from memrouter.secrets import masked
from memrouter.upstream.providers import Providers

BODY_BYTES = 1 << 16
_DEFAULT = timedelta(days=29)
"""From the first day to the last of a period of 30."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T.+")


class AccountApi:
    """Endpoints under /v1/account."""

    def __init__(
        self,
        callers: Callers,
        directory: Directory,
        keys: ProviderKeys,
        providers: Providers,
        meter: Meter,
        clock: Clock,
    ) -> None:
        self._callers = callers
        self._directory = directory
        self._keys = keys
        self._providers = providers
        self._meter = meter
        self._clock = clock

    def routes(self) -> list[Route]:
        """The endpoints, by path."""
        stored = "/v1/account/provider-keys"
        return [
            Route("/v1/account/usage", self.show_usage, methods=["GET"]),
            Route(stored, self.list_provider_keys, methods=["GET"]),
            Route(stored + "/{provider}", self.put_provider_key, methods=["PUT"]),
            Route(stored + "/{provider}", self.show_provider_key, methods=["GET"]),
            Route(stored + "/{provider}", self.delete_provider_key, methods=["DELETE"]),
        ]

    async def show_usage(self, request: Request) -> Response:
        """Requests and tokens of a key, by model and by day; of the last 30 days by default."""
        caller = await self._callers.identify(bodies.head(request))
        parameters = bodies.head(request).parameters
        record = await self._counted_key(caller, parameters.get("key", ""))
        start, end = period(parameters, self._clock.now().date())
        await self._meter.flush()
        rows = await self._directory.usage(record.id, start, end)
        return bodies.answer(report(record, start, end, rows))

    async def list_provider_keys(self, request: Request) -> Response:
        """The account's provider keys, masked."""
        caller = await self._account(request)
        stored = await self._keys.all(caller.account)
        shown = [_shown(provider, key) for provider, key in stored.items()]
        return bodies.answer(ProviderKeyList(provider_keys=shown))

    async def put_provider_key(self, request: Request) -> Response:
        """Store a provider key, encrypted; all keys of the account use it from now on."""
        caller = await self._account(request)
        provider = self._provider(request)
        asked = bodies.decode(await bodies.read(request, BODY_BYTES), NewProviderKey)
        shown = await self._keys.put(caller.account, provider, asked.key)
        return bodies.answer(ProviderKey(provider=provider, key=shown))

    async def show_provider_key(self, request: Request) -> Response:
        """One provider key, masked."""
        caller = await self._account(request)
        provider = self._provider(request)
        stored = await self._keys.all(caller.account)
        if provider not in stored:
            raise _none_stored(provider)
        return bodies.answer(_shown(provider, stored[provider]))

    async def delete_provider_key(self, request: Request) -> Response:
        """Forget a provider key."""
        caller = await self._account(request)
        provider = self._provider(request)
        if not await self._keys.delete(caller.account, provider):
            raise _none_stored(provider)
        return bodies.answer(DeletedProviderKey(provider=provider, deleted=True))

    async def _account(self, request: Request) -> Caller:
        caller = await self._callers.identify(bodies.head(request))
        caller.require_account("manage provider keys")
        return caller

    def _provider(self, request: Request) -> str:
        """The provider that a path names, by its own name: `gemini` is google."""
        name = request.path_params["provider"]
        provider = self._providers.get(name)
        if provider is None:
            raise NotFound(
                f"There is no provider {ascii(name)[1:-1][:60]}",
                f"Known are {', '.join(row.name for row in self._providers.rows)}",
            )
        return provider.name

    async def _counted_key(self, caller: Caller, named: str) -> KeyRecord:
        """Whose usage is asked for: the caller's, or that of a key which an account key names."""
        if not named:
            return caller.key
        if auth.is_memory_key(named):
            if auth.split(named)[0] == caller.shown.key:
                return caller.key  # it stands there to authenticate
            raise BadRequest("key is a memory key", "Name a key by its id, as in GET /v1/keys")
        if named == caller.key.id:
            return caller.key
        caller.require_account("see the usage of other keys")
        record = await self._directory.key_by_id(caller.account, KeyId(named))
        if record is None:
            raise NotFound(
                f"There is no key {ascii(named)[1:-1][:60]} in this account",
                "GET /v1/keys lists what there is",
            )
        return record


def period(parameters: Mapping[str, str], today: date) -> tuple[date, date]:
    """First and last day that are asked for. Raises BadRequest."""
    end = _day(parameters, "end")
    start = _day(parameters, "start")
    if end is None:
        end = today if start is None or start <= today else start
    if start is None:
        start = max(date.min + _DEFAULT, end) - _DEFAULT
    if start > end:
        raise BadRequest(f"start ({start}) is after end ({end})", "Turn the two dates round")
    return start, end


def _day(parameters: Mapping[str, str], name: str) -> date | None:
    said = parameters.get(name, "").strip()
    if not said:
        return None
    try:
        if _DATE.fullmatch(said):
            return date.fromisoformat(said)
        if _TIME.fullmatch(said):
            time = datetime.fromisoformat(said.replace(" ", "+"))  # a plus in a query is a space
            return (time.astimezone(UTC) if time.tzinfo else time).date()
    except (ValueError, OverflowError):
        pass
    raise BadRequest(f"{name} is {ascii(said)[:40]}", "Send a date, as 2026-01-31")


def report(record: KeyRecord, start: date, end: date, rows: Iterable[UsageRow]) -> UsageAnswer:
    """Usage of a key, summed."""
    total = Used()
    models: dict[str, Used] = {}
    days: dict[date, UsedOnDay] = {}
    for row in rows:
        day = days.setdefault(row.day, UsedOnDay(date=row.day.isoformat()))
        for used in (total, models.setdefault(row.model, Used()), day):
            used.requests += row.requests
            used.input_tokens += row.input_tokens
            used.output_tokens += row.output_tokens
            used.memory_tokens += row.memory_tokens
            used.measured_requests += row.requests if row.measured else 0
    return UsageAnswer(
        key=record.masked,
        key_id=record.id,
        name=record.name,
        period=Period(start=start.isoformat(), end=end.isoformat()),
        total_requests=total.requests,
        total_input_tokens=total.input_tokens,
        total_output_tokens=total.output_tokens,
        total_memory_tokens=total.memory_tokens,
        measured_requests=total.measured_requests,
        by_model=dict(sorted(models.items())),
        daily=[days[day] for day in sorted(days)],
    )


def _shown(provider: str, key: str | None) -> ProviderKey:
    return ProviderKey(provider=provider, key=None if key is None else masked(key))


def _none_stored(provider: str) -> NotFound:
    return NotFound(
        f"No {provider} key is stored", f"Store one: PUT /v1/account/provider-keys/{provider}"
    )


def iso(time: datetime) -> str:
    """A time as the API writes it: 2026-06-05T21:00:00.000Z."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
