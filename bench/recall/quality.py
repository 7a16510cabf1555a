"""A sentence encoder beside the default vectors: the quality embedder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from memrouter.embed.onnx import KNOWN, Manner, OnnxEmbedder, manner_of
from memrouter.embed.static import StaticEmbedder
from memrouter.memory import question as reading
from memrouter.memory import scoring
from memrouter.memory.backlog import passage
from memrouter.ports import Asked, Signals

from .data import History, Question
from .local import Local, LocalMemory
from .measure import Placed, figures, placed
from .options import Options
from .report import RANKED, progress, ranked, table
from .sections import Run


async def run(base: Run) -> dict[str, Any]:
    """Encoder alone and with the default vectors, on LoCoMo and on chats with an assistant."""
    if base.options.encoder is None:
        return {}
    encoder = OnnxEmbedder(base.options.encoder, manner=_manner(base.options))
    subject = Local()
    sets = {"LoCoMo": base.locomo(), "assistant": base.assistant()}
    result: dict[str, Any] = {}
    try:
        for name, histories in sets.items():
            both: list[Placed] = []
            alone: list[Placed] = []
            with progress(f"{encoder.name}, {name}", sum(len(h.turns) for h in histories)) as step:
                for history in histories:
                    memory = await subject.remember(history)
                    vectors = await encoder.passages(_passages(history))
                    step(len(history.turns))
                    await _asked(subject, memory, history, encoder, vectors, both, alone)
            result[f"{name}, encoder and default vectors"] = figures(both)
            result[f"{name}, encoder alone"] = figures(alone)
    finally:
        await subject.close()
    table(f"Quality embedder {encoder.name}", RANKED, [ranked(n, f) for n, f in result.items()])
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


def _passages(history: History) -> list[str]:
    texts = []
    for n, turn in enumerate(history.turns):
        before = history.turns[n - 1] if n else None
        same = before is not None and before.session == turn.session
        texts.append(passage(turn.text, turn.created, before.text if before and same else ""))
    return texts


async def _asked(
    subject: Local,
    memory: LocalMemory,
    history: History,
    encoder: OnnxEmbedder,
    vectors: Any,
    both: list[Placed],
    alone: list[Placed],
) -> None:
    signals = await subject.store.signals(memory.scope)
    places = [memory.places[int(turn)] for turn in signals.memories]
    rows = np.round(vectors[places] * 127) / 127
    static = StaticEmbedder()
    for question in history.answerable:
        asked = reading.read(question.text, "", question.asked or history.turns[-1].created)
        looked = scoring.look_up(signals, asked)
        plain = await static.query(asked.text, asked.rarity(looked.found.idf.tolist()))
        likeness = rows @ (await encoder.query(asked.text, {})).plain
        for found, similar in (
            (both, _similar(signals, plain, likeness)),
            (alone, scoring.Similar(encoder=likeness)),
        ):
            ranking = scoring.rank(signals, asked, looked, similar, count=60)
            found.append(_placed(question, [places[row] for row in ranking.rows]))


def _similar(signals: Signals, asked: Asked, likeness: Any) -> scoring.Similar:
    static = scoring.similar(signals, asked)
    return scoring.Similar(weighted=static.weighted, plain=static.plain, encoder=likeness)


def _placed(question: Question, ranking: Sequence[int]) -> Placed:
    return placed(question.category, ranking, question.evidence)
