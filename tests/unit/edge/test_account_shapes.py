"""The shapes are those of the seed and of the specification: the same names, in their order."""

from __future__ import annotations

import re

import msgspec
import pytest

from memrouter.edge import account_shapes as shapes

SAID: dict[str, tuple[type[msgspec.Struct], str]] = {
    "a minted key": (shapes.MintedKey, "key name created_at"),
    "usage": (
        shapes.UsageAnswer,
        "key period total_requests total_input_tokens total_output_tokens total_memory_tokens "
        "by_model daily",
    ),
    "a period": (shapes.Period, "start end"),
    "models": (shapes.ModelList, "providers models default catalog_updated object data"),
    "models of a provider": (shapes.ProviderModels, "provider models"),
    "a model": (shapes.Model, "id object owned_by"),
}
STRUCTS = [
    struct
    for struct in vars(shapes).values()
    if isinstance(struct, type) and issubclass(struct, msgspec.Struct)
]


@pytest.mark.parametrize(("shape", "names"), SAID.values(), ids=SAID)
def test_names(shape: type[msgspec.Struct], names: str) -> None:
    said = names.split()
    assert [name for name in shape.__struct_encode_fields__ if name in said] == said


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_shape_says_what_it_is(struct: type[msgspec.Struct]) -> None:
    assert struct.__doc__
    assert msgspec.json.schema(struct)


def test_no_example_is_a_real_key() -> None:
    schemas = msgspec.json.encode(msgspec.json.schema_components(STRUCTS)).decode()
    for example in re.findall(r"\b(?:mk_|sk-)([\w-]+)", schemas):
        assert set(example) == {"x"} or len(example) < 8
