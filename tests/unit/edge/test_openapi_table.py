"""The table behind the OpenAPI document: complete rows, examples that hold no key."""

from __future__ import annotations

import re

import msgspec
import pytest

from memrouter.edge import openapi_table as table
from memrouter.edge.controls import BODY_FIELDS
from memrouter.edge.exchange import PATHS
from memrouter.edge.openapi_table import Described, Place

ROWS = [*table.OWN.items(), *table.PROVIDERS.items()]
IDS = [" ".join(place) for place, _ in ROWS]


@pytest.mark.parametrize(("place", "described"), ROWS, ids=IDS)
def test_rows(place: Place, described: Described) -> None:
    method, path = place
    assert method in {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert path.startswith("/")
    assert described.tag in table.TAGS
    assert set(described.parameters) <= set(table.PARAMETERS)
    assert set(described.errors) <= set(table.ERRORS)
    assert not (described.body and described.body_media)
    if isinstance(described.example, dict) and described.body is not None:
        msgspec.convert(described.example, described.body)


@pytest.mark.parametrize(("place", "described"), ROWS, ids=IDS)
def test_no_example_is_a_real_key(place: Place, described: Described) -> None:
    for rest in re.findall(r"\b(?:mk_|sk-)([\w-]+)", str(described.example)):
        assert set(rest) == {"x"}


def test_every_relayed_path_is_in_it() -> None:
    assert {("POST", path) for path in PATHS} <= set(table.PROVIDERS)


def test_the_fields_are_those_that_memory_reads() -> None:
    named = set(table.Asked.__struct_encode_fields__)
    # The others are second names for the same; they are in the reference of headers.
    assert BODY_FIELDS - named == {
        *("memory_limit", "memory_density", "store_input", "store_response"),
    }
    assert named <= BODY_FIELDS
