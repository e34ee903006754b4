"""Answers put before a judge: the rows of a job of their own, and what its verdicts are worth."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from archon_batch.archon import SCALES, ReplyParseError, ScaleName, parse_tag, suggestion
from archon_batch.errors import InputError
from archon_batch.evaluation.judge_prompt import (
    JudgeCase,
    PairwiseResult,
    addresses_judge,
    render_judge_prompt,
)
from archon_batch.evaluation.metric import Score
from archon_batch.store import ItemAnswer, Job, Store

#: The order in which the answers of a row of the judge's job stand; a rating has none.
_ORDERS = ("ab", "ba")


@dataclass(frozen=True, slots=True)
class JudgeBatch:
    """Cases by names of their own, mostly the ids of rows, and the scale they are judged on."""

    scale: ScaleName
    cases: Mapping[str, JudgeCase]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the judge's job: one for a rating, one for each order of a comparison."""
        for place, (name, case) in enumerate(self.cases.items()):
            if case.baseline_answer is None:
                yield {"id": str(place), "prompt": render_judge_prompt(case), "case": name}
                continue
            for order in _ORDERS:
                prompt = render_judge_prompt(case, swapped=order == "ba")
                yield {"id": f"{place}-{order}", "prompt": prompt, "case": name, "order": order}

    def pairwise_results(self, verdicts: "Verdicts") -> dict[str, PairwiseResult]:
        """Of comparisons: the tags of both orders, by case."""
        found = verdicts.tags
        return {
            name: PairwiseResult(found.get((name, "ab")), found.get((name, "ba")), self.scale)
            for name in self.cases
        }

    def scores(self, verdicts: "Verdicts") -> dict[str, Score]:
        """The score of each case. A verdict that cannot be read is none, and says why."""
        if any(case.baseline_answer is not None for case in self.cases.values()):
            games = self.pairwise_results(verdicts)
            return {
                name: _pairwise_score(game, verdicts.reason_for(name))
                for name, game in games.items()
            }
        return {name: self._rating_score(name, verdicts) for name in self.cases}

    def flagged(self) -> list[str]:
        """The cases with an answer that talks to the judge: somebody should look at them."""
        return [
            name
            for name, case in self.cases.items()
            if any(
                addresses_judge(text, self.scale)
                for text in (case.answer, case.baseline_answer or "")
            )
        ]

    def _rating_score(self, name: str, verdicts: "Verdicts") -> Score:
        tag = verdicts.tags.get((name, None))
        if tag is None:
            return Score(None, unparsed_reason=verdicts.reason_for(name))
        return Score(SCALES[self.scale][tag], tag)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a judge's job came to, by case and order."""

    tags: Mapping[tuple[str, str | None], str]
    #: Why there is no tag.
    reasons: Mapping[tuple[str, str | None], str]

    def reason_for(self, name: str) -> str:
        """Why a case has no score; the first reason of two."""
        found = (self.reasons.get((name, order)) for order in (None, *_ORDERS))
        return next((why for why in found if why), "it was not judged")


def read_verdicts(store: Store, job: Job, scale: ScaleName) -> Verdicts:
    """The verdicts of a judge's job."""
    tags: dict[tuple[str, str | None], str] = {}
    reasons: dict[tuple[str, str | None], str] = {}
    for row in store.item_results.answers(job.id):
        place = str(row.extras["case"]), row.extras.get("order")
        if row.answer is None:
            reasons[place] = row.reason or f"the judge's row {row.row_id} is {row.status}"
            continue
        try:
            tags[place] = parse_tag(row.answer, scale)
        except ReplyParseError as error:
            reasons[place] = str(error)
    return Verdicts(tags, reasons)


def build_judge_batch(
    store: Store, job: Job, scale: ScaleName, *, baseline: str | None, reference_field: str | None
) -> JudgeBatch:
    """The answers of a job as cases, by the ids of their rows.

    Args:
        store: where the job is.
        job: whose answers are judged; rows without one are left out.
        scale: the scale of the verdicts.
        baseline: a field of the rows, or another job, with the answers to compare with; rows
            that have none there are left out. None is to rate each answer by itself.
        reference_field: the field with what is known to be right, or None.

    Raises:
        InputError: a row has no such field, or the baseline's job has no such row.
    """
    rows = list(store.item_results.answers(job.id))
    questions = dict(store.item_results.questions(job.id))
    others = None if baseline is None else _baseline_answers(store, job, rows, baseline)
    cases: dict[str, JudgeCase] = {}
    for row in rows:
        if row.answer is None or (others is not None and others[row.row_id] is None):
            continue
        case = JudgeCase(questions[row.ix].messages, row.answer)
        if others is not None:
            case = replace(case, baseline_answer=others[row.row_id])
        if reference_field is not None:
            case = replace(case, reference=_field_text(job, row, reference_field))
        cases[row.row_id] = case
    return JudgeBatch(scale, cases)


def judge_figures(batch: JudgeBatch, verdicts: Verdicts) -> dict[str, Any]:
    """What is to be known of a judge's verdicts besides their mean."""
    told: dict[str, Any] = {"suspect": batch.flagged()}
    games = batch.pairwise_results(verdicts)
    if any(case.baseline_answer is not None for case in batch.cases.values()):
        ends = Counter(game.value for game in games.values())
        told |= {
            "won": ends[1.0],
            "tied": ends[0.5],
            "lost": ends[0.0],
            "contradicted": sum(game.orders_disagree for game in games.values()),
        }
    return told


def _pairwise_score(result: PairwiseResult, reason: str) -> Score:
    if result.value is None:
        return Score(None, unparsed_reason=reason)
    return Score(result.value, f"{result.tag_ours_first} | {result.tag_baseline_first}")


def _baseline_answers(
    store: Store, job: Job, rows: list[ItemAnswer], baseline: str
) -> Mapping[str, str | None]:
    """The baseline's answer of each row: of a field that all rows have, else of that job."""
    if rows and all(baseline in row.extras for row in rows):
        return {row.row_id: _field_text(job, row, baseline) for row in rows}
    other = store.jobs.find(baseline)
    theirs = {row.row_id: row.answer for row in store.item_results.answers(other.id)}
    if missing := [row.row_id for row in rows if row.row_id not in theirs]:
        raise InputError(f"--baseline: {other.id} ({other.name}) has no row {missing[0]!r}")
    return theirs


def _field_text(job: Job, row: ItemAnswer, field: str) -> str:
    place = f"{job.id}: row {row.row_id}: {field}"
    if field not in row.extras:
        raise InputError(f"{place}: the row has no such field; {suggestion(field, row.extras)}")
    value = row.extras[field]
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value):
        raise InputError(f"{place}: a judge is shown a text or a number; found {value!r:.80}")
    return str(value)
