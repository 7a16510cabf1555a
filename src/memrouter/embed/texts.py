"""Texts made fit for tokenizers and JSON."""

from __future__ import annotations


def fit(text: str, longest: int) -> str:
    """The first `longest` characters of a text; lone surrogates, which are no text, become "?"."""
    cut = text[:longest]
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode("utf-8")
