"""The sections that need nothing but a subject: in process and over HTTP they are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from . import assistant, changes, languages, locomo, longmemeval, smalltalk
from .data import History, Question
from .measure import CUTOFFS, Placed, by_category, figures, placed
from .options import Options
from .report import RANKED, progress, ranked, table
from .subject import Memory, Recaller, Subject

BUDGETS = ((10, 750), (30, 2_000), (60, 4_000))
"""Memories and tokens: densities low, default and high."""


@dataclass(slots=True, kw_only=True)
class Run:
    """A subject with what it has been told."""

    options: Options
    subject: Subject
    _memories: dict[str, Memory] = field(default_factory=dict)

    async def memory(self, history: History) -> Memory:
        """The memory of a history, made once."""
        if history.name not in self._memories:
            self._memories[history.name] = await self.subject.remember(history)
        return self._memories[history.name]

    def locomo(self, form: locomo.Form = "named") -> list[History]:
        """LoCoMo, or a part of it for a quick look."""
        found = locomo.load(self.options.locomo, form)
        named = [
            History(name=f"{h.name} {form}", turns=h.turns, questions=h.questions) for h in found
        ]
        return named[:2] if self.options.quick else named

    def assistant(self) -> list[History]:
        """Chats with an assistant."""
        return assistant.histories(1 if self.options.quick else 4)


async def rank(run: Run, histories: Sequence[History], what: str) -> list[Placed]:
    """Ask all questions that have evidence."""
    rows: list[Placed] = []
    with progress(what, sum(len(h.answerable) for h in histories)) as step:
        for history in histories:
            memory = await run.memory(history)
            for question in history.answerable:
                found = await memory.search(question.text, CUTOFFS[-1], question.asked)
                rows.append(placed(question.category, found, question.evidence))
                step()
    return rows


async def on_locomo(run: Run) -> dict[str, Any]:
    """How much is found, by category; and how that depends on the way turns are written."""
    forms: dict[str, Any] = {}
    for form, name in locomo.FORMS.items():
        forms[name] = by_category(await rank(run, run.locomo(form), f"LoCoMo, {form}"))
    first = next(iter(forms.values()))
    table("LoCoMo", RANKED, [ranked(name, found) for name, found in first.items()])
    rows = [ranked(name, found["all"]) for name, found in forms.items()]
    table("LoCoMo, by how turns are written", RANKED, rows)
    return forms


async def on_assistant(run: Run) -> dict[str, Any]:
    """The same for chats with an assistant."""
    found = by_category(await rank(run, run.assistant(), "assistant"))
    title = "Chats with an assistant (made for this benchmark)"
    table(title, RANKED, [ranked(name, f) for name, f in found.items()])
    return dict(found)


async def budgets(run: Run) -> dict[str, Any]:
    """Evidence in what is injected, at equal token budgets."""
    rows: list[list[object]] = []
    sets = {"LoCoMo": run.locomo(), "assistant": run.assistant()}
    for name, histories in sets.items():
        for memories, tokens in BUDGETS:
            title = f"{name}, {tokens:,} tokens"
            whole = any_ = used = count = lines = 0.0
            with progress(title, sum(len(h.answerable) for h in histories)) as step:
                for history in histories:
                    memory = cast(Recaller, await run.memory(history))
                    for question in history.answerable:
                        found = await memory.inject(question, memories=memories, tokens=tokens)
                        held = [e in found.places for e in question.evidence]
                        whole += all(held)
                        any_ += any(held)
                        used += found.tokens
                        lines += len(found.places)
                        count += 1
                        step()
            share = 100 / max(count, 1)
            row = [whole * share, any_ * share, lines / count, round(used / count)]
            rows.append([title, *row])
    columns = ("", "all evidence in, %", "any, %", "memories", "tokens used")
    table("Evidence in the injected block", columns, rows)
    return {str(row[0]): dict(zip(columns[1:], row[1:], strict=True)) for row in rows}


async def silence(run: Run) -> dict[str, Any]:
    """False injections, against the recall that the floor costs."""
    sayings = smalltalk.sayings()
    result: dict[str, Any] = {}
    rows: list[list[object]] = []
    for name, histories in (
        ("LoCoMo", run.locomo()),
        ("LoCoMo, roles only", run.locomo("roles")),
        ("assistant", run.assistant()),
    ):
        false = dict.fromkeys(sayings, 0)
        tokens = dict.fromkeys(sayings, 0)
        lost = 0.0
        total = sum(len(h.answerable) for h in histories)
        with progress(name, total + len(histories) * sum(map(len, sayings.values()))) as step:
            for history in histories:
                memory = cast(Recaller, await run.memory(history))
                for kind, texts in sayings.items():
                    for text in texts:
                        found = await memory.inject(_asked(text), **_FULL)
                        false[kind] += bool(found.places)
                        tokens[kind] += found.tokens
                        step()
                for question in history.answerable:
                    if not (await memory.inject(question, **_FULL)).places:
                        best_ten = await memory.search(question.text, 10, question.asked)
                        held = sum(e in best_ten for e in question.evidence)
                        lost += held / len(question.evidence)
                    step()
        rates = {
            smalltalk.KINDS[kind]: 100 * count / len(histories) / len(sayings[kind])
            for kind, count in false.items()
        }
        spent = round(tokens["never_said"] / len(histories) / len(sayings["never_said"]))
        result[name] = {
            "false injections per 100": rates,
            "tokens for what was never said": spent,
            "recall@10 lost": 100 * lost / total,
        }
        rows.append([name, *rates.values(), spent, 100 * lost / total])
    columns = (
        "",
        *smalltalk.KINDS.values(),
        "tokens for each of these",
        "recall@10 lost to the floor",
    )
    table("False injections per 100", columns, rows)
    return result


async def over_time(run: Run) -> dict[str, Any]:
    """Facts that change, facts that stand, days asked for."""
    backgrounds = [run.assistant()[0], *run.locomo("roles")[:: 4 if not run.options.quick else 2]]
    counts: dict[str, list[int]] = {}
    with progress("time", len(backgrounds)) as step:
        for background in backgrounds:
            test = changes.over(background)
            memory = await run.memory(test.history)
            for question in test.questions:
                found = await memory.search(question.text, CUTOFFS[-1], test.now)
                place = {turn: n for n, turn in enumerate(reversed(found))}
                best = place.get(question.wanted, -1)
                above = best > max((place.get(o, -1) for o in question.others), default=-1)
                row = counts.setdefault(question.kind, [0, 0, 0, 0])
                hits = (above, found[:1] == [question.wanted], question.wanted in found[:5])
                for n, hit in enumerate((True, *hits)):
                    row[n] += hit
            step()
    columns = ("", "questions", "above the other values, %", "first, %", "in the first 5, %")
    rows = [[kind, n, *(100 * c / n for c in rest)] for kind, (n, *rest) in counts.items()]
    table("Facts that change: asked now, as of a month; never replaced; by day", columns, rows)
    return {str(row[0]): dict(zip(columns[1:], row[1:], strict=True)) for row in rows}


async def in_languages(run: Run) -> dict[str, Any]:
    """Five languages, two of them written without spaces."""
    result: dict[str, Any] = {}
    rows = []
    for history in languages.histories():
        placed_rows = await rank(run, [history], history.name)
        memory = cast(Recaller, await run.memory(history))
        injected = [await memory.inject(q, **_FULL) for q in history.answerable]
        held = sum(
            q.evidence[0] in i.places for q, i in zip(history.answerable, injected, strict=True)
        )
        found = figures(placed_rows)
        first = 100 * sum(row.places[0] == 0 for row in placed_rows) / len(placed_rows)
        result[history.name] = {"first": first, "figures": found, "injected": held}
        rows.append([history.name, found.questions, first, found.recall[5], found.mrr, held])
    table("Languages", ("", "questions", "first, %", "recall@5", "MRR", "injected"), rows)
    return result


async def on_longmemeval(run: Run) -> dict[str, Any]:
    """LongMemEval by turn and by session; any and all evidence apart."""
    path = run.options.longmemeval
    if path is None:
        return {}
    histories = longmemeval.load(path, 20 if run.options.quick else run.options.limit)
    by_turn: list[Placed] = []
    by_session: list[Placed] = []
    silent = asked = 0
    with progress("LongMemEval", len(histories)) as step:
        for history in histories:
            memory = await run.subject.remember(history)
            names = [turn.session for turn in history.turns]
            number = {name: n for n, name in enumerate(dict.fromkeys(names))}
            for question in history.questions:
                if not question.evidence:
                    found = await cast(Recaller, memory).inject(question, **_FULL)
                    asked, silent = asked + 1, silent + (not found.places)
                    continue
                ranking = await memory.search(question.text, 500, question.asked)
                by_turn.append(placed(question.category, ranking, question.evidence))
                sessions = [number[names[turn]] for turn in ranking]
                wanted = sorted({number[names[turn]] for turn in question.evidence})
                by_session.append(placed(question.category, sessions, wanted))
            step()
    result: dict[str, Any] = {"abstention": {"questions": asked, "silent": silent}}
    for what, rows in (("turn", by_turn), ("session", by_session)):
        found_by = by_category(rows)
        columns = ("", "questions", *(f"{m}@{k}" for m in ("any", "recall") for k in CUTOFFS))
        table(
            f"LongMemEval by {what}",
            (*columns, "all@10", "MRR"),
            [
                [name, f.questions, *f.any_at.values(), *f.recall.values(), f.all_at_10, f.mrr]
                for name, f in found_by.items()
            ],
        )
        result[what] = found_by
    return result


_FULL: dict[str, Any] = {"memories": 30, "tokens": 2_000}


def _asked(text: str) -> Question:
    return Question(text=text, category="", evidence=())
