"""What components do with a prompt that does not fit the model's window."""

from dataclasses import replace

import pytest

from archon_batch.archon import ComponentWarning, Context, State
from archon_batch.archon.context_window import ContextOverflowError, estimate_tokens
from tests.archon.components.running import kept_ids, request_indices, run_with
from tests.builders import a_component, a_question, candidates, first_requests, run_with_texts

TEXTS = ("a" * 400, "b" * 300, "c" * 200)
TESTS = ("It is short.",)
CRITIQUED = tuple(replace(c, critique="d" * 500) for c in candidates(*TEXTS))

LISTWISE = ("critic", "ranker", "fuser")
ONE_BY_ONE = ("verifier", "unit_test_evaluator")
ALONE = ("generator", "unit_test_generator")


def seeing(window, *, shown=CRITIQUED, query="What is 2 + 2?"):
    return Context(a_question(query), State(shown, TESTS), "1.0", window)


def size(component, context):
    """The tokens of the longest prompt that the component begins with, when all of it fits."""
    requests = first_requests(component, replace(context, max_prompt_tokens=None))
    return max(estimate_tokens(request.messages) for request in requests)


def shown_in(request):
    content = request.messages[-1].content
    return [text[0] for text in TEXTS if f"\n{text}\n" in content]


@pytest.mark.parametrize("kind", [*LISTWISE, *ONE_BY_ONE, *ALONE])
@pytest.mark.parametrize("overflow", ["error", "drop_last", "truncate"])
def test_a_prompt_that_just_fits_is_sent_unchanged(kind, overflow):
    component = a_component(kind, overflow=overflow)
    unbounded = seeing(None)

    fitting = seeing(size(component, unbounded))

    assert first_requests(component, fitting) == first_requests(component, unbounded)


@pytest.mark.parametrize("kind", [*LISTWISE, *ONE_BY_ONE, *ALONE])
def test_overflow_error_raises(kind):
    component = a_component(kind, overflow="error")
    most = size(component, seeing(None))

    with pytest.raises(
        ContextOverflowError, match=f"takes about {most:,} tokens, .* {most - 1:,}$"
    ):
        first_requests(component, seeing(most - 1))


def without(*warnings):
    return [ComponentWarning("skipped", why) for why in warnings]


@pytest.mark.parametrize(
    ("kind", "left", "told"),
    [
        ("critic", None, without("no candidate has a critique")),
        ("ranker", ["0", "1"], without("the candidates keep their order")),
        ("fuser", [], []),
        (
            "verifier",
            ["0", "1", "2"],
            without("no candidate is found correct; all of them are kept"),
        ),
        ("unit_test_evaluator", ["0", "1"], []),
        ("generator", [], []),
        ("unit_test_generator", None, without("there are no unit tests")),
    ],
)
@pytest.mark.parametrize("overflow", ["drop_last", "truncate"])
@pytest.mark.parametrize("window", [9, -9])
def test_nothing_is_sent_if_no_candidate_fits(kind, left, told, overflow, window):
    knobs = {"top_k": 2} if kind in ("ranker", "unit_test_evaluator") else {}

    run = run_with_texts(a_component(kind, overflow=overflow, **knobs), seeing(window))

    times = 3 if kind in ONE_BY_ONE else 1
    assert run.rounds == []
    assert (None if run.contribution.candidates is None else kept_ids(run)) == left
    assert run.contribution.unit_tests is None
    assert [warning for warning in run.warnings if warning in told] == told
    about = [warning.why for warning in run.warnings if warning.kind == "context_overflow"]
    assert len(about) == times
    assert all(why.endswith("it is not sent") for why in about)


@pytest.mark.parametrize("kind", ONE_BY_ONE)
def test_each_candidate_that_does_not_fit_has_a_warning(kind):
    component = a_component(kind)

    run = run_with_texts(component, seeing(9))

    named = [r.why.split()[0] for r in run.warnings if r.why.startswith("0.0.")]
    assert named == ["0.0.0", "0.0.1", "0.0.2"]


def fitting(component, count):
    """A window that the first so many candidates fit."""
    return seeing(size(component, seeing(None, shown=CRITIQUED[:count])))


@pytest.mark.parametrize("kind", LISTWISE)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_last_candidates_are_left_out(kind, count, shuffle):
    component = a_component(kind, shuffle=shuffle)

    (request,) = first_requests(component, fitting(component, count))

    assert shown_in(request) == ["a", "b", "c"][:count]
    assert f"Below are {count} responses" in request.messages[-1].content


def test_a_ranker_puts_candidates_that_were_not_shown_last():
    ranker = a_component("ranker")

    run = run_with_texts(ranker, fitting(ranker, 2), "Answer: [2] > [1]")

    assert kept_ids(run) == ["1", "0", "2"]
    assert [warning.kind for warning in run.warnings] == ["context_overflow"]
    assert "the last 1 of 3 candidates" in run.warnings[0].why


def test_a_candidate_that_was_not_shown_has_no_critique():
    critic = a_component("critic")

    run = run_with_texts(critic, fitting(critic, 2), "[1] good\n[2] bad")

    assert run.contribution.critiques == {"0.0.0": "good", "0.0.1": "bad"}
    assert [warning.kind for warning in run.warnings] == ["context_overflow"]


def test_the_parents_of_a_fused_candidate_are_the_shown_candidates():
    fuser = a_component("fuser", samples=2)

    run = run_with_texts(fuser, fitting(fuser, 2), "fused")

    assert [c.parents for c in run.contribution.candidates or ()] == [("0.0.0", "0.0.1")] * 2
    assert [warning.kind for warning in run.warnings] == ["context_overflow"]


@pytest.mark.parametrize("kind", [*LISTWISE, "verifier", "unit_test_evaluator"])
def test_candidates_are_truncated_in_the_prompt_only(kind):
    component = a_component(kind, overflow="truncate")
    whole = candidates(*TEXTS)
    cut = seeing(size(component, seeing(None, shown=whole)) - 30, shown=whole)

    run = run_with(
        component,
        cut,
        lambda request: request.reply_format.example if request.reply_format else "x",
    )

    first = run.rounds[0][0]
    content = first.messages[-1].content
    assert estimate_tokens(first.messages) <= (cut.max_prompt_tokens or 0)
    assert TEXTS[0] not in content
    assert "a" * 100 in content
    kept = [c for c in run.contribution.candidates or () if not c.parents]
    assert all(candidate in whole for candidate in kept)
    assert {warning.kind for warning in run.warnings} == {"context_overflow"}
    assert all("are truncated to" in warning.why for warning in run.warnings)


def test_only_the_candidate_that_does_not_fit_is_not_judged():
    evaluator = a_component("unit_test_evaluator")
    context = seeing(size(evaluator, seeing(None, shown=CRITIQUED[1:])))

    run = run_with_texts(evaluator, context, "Unit Test #1: [Passed]")

    assert request_indices(run) == [1, 2]
    assert kept_ids(run) == ["1", "2", "0"]
    assert set(run.contribution.unit_test_results) == {"0.0.1", "0.0.2"}


def test_a_long_argument_can_leave_no_room_for_a_verdict():
    verifier = a_component("verifier", samples=2)
    one = CRITIQUED[:1]
    context = seeing(size(verifier, seeing(None, shown=one)) + 20, shown=one)

    run = run_with_texts(verifier, context, "x" * 300)

    assert request_indices(run) == [0, 2]
    assert [warning.kind for warning in run.warnings] == [
        "context_overflow",
        "context_overflow",
        "skipped",
        "skipped",
    ]
    assert "0.0.0 has no verdict" in run.warnings[2].why


def test_truncation_in_the_verdict_prompt_gives_a_warning():
    verifier = a_component("verifier", overflow="truncate")
    one = CRITIQUED[:1]
    context = seeing(size(verifier, seeing(None, shown=one)) + 60, shown=one)

    run = run_with_texts(verifier, context, "x" * 300, "[Correct]")

    (argue,), (judge,) = run.rounds
    assert [TEXTS[0] in request.messages[-1].content for request in (argue, judge)] == [True, False]
    assert estimate_tokens(judge.messages) <= (context.max_prompt_tokens or 0)
    assert [warning.kind for warning in run.warnings] == ["context_overflow"]
    assert run.contribution.candidates == one


def test_truncation_in_the_argument_prompt_gives_one_warning_for_all_samples():
    verifier = a_component("verifier", samples=3, overflow="truncate")
    one = CRITIQUED[:1]
    context = seeing(size(verifier, seeing(None, shown=one)) - 30, shown=one)

    run = run_with_texts(verifier, context, *[""] * 9)

    assert [warning.kind for warning in run.warnings].count("context_overflow") == 1
