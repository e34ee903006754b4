"""Parsers of model and user text take linear time."""

import os
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from archon_batch.archon import (
    EXTRACTORS,
    SCALES,
    Candidate,
    Context,
    Question,
    ReplyParseError,
    ScaleName,
    State,
    compile_pattern,
    contains_tag,
    extract_expression,
    extract_match,
    extract_program,
    extract_stated,
    find_json_values,
    parse_tag,
    strip_reasoning,
)
from archon_batch.archon.call import Message
from archon_batch.archon.components import critic, ranker, verifier
from archon_batch.archon.components import unit_test_evaluator as evaluator
from archon_batch.archon.components import unit_test_generator as generator
from archon_batch.archon.delimiters import delimit_candidates
from archon_batch.dataset.template import Template
from archon_batch.errors import SettingsError
from archon_batch.evaluation.benchmarks.ifeval import InstructionsMetric
from archon_batch.evaluation.benchmarks.instructions import _CHECKS, loose_variants
from archon_batch.evaluation.judge_prompt import JudgeCase, addresses_judge, render_judge_prompt
from archon_batch.evaluation.metrics import METRICS
from archon_batch.html_report.agreement import row_agreement
from archon_batch.scores import Score

#: Characters of a text; in CI a megabyte.
SIZE = 1_000_000 if os.environ.get("CI") else 250_000
#: Seconds of CPU for one text; quadratic time is a hundred times as long.
ENOUGH = SIZE / 500_000

BITS = (
    *("\\", "\n", " ", "a", "1", "[", "{", "`", "'", '"', ",", "(", "*", "<", "\u0301", "$"),
    *("1 ", "1,", "[[", "]]", "[1] ", "\\boxed{", "<think>", "</think>\n", "```\n", "\n- ", "Dr. "),
    *('{"a":', "[1,", '"answer": "', "answer is ", "#### 1", "<answer>", "not [Correct]\n", "A>"),
    *("\\text{", "\\frac{1}", "<<", "unit test #1: ", "A (", "is 1 - "),
)

KEYS = {
    "keywords": ["a"], "keyword": "a", "frequency": 1, "relation": "at least", "let_frequency": 1,
    "forbidden_words": ["b"], "letter": "a", "let_relation": "at least", "language": "en",
    "num_sentences": 1, "num_paragraphs": 1, "num_words": 1, "nth_paragraph": 1, "first_word": "a",
    "num_placeholders": 1, "postscript_marker": "P.S.", "num_bullets": 1, "num_highlights": 1,
    "section_spliter": "Section", "num_sections": 1, "prompt_to_repeat": "a", "end_phrase": "a",
    "capital_relation": "at least", "capital_frequency": 1,
}  # fmt: skip


def _scored(name: str, reference: object, of: str | None = None) -> Callable[[str], Score]:
    metric = METRICS[name].from_argument(of) if of else METRICS[name]()
    prepared = metric.parse_reference(reference)
    return lambda text: metric.score(text, prepared)


def _tag(scale: ScaleName) -> Callable[[str], object]:
    return lambda text: (contains_tag(text, scale), parse_tag(text, scale))


def _shown(text: str) -> object:
    question = Question("q", (Message("system", text), Message("user", "Well?")))
    context = Context(question, State(), "1.0")
    return context.build_messages("role", delimit_candidates([Candidate("0.0.0", text)]))


METRIC_READERS: dict[str, Callable[[str], object]] = {
    "exact": _scored("exact", "a"),
    "normalized": _scored("normalized", "a"),
    "contains": _scored("contains", "b 1"),
    "regex": _scored("regex", "(b|c)d"),
    "regex:": _scored("regex", "a", of="(b+)c"),
    "choice": _scored("choice", "A"),
    "number": _scored("number", 7),
    "label": _scored("label", "-1"),
    "json": _scored("json", {"a": 1}),
    "json:": _scored("json", None, of='{"type": "object"}'),
    "ifeval": lambda text: InstructionsMetric().score(
        text, [(name, KEYS) for name in _CHECKS if name != "language:response_language"]
    ),
}
READERS: dict[str, Callable[[str], object]] = {
    **METRIC_READERS,
    **EXTRACTORS,
    "stated": extract_stated,
    "expression": extract_expression,
    "matched": lambda text: extract_match(compile_pattern("(?s)(.+)b"), text[:100_000]),
    "thoughts": strip_reasoning,
    "thoughts closed": lambda text: strip_reasoning(f"<think>{text}</think>{text}"),
    "code": extract_program,
    "json values": lambda text: list(find_json_values(text)),
    **{f"scale {scale}": _tag(scale) for scale in SCALES},
    "critic": lambda text: critic.parse_critiques(text, 2),
    "critic json": lambda text: critic.parse_json_critiques(text, 2),
    "ranker": lambda text: ranker.parse_ranking(text, 2),
    "ranker json": lambda text: ranker.parse_json_ranking(text, 2),
    "verifier": verifier.parse_verdict,
    "verifier json": verifier.parse_json_verdict,
    "tests": lambda text: generator.parse_tests(text, None),
    "tests json": lambda text: generator.parse_json_tests(text, None),
    "tests code": lambda text: generator.parse_code_tests(text, None),
    "evaluator": lambda text: evaluator.parse_results(text, 2),
    "evaluator json": lambda text: evaluator.parse_json_results(text, 2),
    "prompt": _shown,
    "judge": lambda text: (
        addresses_judge(text, "rating"),
        render_judge_prompt(JudgeCase((Message("user", "?"),), text)),
    ),
    "loosened": loose_variants,
    "agreement": lambda text: row_agreement([("m", text)], text, EXTRACTORS["number"]),
    "template": Template.parse,
}


@pytest.mark.parametrize("name", READERS)
def test_a_long_text_of_any_kind_is_parsed_in_time(name):
    reader, late = READERS[name], []
    for bit in BITS:
        # Runs of one character are the worst case of most patterns; a tenth suffices for the rest.
        size = SIZE if len(bit) == 1 else SIZE // 10
        text = (bit * (size // len(bit) + 1))[:size]
        begun = time.process_time()
        with suppress(ReplyParseError, ValueError, SettingsError):
            reader(text)
        if time.process_time() - begun > ENOUGH:
            late.append(bit)

    assert late == []


def test_every_metric_that_parses_text_is_covered():
    elsewhere = {"math", "code"}  # each in its own process with a time limit

    assert {name.rstrip(":") for name in METRIC_READERS} - {"ifeval"} == METRICS.keys() - elsewhere


@pytest.mark.parametrize(
    ("metric", "of", "reference"),
    [
        ("regex", None, "(a+)+$"),
        ("regex", "(a+)+$", "a"),
        ("json", '{"properties": {"x": {"pattern": "(a+)+$"}}}', None),
        ("json", '{"patternProperties": {"^(x+x+)+y": {}}}', None),
    ],
)
def test_a_user_pattern_that_times_out_is_reported_as_unparsed(metric, of, reference, monkeypatch):
    monkeypatch.setattr("archon_batch.archon.timed_regex.MATCH_TIMEOUT", 0.2)
    long = f"{'a' * 5_000}b"
    answer = long if metric == "regex" else f'{{"x": "{long}", "{"x" * 5_000}": 1}}'

    score = _scored(metric, reference, of=of)(answer)

    assert "the pattern takes longer than" in (score.unparsed_reason or "")
