"""Judging the answers of a job: the rows of the judge's job, its verdicts and their scores."""

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
from archon_batch.scores import Score
from archon_batch.store import ItemAnswer, Job, Store

#: The orders of a comparison; a rating has the order None.
_ORDERS = ("ab", "ba")


@dataclass(frozen=True, slots=True)
class JudgeBatch:
    """Judge cases by name (mostly the row id), and the scale of the verdicts."""

    scale: ScaleName
    cases: Mapping[str, JudgeCase]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the judge's job: one per rating, two per comparison."""
        for index, (name, case) in enumerate(self.cases.items()):
            if case.baseline_answer is None:
                yield {"id": str(index), "prompt": render_judge_prompt(case), "case": name}
                continue
            for order in _ORDERS:
                prompt = render_judge_prompt(case, swapped=order == "ba")
                yield {"id": f"{index}-{order}", "prompt": prompt, "case": name, "order": order}

    def pairwise_results(self, verdicts: "Verdicts") -> dict[str, PairwiseResult]:
        """The results of the comparisons by case."""
        tags = verdicts.tags
        return {
            name: PairwiseResult(tags.get((name, "ab")), tags.get((name, "ba")), self.scale)
            for name in self.cases
        }

    def scores(self, verdicts: "Verdicts") -> dict[str, Score]:
        """The scores by case. An unparsed verdict gives no score but a reason."""
        if any(case.baseline_answer is not None for case in self.cases.values()):
            results = self.pairwise_results(verdicts)
            return {
                name: _pairwise_score(result, verdicts.reason_for(name))
                for name, result in results.items()
            }
        return {name: self._rating_score(name, verdicts) for name in self.cases}

    def flagged(self) -> list[str]:
        """The cases with an answer that addresses the judge; a person should check them."""
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
    """The verdicts of a judge's job, by case and order."""

    tags: Mapping[tuple[str, str | None], str]
    #: Why there is no tag, if there is none.
    reasons: Mapping[tuple[str, str | None], str]

    def reason_for(self, name: str) -> str:
        """Why a case has no score; the first reason of two."""
        reasons = (self.reasons.get((name, order)) for order in (None, *_ORDERS))
        return next((reason for reason in reasons if reason), "not judged")


def read_verdicts(store: Store, job: Job, scale: ScaleName) -> Verdicts:
    """The verdicts of a judge's job."""
    tags: dict[tuple[str, str | None], str] = {}
    reasons: dict[tuple[str, str | None], str] = {}
    for row in store.item_results.answers(job.id):
        key = str(row.extras["case"]), row.extras.get("order")
        if row.answer is None:
            reasons[key] = row.reason or f"the judge's row {row.row_id} is {row.status}"
            continue
        try:
            tags[key] = parse_tag(row.answer, scale)
        except ReplyParseError as error:
            reasons[key] = str(error)
    return Verdicts(tags, reasons)


def build_judge_batch(
    store: Store, job: Job, scale: ScaleName, *, baseline: str | None, reference_field: str | None
) -> JudgeBatch:
    """The answers of a job as judge cases, by row id. Rows without an answer are left out.

    Args:
        store: has the job.
        job: its answers are judged.
        scale: the scale of the verdicts.
        baseline: a field of the rows, or another job, with the answers to compare with; rows
            without a baseline answer are left out. None rates each answer by itself.
        reference_field: the rows' field with the correct answer, if any.

    Raises:
        InputError: a row has no such field, or the baseline job lacks a row.
    """
    rows = list(store.item_results.answers(job.id))
    questions = dict(store.item_results.questions(job.id))
    baseline_answers = None if baseline is None else _baseline_answers(store, job, rows, baseline)
    cases: dict[str, JudgeCase] = {}
    for row in rows:
        if row.answer is None or (
            baseline_answers is not None and baseline_answers[row.row_id] is None
        ):
            continue
        case = JudgeCase(questions[row.ix].messages, row.answer)
        if baseline_answers is not None:
            case = replace(case, baseline_answer=baseline_answers[row.row_id])
        if reference_field is not None:
            case = replace(case, reference=_field_text(job, row, reference_field))
        cases[row.row_id] = case
    return JudgeBatch(scale, cases)


def judge_figures(batch: JudgeBatch, verdicts: Verdicts) -> dict[str, Any]:
    """Figures of the verdicts besides their mean."""
    figures: dict[str, Any] = {"flagged": batch.flagged()}
    results = batch.pairwise_results(verdicts).values()
    if any(case.baseline_answer is not None for case in batch.cases.values()):
        counts = Counter(result.value for result in results)
        figures |= {
            "won": counts[1.0],
            "tied": counts[0.5],
            "lost": counts[0.0],
            "orders_disagree": sum(result.orders_disagree for result in results),
        }
    return figures


def _pairwise_score(result: PairwiseResult, reason: str) -> Score:
    if result.value is None:
        return Score(None, unparsed_reason=reason)
    return Score(result.value, f"{result.tag_ours_first} | {result.tag_baseline_first}")


def _baseline_answers(
    store: Store, job: Job, rows: list[ItemAnswer], baseline: str
) -> Mapping[str, str | None]:
    """The baseline answers by row id: from a field that all rows have, else from that job."""
    if rows and all(baseline in row.extras for row in rows):
        return {row.row_id: _field_text(job, row, baseline) for row in rows}
    other = store.jobs.find(baseline)
    answers = {row.row_id: row.answer for row in store.item_results.answers(other.id)}
    if missing := [row.row_id for row in rows if row.row_id not in answers]:
        raise InputError(f"--baseline: {other.id} ({other.name}) has no row {missing[0]!r}")
    return answers


def _field_text(job: Job, row: ItemAnswer, field: str) -> str:
    location = f"{job.id}: row {row.row_id}: {field}"
    if field not in row.extras:
        raise InputError(f"{location}: the row has no such field; {suggestion(field, row.extras)}")
    value = row.extras[field]
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value):
        raise InputError(
            f"{location}: expected a text or a number for the judge; found {value!r:.80}"
        )
    return str(value)
