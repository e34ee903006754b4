"""What a layer hands on: annotations stay with the candidate they are about, and go with it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import Candidate, Contribution, Message, Question, State, UnitTestResult

ONE, TWO, THREE = (Candidate(name, f"text {name}") for name in ("one", "two", "three"))
PASSED, FAILED = (UnitTestResult("it adds up", True),), (UnitTestResult("it adds up", False),)


def test_a_question_has_a_query_and_earlier_turns():
    system, before, answer = Message("system", "s"), Message("user", "u"), Message("assistant", "a")
    question = Question("row", (system, before, answer, system, Message("user", "now")))

    assert question.query == "now"
    assert question.earlier_turns == (before, answer)


def test_an_empty_contribution_changes_nothing():
    state = State((ONE, TWO), ("test",), {"shared": 1})

    assert state.apply([Contribution(), Contribution()]) == state


def test_new_candidates_replace_the_candidates_before():
    assert State((ONE, TWO)).apply([Contribution((THREE,))]).candidates == (THREE,)


def test_candidates_of_one_layer_are_in_the_order_of_their_components():
    after = State().apply([Contribution((TWO,)), Contribution(), Contribution((ONE, THREE))])

    assert after.candidates == (TWO, ONE, THREE)


def test_a_component_that_returns_no_candidate_keeps_candidates_of_other_components():
    after = State((ONE, TWO)).apply([Contribution(()), Contribution((TWO,))])

    assert after.candidates == (TWO,)


def test_a_candidate_returned_twice_is_kept_once_at_its_first_position():
    after = State((ONE, TWO, THREE)).apply([Contribution((TWO, ONE)), Contribution((THREE, TWO))])

    assert after.candidates == (TWO, ONE, THREE)


def test_critiques_are_added_to_their_candidates():
    state = State((ONE, TWO), ("test",))

    after = state.apply([
        Contribution(critiques={"one": "weak"}),
        Contribution(critiques={"one": "short", "gone": "lost"}),
    ])  # fmt: skip

    assert after == State((replace(ONE, critique="weak\n\nshort"), TWO), ("test",))


def test_a_later_critique_is_appended_to_an_earlier_one():
    first = State((ONE, TWO)).apply([Contribution(critiques={"one": "weak", "two": "long"})])

    second = first.apply([Contribution(critiques={"two": "dull"})])

    assert [c.critique for c in second.candidates] == ["weak", "long\n\ndull"]


def test_a_candidate_has_the_latest_test_results_and_all_scores_by_name():
    state = State((ONE, TWO)).apply([
        Contribution(unit_test_results={"one": PASSED}, scores={"one": {"votes": 2.0, "verified": 0.5}})
    ])  # fmt: skip

    after = state.apply([
        Contribution(unit_test_results={"one": FAILED}, scores={"one": {"verified": 1.0}, "two": {"votes": 0.0}})
    ])  # fmt: skip

    assert after.candidates == (
        replace(ONE, unit_test_results=FAILED, scores={"votes": 2.0, "verified": 1.0}),
        replace(TWO, scores={"votes": 0.0}),
    )


def test_an_annotation_keeps_the_other_annotations():
    known = replace(ONE, critique="weak", unit_test_results=PASSED, scores={"votes": 2.0})

    for said in (
        Contribution(critiques={"two": "long"}),
        Contribution(scores={"one": {}}),
        Contribution(unit_test_results={"one": PASSED}),
    ):
        after = State((known, TWO)).apply([said])
        assert after.candidates[0] == known


def test_an_annotation_reaches_a_candidate_that_another_component_of_the_layer_keeps():
    after = State((ONE, TWO)).apply([
        Contribution(critiques={"one": "weak", "two": "long"}),
        Contribution((TWO,)),
    ])  # fmt: skip

    assert after.candidates == (replace(TWO, critique="long"),)


def test_a_kept_candidate_keeps_its_annotations():
    known = State((ONE, TWO)).apply([
        Contribution(
            critiques={"one": "weak"}, unit_test_results={"one": PASSED}, scores={"one": {"votes": 3.0}}
        )
    ])  # fmt: skip

    replaced = known.apply([Contribution((THREE,))])
    again = replaced.apply([Contribution((Candidate("two", "another"),))])

    assert replaced.candidates == (THREE,)
    assert again.candidates == (Candidate("two", "another"),)


def test_annotations_of_replaced_candidates_are_lost():
    after = State((ONE, TWO)).apply([
        Contribution(critiques={"one": "weak"}, unit_test_results={"two": PASSED}, scores={"one": {"votes": 1}}),
        Contribution((THREE,)),
    ])  # fmt: skip

    assert after.candidates == (THREE,)


def test_unit_tests_of_a_layer_are_combined_and_replace_earlier_unit_tests():
    state = State((ONE,), ("old",))

    after = state.apply([
        Contribution(unit_tests=("a",)), Contribution(), Contribution(unit_tests=("b",)),
    ])  # fmt: skip

    assert after.unit_tests == ("a", "b")


@pytest.mark.parametrize("unit_tests", [None, ("new",)])
def test_candidates_and_unit_tests_are_independent(unit_tests):
    after = State((ONE,), ("old",)).apply([Contribution((TWO,), unit_tests=unit_tests)])

    assert after.candidates == (TWO,)
    assert after.unit_tests == (unit_tests or ("old",))


def test_values_of_other_packages_are_passed_on_by_name():
    before = State(values={"plan": "a", "budget": 3})

    after = before.apply([Contribution(values={"plan": "b"}), Contribution(values={"seen": {1}})])
    later = after.apply([Contribution((ONE,))])

    assert later.values == {"plan": "b", "budget": 3, "seen": {1}}
    assert before.values == {"plan": "a", "budget": 3}


IDS = st.sampled_from(["a", "b", "c", "d", "e"])
CHOICES = st.lists(st.none() | st.lists(IDS, unique=True, max_size=4), max_size=3)
SAID = st.dictionaries(IDS, st.text("xyz", min_size=1, max_size=5), max_size=4)


def contributions(chosen, said):
    """Each annotation names the candidate it is about, so that a drift shows."""
    kept = [Contribution(None if ids is None else tuple(map(candidate, ids))) for ids in chosen]
    annotated = [
        Contribution(
            critiques={of: f"{of}: {text}" for of, text in some.items()},
            unit_test_results={of: (UnitTestResult(of, True),) for of in some},
            scores={of: {of: 1.0} for of in some},
        )
        for some in said
    ]
    return kept, annotated


def candidate(name):
    return Candidate(name, f"text {name}")


@given(
    layers=st.lists(st.tuples(CHOICES, st.lists(SAID, max_size=3)), max_size=4),
    random=st.randoms(),
)
def test_an_annotation_always_stays_with_its_candidate(layers, random):
    state = State(tuple(map(candidate, "abc")))

    for chosen, said in layers:
        kept, annotated = contributions(chosen, said)
        given = kept + annotated
        random.shuffle(given)
        before, state = state, state.apply(given)

        there = [c.id for c in state.candidates]
        named = [c.id for some in given if some.candidates is not None for c in some.candidates]
        unchanged = all(some.candidates is None for some in given)
        assert there == (
            [c.id for c in before.candidates] if unchanged else [*dict.fromkeys(named)]
        )
        for of in state.candidates:
            about = [*(of.critique or "").split("\n\n")] if of.critique else []
            assert all(text.startswith(f"{of.id}: ") for text in about)
            assert {v.test for v in of.unit_test_results or ()} | set(of.scores) <= {of.id}
            said_now = [some.critiques[of.id] for some in given if of.id in some.critiques]
            assert (of.critique or "").endswith("\n\n".join(said_now))
            assert bool(said_now) <= (of.unit_test_results is not None)
