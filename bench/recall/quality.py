"""A sentence encoder beside the default vectors, through the store, the backlog and the finder."""

from __future__ import annotations

from typing import Any

from memrouter.embed.onnx import KNOWN, Manner, OnnxEmbedder, manner_of

from . import sections
from .local import Local
from .measure import figures
from .options import Options
from .report import RANKED, ranked, table
from .sections import Run


async def run(base: Run) -> dict[str, Any]:
    """What is found by both, as `memrouter embedder use` has it; what is injected; by time."""
    if base.options.encoder is None:
        return {}
    encoder = OnnxEmbedder(base.options.encoder, manner=_manner(base.options))
    subject = Local(beside=encoder)
    own = Run(options=base.options, subject=subject)
    result: dict[str, Any] = {}
    try:
        for name, histories in (("LoCoMo", own.locomo()), ("assistant", own.assistant())):
            result[name] = figures(await sections.rank(own, histories, f"{encoder.name}, {name}"))
        rows = [ranked(name, found) for name, found in result.items()]
        table(f"Quality embedder {encoder.name} beside the default vectors", RANKED, rows)
        result["budgets"] = await sections.budgets(own)
        result["silence"] = await sections.silence(own)
        result["time"] = await sections.over_time(own)
        result["languages"] = await sections.in_languages(own)
    finally:
        await subject.close()
    return result


def _manner(options: Options) -> Manner:
    assert options.encoder is not None
    if options.pooling:
        return Manner(
            pooling="cls" if options.pooling == "cls" else "mean", query=options.query_prefix
        )
    found = manner_of(options.encoder)
    # The folder that the bench's encoder comes in does not say which model it is.
    return KNOWN[0][1] if found == Manner() and options.encoder.name == "int8" else found
