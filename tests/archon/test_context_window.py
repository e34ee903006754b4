"""What of a prompt fits the context window, and what is left out so that the rest does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    Answer,
    Candidate,
    ComponentWarning,
    Context,
    Failed,
    Message,
    Reply,
    State,
    check_length,
    fit_candidates,
    run_item,
)
from archon_batch.archon.context_window import ContextOverflowError, estimate_tokens
from tests.builders import MODEL, a_component, a_question, an_architecture, first_requests

MARK = " [... cut here to fit]"


def a_context(window, *candidates):
    return Context(a_question(), State(candidates), "1.0", window)


def a_ranker(overflow):
    return a_component("ranker", overflow=overflow)


def composed(shown):
    """A prompt with all that is known of the candidates, and some words for each."""
    parts = [f"response {n}: {c.text} {c.critique or ''}" for n, c in enumerate(shown)]
    return (Message("system", "You choose."), Message("user", "\n".join(parts)))


def fit_of(overflow, window, shown):
    return fit_candidates(a_context(window), a_ranker(overflow), tuple(shown), composed)


@pytest.mark.parametrize(
    ("texts", "tokens"),
    [
        ([], 150),
        ([""], 150 + 8),
        (["abc"], 150 + 8 + 1),
        (["abcd"], 150 + 8 + 2),
        (["ab", "c"], 150 + 16 + 1),
        (["\u00e9\u00e9"], 150 + 8 + 2),
        (["\u4e2d\u6587"], 150 + 8 + 2),
        (["\ud800"], 150 + 8 + 1),
    ],
)
def test_a_prompt_is_estimated_at_a_token_per_three_bytes_plus_overhead(texts, tokens):
    assert estimate_tokens([Message("user", text) for text in texts]) == tokens


def test_candidates_that_fit_are_unchanged():
    shown = (Candidate("a", "x" * 100), Candidate("b", "y", critique="weak"))
    size = estimate_tokens(composed(shown))

    for overflow in ("error", "drop_last", "truncate"):
        assert fit_of(overflow, size, shown).shown is shown
        assert fit_of(overflow, None, shown).shown is shown
        assert fit_of(overflow, size, shown).warnings == ()


def test_candidates_that_do_not_fit_raise_with_overflow_error():
    shown = [Candidate("a", "x" * 6000)]

    with pytest.raises(ContextOverflowError) as refusal:
        fit_of("error", 500, shown)

    assert str(refusal.value) == (
        "the prompt takes about 2,174 tokens, and the model's window leaves 500"
    )


def test_drop_last_leaves_out_the_last_candidates_with_a_warning():
    shown = [Candidate(name, "x" * 300) for name in "abcde"]

    fit = fit_of("drop_last", estimate_tokens(composed(shown[:3])), shown)

    assert fit.shown == tuple(shown[:3])
    ((kind, why),) = fit.warnings
    assert kind == "context_overflow"
    assert why.startswith("the prompt takes about ")
    assert why.endswith("; the last 2 of 5 candidates are left out")


def test_truncate_shortens_the_longest_texts_with_a_warning():
    shown = [Candidate("a", "x" * 900, critique="c" * 700), Candidate("b", "y" * 200)]

    fit = fit_of("truncate", estimate_tokens(composed(shown)) - 100, shown)

    first, second = fit.shown
    assert second == shown[1]
    assert first.id == "a"
    assert first.text.endswith(MARK)
    assert first.text.removesuffix(MARK) == "x" * (len(first.text) - len(MARK))
    assert first.critique is not None
    # 300 bytes are a hundred tokens; the shorter texts are kept.
    assert (len(first.text), len(first.critique)) in [(650, 650), (651, 651)]
    ((_, why),) = fit.warnings
    assert why.endswith(f"; longer texts are truncated to {len(first.text)} characters")


def test_a_critique_longer_than_every_text_is_truncated():
    shown = [Candidate("a", "x" * 150, critique="c" * 900)]

    fit = fit_of("truncate", estimate_tokens(composed(shown)) - 100, shown)

    (after,) = fit.shown
    assert after.text == shown[0].text
    assert after.critique is not None
    assert len(after.critique) in (600, 601, 602)


def test_candidates_are_left_out_if_truncation_leaves_too_little():
    shown = [Candidate(str(n), "x" * 1000) for n in range(10)]
    window = estimate_tokens(composed([replace(c, text="x" * 100) for c in shown[:4]])) + 2

    fit = fit_of("truncate", window, shown)

    (length,) = {len(c.text) for c in fit.shown}
    assert (len(fit.shown), length // 10) == (4, 10)
    ((_, why),) = fit.warnings
    assert why.endswith(
        "; the last 6 of 10 candidates are left out; "
        f"longer texts are truncated to {length} characters"
    )


@pytest.mark.parametrize("overflow", ["drop_last", "truncate"])
@pytest.mark.parametrize("window", [-5, 0, 170])
def test_no_candidate_is_shown_if_none_fits(overflow, window):
    fit = fit_of(overflow, window, [Candidate("a", "x" * 1000), Candidate("b", "y")])

    assert fit.shown == ()
    ((_, why),) = fit.warnings
    assert why.endswith(f"the model's window leaves {window:,}; it is not sent")


@pytest.mark.parametrize("overflow", ["drop_last", "truncate"])
def test_no_candidates_give_no_candidates(overflow):
    assert fit_of(overflow, 10, []).shown == ()


TEXTS = st.text(st.sampled_from("x\u00e9\u4e2d\U0001f600"), max_size=60).flatmap(
    lambda text: st.integers(1, 25).map(lambda times: text * times)
)
CANDIDATES = st.lists(
    st.builds(Candidate, st.uuids().map(str), TEXTS, critique=st.none() | TEXTS),
    min_size=1,
    max_size=6,
)

#: Windows as a share of the full prompt.
SHARES = st.floats(0.2, 1.1)


def cut(candidate, length):
    """The rule in the plainest words."""

    def short(text):
        return text if len(text) <= length else text[: length - len(MARK)] + MARK

    critique = candidate.critique
    return replace(
        candidate,
        text=short(candidate.text),
        critique=None if critique is None else short(critique),
    )


@given(shown=CANDIDATES, share=SHARES)
def test_drop_last_keeps_as_many_candidates_as_fit(shown, share):
    window = int(share * estimate_tokens(composed(shown)))
    fit = fit_of("drop_last", window, shown)

    fitting = [
        n for n in range(len(shown) + 1) if n and estimate_tokens(composed(shown[:n])) <= window
    ]
    assert list(fit.shown) == shown[: max(fitting, default=0)]
    assert bool(fit.warnings) == (len(fit.shown) < len(shown))


@given(shown=CANDIDATES, share=SHARES)
def test_truncate_keeps_as_many_candidates_as_fit_at_the_least_length_and_as_much_of_each(
    shown, share
):
    window = int(share * estimate_tokens(composed(shown)))

    def fits(count, length):
        return estimate_tokens(composed([cut(c, length) for c in shown[:count]])) <= window

    fit = fit_of("truncate", window, shown)

    counts = [n for n in range(1, len(shown) + 1) if fits(n, 100)]
    most = max(counts, default=0)
    assert len(fit.shown) == most
    if most:
        longest = max(length for length in range(100, 1601) if fits(most, length))
        assert list(fit.shown) == [cut(c, longest) for c in shown[:most]]
        assert estimate_tokens(composed(fit.shown)) <= window
    assert bool(fit.warnings) == (list(fit.shown) != shown)


@given(shown=CANDIDATES, share=SHARES)
def test_a_truncated_text_is_a_prefix_with_a_mark(shown, share):
    window = int(share * estimate_tokens(composed(shown)))
    fit = fit_of("truncate", window, shown)

    for before, after in zip(shown, fit.shown, strict=False):
        assert before.id == after.id
        assert (before.critique is None) == (after.critique is None)
        for whole, part in ((before.text, after.text), (before.critique, after.critique)):
            if part != whole:
                assert part.endswith(MARK)
                assert whole.startswith(part.removesuffix(MARK))
                assert 100 <= len(part) < len(whole)


def test_check_length_rejects_a_prompt_that_is_too_long():
    messages = (Message("user", "x" * 900),)

    assert check_length(a_context(None), a_ranker("error"), messages) == ()
    assert check_length(a_context(458), a_ranker("error"), messages) == ()
    for overflow in ("drop_last", "truncate"):
        assert check_length(a_context(457), a_ranker(overflow), messages) == (
            ComponentWarning(
                "context_overflow",
                "the prompt takes about 458 tokens, and the model's window leaves 457; "
                "it is not sent",
            ),
        )
    with pytest.raises(ContextOverflowError, match=r"window leaves 457\Z"):
        check_length(a_context(457), a_ranker("error"), messages)


@pytest.mark.parametrize("kind", ["critic", "ranker", "fuser", "verifier"])
@pytest.mark.parametrize("overflow", ["drop_last", "truncate"])
def test_the_prompts_of_every_component_fit_the_context_window(kind, overflow):
    component = a_component(kind, overflow=overflow)
    shown = tuple(Candidate(f"0.0.{n}", "x" * 3000) for n in range(2))
    context = a_context(1600, *shown)

    requests = first_requests(component, context)

    assert requests
    assert all(estimate_tokens(request.messages) <= 1600 for request in requests)


def narrowed(*layers, overflow="drop_last"):
    models = {"narrow": {"model": MODEL, "context": 1200}}
    defaults = {"model": MODEL, "max_tokens": 256, "overflow": overflow}
    return an_architecture(*layers, models=models, defaults=defaults)


def test_a_row_that_is_too_long_fails_without_a_call():
    architecture = narrowed({"type": "generator", "model": "narrow"}, "fuser")

    end, replies = run_item(architecture, a_question("x" * 9000), lambda _: Reply("never"))

    assert isinstance(end, Failed)
    assert replies == {}
    assert end.why.endswith("window leaves 944; it is not sent")
    assert [warning.kind for warning in end.warnings] == ["context_overflow"]


def test_candidates_that_do_not_fit_are_kept_after_the_ranked_candidates():
    architecture = narrowed(
        {"type": "generator", "samples": 3}, {"type": "ranker", "model": "narrow"}
    )

    end, _ = run_item(
        architecture,
        a_question(),
        lambda call: Reply(
            "Answer: [2] > [1]"
            if call.component_type == "ranker"
            else f"{call.key.request_index}" * 800
        ),
    )

    assert isinstance(end, Answer)
    assert end.candidate_id == "0.0.1"
    assert [warning.kind for warning in end.warnings] == ["context_overflow"]
    assert "the last 1 of 3 candidates are left out" in end.warnings[0].why
