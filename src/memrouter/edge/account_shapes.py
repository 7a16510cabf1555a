"""What the endpoints of accounts are asked for and answer; the OpenAPI document says so, too."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Count = Annotated[int, Meta(ge=0)]
KeyName = Annotated[str, Meta(min_length=1, max_length=200, description="A label of your own.")]
UserId = Annotated[str, Meta(min_length=1, max_length=256)]
Quota = Annotated[
    int,
    Meta(ge=0, le=1 << 53, description="Tokens a calendar month (UTC), in and out; 0 is no limit."),
]
Rate = Annotated[
    int, Meta(ge=0, le=1 << 31, description="Requests a minute and server process; 0 is no limit.")
]
Masked = Annotated[
    str, Meta(description="First and last characters, to recognise it by.", examples=["mk_ab…wxyz"])
]
Time = Annotated[str, Meta(examples=["2026-06-05T21:00:00.000Z"])]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", examples=["2026-06-05"])]


class NewKey(msgspec.Struct, kw_only=True):
    """A memory key to be made, with a vault of its own."""

    name: KeyName = "New Key"
    user_id: (
        Annotated[UserId, Meta(description="Opens the vault of this user of /v3 instead.")] | None
    ) = None
    quota_tokens: Quota | None = None
    rate_per_minute: Rate | None = None


class KeyChange(msgspec.Struct, kw_only=True):
    """What to change of a key; what is left out stays."""

    name: KeyName | UnsetType = UNSET
    quota_tokens: Quota | UnsetType | None = UNSET
    rate_per_minute: Rate | UnsetType | None = UNSET


class MintedKey(msgspec.Struct, kw_only=True):
    """A key that was just made. It is shown once: only its digest is kept."""

    key: Annotated[str, Meta(examples=["mk_xxxxxxxxxxxxxxxx"])]
    name: str
    created_at: Time
    id: str
    quota_tokens: int | None = None
    rate_per_minute: int | None = None


class KeyAnswer(msgspec.Struct, kw_only=True):
    """A key, as far as it is kept."""

    id: str
    key: Masked
    name: str
    account: Annotated[bool, Meta(description="Whether it is an account key.")]
    created_at: Time
    quota_tokens: int | None
    rate_per_minute: int | None


class KeyList(msgspec.Struct, kw_only=True):
    """The keys of the account that are not revoked, oldest first."""

    keys: list[KeyAnswer]


class RevokedKey(msgspec.Struct, kw_only=True):
    """A key that opens nothing any more. Its memory stays in the account."""

    id: str
    name: str
    revoked_at: Time


class DeletedKey(msgspec.Struct, kw_only=True):
    """A key that is gone."""

    id: str
    deleted: bool
    memory: Literal["kept", "deleted"]
    memories_deleted: Count


class NewProviderKey(msgspec.Struct, kw_only=True):
    """A provider's API key, to be stored encrypted."""

    key: Annotated[
        str, Meta(min_length=1, max_length=8_192, examples=["sk-xxxxxxxxxxxxxxxxxxxxxxxx"])
    ]


class ProviderKey(msgspec.Struct, kw_only=True):
    """A stored provider key; it cannot be read back."""

    provider: str
    key: Annotated[
        Masked | None, Meta(description="Null if the server's SECRET_KEY does not open it.")
    ]


class ProviderKeyList(msgspec.Struct, kw_only=True):
    """The account's provider keys."""

    provider_keys: list[ProviderKey]


class DeletedProviderKey(msgspec.Struct, kw_only=True):
    """A provider key that is gone."""

    provider: str
    deleted: bool


class Period(msgspec.Struct, kw_only=True):
    """Days of UTC, both of them counted."""

    start: Day
    end: Day


class Used(msgspec.Struct, kw_only=True):
    """What was processed."""

    requests: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    memory_tokens: Count = 0
    measured_requests: Count = 0


class UsedOnDay(Used, kw_only=True):
    """What was processed on a day."""

    date: Day


class UsageAnswer(msgspec.Struct, kw_only=True):
    """Usage of a key.

    Tokens are the provider's own figures for `measured_requests`, and our counts for the others.
    """

    key: Masked
    key_id: str
    name: str
    period: Period
    total_requests: Count
    total_input_tokens: Annotated[
        int, Meta(ge=0, description="Of prompts, what memory added included.")
    ]
    total_output_tokens: Count
    total_memory_tokens: Annotated[int, Meta(ge=0, description="That memory added to prompts.")]
    measured_requests: Annotated[
        int, Meta(ge=0, description="Requests counted by the provider itself.")
    ]
    by_model: Annotated[
        dict[str, Used],
        Meta(description="By provider and model; `memory` for requests that name none."),
    ]
    daily: Annotated[list[UsedOnDay], Meta(description="Days with any usage, oldest first.")]


class ProviderModels(msgspec.Struct, kw_only=True):
    """A provider's models, by its own names."""

    provider: str
    models: list[str]


class Model(msgspec.Struct, kw_only=True):
    """A model, as OpenAI's clients read it."""

    id: Annotated[str, Meta(examples=["openai/gpt-5.5"])]
    object: Literal["model"] = "model"
    created: Annotated[int, Meta(description="Unix time; 0 where the provider does not say.")] = 0
    owned_by: str


class ModelList(msgspec.Struct, kw_only=True):
    """The models of the providers that there is a key for."""

    providers: list[ProviderModels]
    models: Annotated[list[str], Meta(description="By the names that requests use.")]
    default: str | None
    catalog_updated: Annotated[
        Time | None, Meta(description="When a provider was last asked; null if none has answered.")
    ]
    object: Literal["list"] = "list"
    data: list[Model]
