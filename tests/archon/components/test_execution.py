"""Unit tests as code: what is asked, what is read, and how candidates are ranked by them."""

import json
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    SANDBOX_MODEL,
    Answer,
    Context,
    Reply,
    ReplyParseError,
    Request,
    State,
    read_architecture,
    run_item,
    validate_architecture,
)
from archon_batch.archon.components.unit_test_generator import code_format, parse_code_tests
from archon_batch.archon.sandbox_calls import parse_sandbox_results, sandbox_reply_format
from archon_batch.errors import ArchitectureError
from tests.archon.components.gbnf import admits
from tests.archon.components.running import kept_ids, run_with
from tests.builders import a_component, a_question, candidates, first_requests, run_with_texts

TESTS = ("assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 3")
LAYERS = (
    {"type": "generator", "model": "scripted/plausible", "samples": 3},
    {"type": "unit_test_generator", "model": "scripted/plausible", "kind": "code"},
    {"type": "unit_test_evaluator", "execute": "sandbox", "top_k": 1},
)


def an_evaluator(**knobs):
    return a_component("unit_test_evaluator", execute="sandbox", **knobs)


def a_context(*texts):
    return Context(a_question(), State(candidates(*texts), TESTS), "2.0")


def told(*verdicts):
    return json.dumps({"results": [{"verdict": v, "why": ""} for v in verdicts]})


def results(passed):
    """Replies by the program that is asked about: the numbers of the tests that it passes."""

    def answer(request: Request) -> str:
        program = json.loads(request.messages[-1].content)["program"]
        good = passed[program]
        return str(told(*("passed" if n in good else "failed" for n in range(len(TESTS)))))

    return answer


def architecture(*layers):
    return read_architecture({"name": "a", "layers": list(layers)})


def test_the_sandbox_gets_one_call_per_candidate_with_code_and_tests():
    first, second = first_requests(
        an_evaluator(), a_context("Here:\n```python\nx = 1\n```", "x = 2")
    )

    assert [json.loads(r.messages[-1].content) for r in (first, second)] == [
        {"program": "x = 1", "tests": list(TESTS)},
        {"program": "x = 2", "tests": list(TESTS)},
    ]
    assert [m.role for m in first.messages] == ["user"]
    assert an_evaluator().model == SANDBOX_MODEL
    assert an_evaluator().call_count(2).high == 2


def test_without_agreement_candidates_are_ranked_by_the_tests_that_they_pass():
    run = run_with(
        an_evaluator(top_k=2, agreement="none"),
        a_context("a", "b", "c"),
        results({"a": {0}, "b": {0, 1, 2}, "c": {1, 2}}),
    )

    assert kept_ids(run) == ["1", "2"]
    assert run.contribution.scores["0.0.1"] == {"unit_tests": 1.0}
    assert [v.passed for v in run.contribution.unit_test_results["0.0.2"]] == [False, True, True]
    assert run.warnings == ()


def test_dual_agreement_prefers_many_candidates_that_pass_the_same_tests():
    passed = {"a": {0, 1, 2}, "b": {0, 1}, "c": {0, 1}, "d": {2}}

    plain = run_with(an_evaluator(agreement="none"), a_context(*"abcd"), results(passed))
    dual = run_with(an_evaluator(), a_context(*"abcd"), results(passed))

    assert kept_ids(plain) == ["0", "1", "2", "3"]
    # 2 x 2 beats 1 x 3.
    assert kept_ids(dual) == ["1", "2", "0", "3"]
    assert dual.contribution.scores["0.0.1"] == {"unit_tests": 2 / 3, "agreement": 4.0}
    told_so = an_evaluator(agreement="dual")
    assert run_with(told_so, a_context(*"abcd"), results(passed)).contribution == dual.contribution
    # With first_k there are not enough candidates to agree with.
    first = an_evaluator(first_k=1)
    assert run_with(first, a_context("b", "a"), results(passed)).contribution.candidates


@given(st.lists(st.frozensets(st.integers(0, 2)), min_size=1, max_size=6))
def test_the_best_by_agreement_has_the_greatest_product(passed):
    texts = [f"x = {n}" for n in range(len(passed))]
    run = run_with(
        an_evaluator(agreement="dual"),
        a_context(*texts),
        results(dict(zip(texts, passed, strict=True))),
    )

    groups: dict[frozenset[int], int] = defaultdict(int)
    for tests in passed:
        groups[tests] += 1
    order = [passed[int(n)] for n in kept_ids(run)]
    products = [groups[tests] * len(tests) for tests in order]
    assert products == sorted(products, reverse=True)


def test_a_test_that_is_not_valid_python_gives_one_warning():
    run = run_with_texts(an_evaluator(), a_context("a", "b"), told("passed", "broken", "failed"))

    broken, dropped = run.warnings
    assert broken.why.startswith("unit test 2 is not valid Python")
    assert dropped.why.endswith("unit tests that no candidate passes are dropped: 2, 3 of 3")


def test_later_layers_get_only_executed_tests_that_a_candidate_passes():
    run = run_with(an_evaluator(), a_context("a", "b"), results({"a": {0}, "b": {0, 2}}))
    after = a_context("a", "b").state.apply([run.contribution])
    none = run_with(an_evaluator(), a_context("a"), results({"a": set()}))
    (lost,) = [run_with_texts(an_evaluator(), a_context("a"), Reply(None, failure="down"))]

    (request,) = first_requests(a_component("fuser"), Context(a_question(), after, "3.0"))

    assert after.unit_tests == (TESTS[0], TESTS[2])
    # The verdicts are complete.
    assert [v.passed for v in after.candidates[0].unit_test_results or ()] == [True, False, True]
    prompt = request.messages[-1].content
    assert [prompt.count(test) for test in TESTS] == [1, 0, 1]
    assert none.contribution.unit_tests == ()
    # Without a run nothing is known about the tests.
    assert lost.contribution.unit_tests is None


def test_the_program_is_the_block_that_defines_the_called_names():
    answer = "```python\ndef f(x):\n    return x\n```\nRun it:\n```bash\npython f.py\n```"

    (request,) = first_requests(an_evaluator(), a_context(answer))

    assert json.loads(request.messages[-1].content)["program"] == "def f(x):\n    return x"


def test_seconds_are_sent_with_the_program():
    (request,) = first_requests(an_evaluator(seconds=0.5), a_context("x"))

    assert json.loads(request.messages[-1].content)["seconds"] == 0.5


def test_a_candidate_that_could_not_run_has_no_verdict_and_is_last():
    run = run_with_texts(
        an_evaluator(), a_context("a", "b"), Reply(None, failure="down"), told(*["failed"] * 3)
    )

    assert kept_ids(run) == ["0", "1"]
    assert "0.0.0" not in run.contribution.scores
    assert [r.kind for r in run.warnings] == ["failed", "skipped", "skipped"]


@pytest.mark.parametrize("text", ["", "yes", told(), told("passed", "passed"), '{"results": [1]}'])
def test_results_must_be_one_per_test(text):
    with pytest.raises(ReplyParseError):
        parse_sandbox_results(text, 3)


@pytest.mark.parametrize("count", [1, 3])
def test_the_examples_of_the_reply_format_are_parsed(count):
    assert {
        r.verdict for r in parse_sandbox_results(sandbox_reply_format(count).example, count)
    } == {"passed"}
    assert parse_sandbox_results(sandbox_reply_format(count).padded_example(500, marker="w"), count)
    assert {
        r.verdict
        for r in parse_sandbox_results(sandbox_reply_format(count).costliest_example or "", count)
    } == {"failed"}


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("assert f(1) == 1", ["assert f(1) == 1"]),
        (
            "```python\nassert f(1) == 1\n\n# an edge\nassert f([\n    1,\n]) == 2\n```",
            ["assert f(1) == 1", "assert f([\n    1,\n]) == 2"],
        ),
        (
            "assert a()\nimport math\nassert f(1) == math.pi",
            ["assert a()", "import math\nassert f(1) == math.pi"],
        ),
        (
            "```python\ndef f(x): return x\n```\n```python\nassert f(1) == 1\n```\nEdges:\n```python\nassert f(0) == 0\n```\nOutput:\n```\nOK\n```",
            ["assert f(1) == 1", "assert f(0) == 0"],
        ),
        ("assert f('a  b') == 'a  b'\nassert f('a  b') == 'a  b'", ["assert f('a  b') == 'a  b'"]),
    ],
)
def test_tests_are_parsed_from_a_block_of_asserts(text, tests):
    assert parse_code_tests(text, None) == tuple(tests)


@pytest.mark.parametrize(
    "text", ["", "There are none.", "def f(x):\n    return x", "import math", "    assert f(1)"]
)
def test_other_code_than_asserts_is_rejected(text):
    with pytest.raises(ReplyParseError):
        parse_code_tests(text, None)


@pytest.mark.parametrize("count", [None, 1, 4])
def test_the_example_of_a_block_is_parsed_and_in_the_grammar(count):
    shape = code_format(count)

    assert len(parse_code_tests(shape.example, count)) == (count or 5)
    assert len(parse_code_tests(shape.padded_example(400, marker="a word"), count)) == (count or 5)
    assert admits(shape, shape.example)


def test_a_block_with_another_number_of_tests_is_rejected():
    with pytest.raises(ReplyParseError, match="exactly 2"):
        parse_code_tests("assert f(1)", 2)


@pytest.mark.parametrize(
    ("knobs", "why"),
    [
        ({"samples": 2}, "samples: 1 with execute"),
        ({"agreement": "dual", "first_k": 1}, "either agreement"),
        ({"execute": None, "agreement": "dual"}, "agreement goes with execute"),
        ({"execute": None, "seconds": 5}, "seconds goes with execute"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": 61}, "seconds"),
        ({"execute": None, "model": SANDBOX_MODEL}, "what runs in the sandbox has execute"),
        ({"model": "scripted/plausible"}, "the model is sandbox/python; leave this out"),
    ],
)
def test_a_wrong_combination_of_keys_is_rejected(knobs, why):
    layer = {k: v for k, v in {**LAYERS[2], "top_k": None, **knobs}.items() if v is not None}
    layer.setdefault("model", "scripted/plausible") if "execute" not in layer else None

    with pytest.raises(ArchitectureError, match=why):
        architecture(*LAYERS[:2], layer)


def test_execute_ignores_the_default_model():
    layers = [dict(layer) for layer in LAYERS]
    built = read_architecture(
        {"name": "a", "defaults": {"model": "scripted/rough"}, "layers": layers}
    )

    assert built.model_names == ("scripted/plausible", SANDBOX_MODEL)
    assert read_architecture(built.to_dict()) == built


def test_statements_cannot_be_executed():
    statements = {**LAYERS[1]}
    del statements["kind"]

    validate_architecture(architecture(*LAYERS))
    for layers in (
        [LAYERS[0], statements, LAYERS[2]],
        [LAYERS[0], LAYERS[1], statements, LAYERS[2]],
        [LAYERS[0], [LAYERS[1], statements], LAYERS[2]],
    ):
        with pytest.raises(ArchitectureError, match=r"needs code tests.*kind: code"):
            validate_architecture(architecture(*layers))


def test_an_item_is_answered_by_the_results_of_the_sandbox():
    def answer(call):
        if call.model.model == SANDBOX_MODEL:
            is_best = json.loads(call.messages[-1].content)["program"] == "program 1"
            return Reply(told(*["passed" if is_best else "failed"] * 2))
        if call.component_type == "generator":
            return Reply(f"program {call.key.request_index}")
        return Reply("```\nassert f(1)\nassert f(2)\n```")

    end, replies = run_item(architecture(*LAYERS), a_question(), answer)

    assert isinstance(end, Answer)
    assert (end.text, len(replies)) == ("program 1", 7)
