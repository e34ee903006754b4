"""What reads texts of models and users takes time that grows no faster than they do."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from archon_batch.archon import (
    EXTRACTORS,
    SCALES,
    Candidate,
    Question,
    ScaleName,
    Scene,
    State,
    UnreadableError,
    code_of,
    expression,
    holds_tag,
    json_values,
    matched,
    read_tag,
    stated,
    user_pattern,
    without_thoughts,
)
from archon_batch.archon.call import Message
from archon_batch.archon.components import critic, ranker, verifier
from archon_batch.archon.components import unit_test_evaluator as evaluator
from archon_batch.archon.components import unit_test_generator as generator
from archon_batch.archon.delimiters import fenced
from archon_batch.dataset.template import Template
from archon_batch.errors import SettingsError
from archon_batch.evaluation import METRICS, Score
from archon_batch.evaluation.benchmarks.ifeval import Instructions
from archon_batch.evaluation.benchmarks.instructions import _CHECKS, loosened
from archon_batch.evaluation.judge_prompt import Case, addresses_judge, brief
from archon_batch.html_report.agreement import said

SIZE = 1_000_000
#: Seconds of CPU for one text; what is quadratic takes minutes.
ENOUGH = 2.0

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
    metric = METRICS[name].of(of) if of else METRICS[name]()
    prepared = metric.prepared(reference)
    return lambda text: metric.score(text, prepared)


def _tag(scale: ScaleName) -> Callable[[str], object]:
    return lambda text: (holds_tag(text, scale), read_tag(text, scale))


def _shown(text: str) -> object:
    question = Question("q", (Message("system", text), Message("user", "Well?")))
    scene = Scene(question, State(), "1.0")
    return scene.about("role", fenced([Candidate("0.0.0", text)]))


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
    "ifeval": lambda text: Instructions().score(
        text, [(name, KEYS) for name in _CHECKS if name != "language:response_language"]
    ),
}
READERS: dict[str, Callable[[str], object]] = {
    **METRIC_READERS,
    **EXTRACTORS,
    "stated": stated,
    "expression": expression,
    "matched": lambda text: matched(user_pattern("(?s)(.+)b"), text[:100_000]),
    "thoughts": without_thoughts,
    "thoughts closed": lambda text: without_thoughts(f"<think>{text}</think>{text}"),
    "code": code_of,
    "json values": lambda text: list(json_values(text)),
    **{f"scale {scale}": _tag(scale) for scale in SCALES},
    "critic": lambda text: critic.read(text, 2),
    "critic json": lambda text: critic.read_critiques(text, 2),
    "ranker": lambda text: ranker.read(text, 2),
    "ranker json": lambda text: ranker.read_order(text, 2),
    "verifier": verifier.read,
    "verifier json": verifier.read_finding,
    "tests": lambda text: generator.read(text, None),
    "tests json": lambda text: generator.read_tests(text, None),
    "tests code": lambda text: generator.read_code(text, None),
    "evaluator": lambda text: evaluator.read(text, 2),
    "evaluator json": lambda text: evaluator.read_results(text, 2),
    "prompt": _shown,
    "judge": lambda text: (
        addresses_judge(text, "rating"),
        brief(Case((Message("user", "?"),), text)),
    ),
    "loosened": loosened,
    "agreement": lambda text: said([("m", text)], text, EXTRACTORS["number"]),
    "template": Template.parse,
}


@pytest.mark.parametrize("name", READERS)
def test_a_megabyte_of_anything_is_read_in_time(name):
    reader, late = READERS[name], []
    for bit in BITS:
        # Runs of one character are the worst of most patterns; of others a tenth will do.
        size = SIZE if len(bit) == 1 else SIZE // 10
        text = (bit * (size // len(bit) + 1))[:size]
        begun = time.process_time()
        with suppress(UnreadableError, ValueError, SettingsError):
            reader(text)
        if time.process_time() - begun > ENOUGH:
            late.append(bit)

    assert late == []


def test_every_metric_that_reads_here_is_among_them():
    elsewhere = {"math", "code"}  # each in a process of its own, with a limit

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
def test_a_pattern_of_a_user_s_that_takes_too_long_is_told_as_unread(
    metric, of, reference, monkeypatch
):
    monkeypatch.setattr("archon_batch.archon.timed_regex.SECONDS", 0.2)
    long = f"{'a' * 5_000}b"
    answer = long if metric == "regex" else f'{{"x": "{long}", "{"x" * 5_000}": 1}}'

    score = _scored(metric, reference, of=of)(answer)

    assert "the pattern takes longer than" in (score.unread or "")
