"""What is wrong with settings, by the names that their user wrote (pure)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect, structs

Place = tuple[str, ...]
"""Where a setting stands: ("density", "low", "tokens")."""

_SEE = "See docs/reference/settings.md for every setting and its values"
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How settings were written: as environment variables, the others in a file."""

    prefix: str
    """Of variables."""
    variables: Mapping[Place, str]
    """Those that are set, by the setting."""
    file: str

    def of(self, path: Place) -> str:
        """The name of a setting, or of one inside it."""
        inside = (name for at, name in self.variables.items() if at[: len(path)] == path)
        return self.variables.get(path) or next(inside, f"{'.'.join(path)} in {self.file}")

    def missing(self, path: Place) -> str:
        """The name of a setting that was not written, after those beside it."""
        if self._by_variable(path[:-1]):
            return self.prefix + "__".join(path).upper()
        return self.of(path)

    def other(self, path: Place, instead: Place) -> str:
        """The name that another setting would have where `path` was written."""
        if self._by_variable(path):
            return self.prefix + "__".join(instead).upper()
        return ".".join(instead)

    def _by_variable(self, path: Place) -> bool:
        return bool(path) and any(at[: len(path)] == path for at in self.variables)


def fault(values: Any, section: type[msgspec.Struct], written: Written) -> tuple[str, str]:
    """What is wrong first, and what to do; ("", "") if it cannot be told.

    values   what was read: tables are dicts
    section  what it is to be
    """
    return next(_faults(values, section, (), written), ("", ""))


def _faults(value: Any, kind: Any, path: Place, written: Written) -> Iterator[tuple[str, str]]:
    if _is_section(kind):
        yield from _faults_of_section(value, kind, path, written)
    elif get_origin(kind) is dict:
        if not isinstance(value, dict):
            yield f"{written.of(path)} is a table by name, and has no value of its own", _SEE
            return
        for name, inner in value.items():
            yield from _faults(inner, get_args(kind)[1], (*path, name), written)
    else:
        yield from _faults_of_value(value, kind, path, written)


def _faults_of_section(
    value: Any, section: type[msgspec.Struct], path: Place, written: Written
) -> Iterator[tuple[str, str]]:
    fields = {field.name: field for field in structs.fields(section)}
    if not isinstance(value, dict):
        # The value is not shown: a key that was put here may be a secret.
        told = (
            f"{written.of(path)} has no value of its own, only settings in it: {', '.join(fields)}"
        )
        yield told, _SEE
        return
    for name, inner in value.items():
        at = (*path, name)
        if name in fields:
            yield from _faults(inner, fields[name].type, at, written)
        else:
            yield f"{written.of(at)} is not a setting", _meant(section, inner, at, written)
    for name, needed in fields.items():
        if needed.required and name not in value:
            told = (
                f"{written.missing((*path, name))} is missing: it must be {_expected(needed.type)}"
            )
            yield told, _SEE


def _faults_of_value(
    value: Any, kind: Any, path: Place, written: Written
) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name in value:
            at = (*path, name)
            meant = f"Did you mean `{written.other(at, path)}`?"
            yield f"{written.of(at)} is not a setting", meant
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        # Texts may be secrets; what is no text where one should be says enough by its kind.
        is_text = isinstance(inspect.type_info(kind), inspect.StrType)
        shown = "none" if is_text else repr(value)[:_SHOWN_CHARS]
        yield f"{written.of(path)} is {shown}, but must be {_expected(kind)}", _SEE


def _meant(section: type[msgspec.Struct], value: Any, path: Place, written: Written) -> str:
    """A hint at the setting that an unknown one may be."""
    close = difflib.get_close_matches(path[-1], list(_inside(section)), 1)
    if not close:
        return _SEE
    meant = (*path[:-1], *close[0].split("__"))
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        meant = (*meant, name)
    return f"Did you mean `{written.other(path, meant)}`?"


def _inside(section: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """Written of settings, and of those inside them, joined as in variables."""
    for inner in structs.fields(section):
        yield path + inner.name
        if _is_section(inner.type):
            yield from _inside(inner.type, f"{path}{inner.name}__")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _expected(kind: Any) -> str:
    """What may stand in a setting, as a sentence ends."""
    info = inspect.type_info(kind)
    match info:
        case inspect.IntType():
            return "a whole number" + _bounds(info)
        case inspect.FloatType():
            return "a number" + _bounds(info)
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            *others, last = get_args(kind)
            return f"{', '.join(others)} or {last}"
        case inspect.VarTupleType():
            return "a list of texts"
        case _:
            return "a text"


def _bounds(number: inspect.IntType | inspect.FloatType) -> str:
    if number.ge is not None and number.le is not None:
        return f" from {number.ge} to {number.le}"
    if number.ge is not None:
        return f", at least {number.ge}"
    return "" if number.gt is None else f" above {number.gt}"
