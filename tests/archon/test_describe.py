"""What a component did, in words."""

from dataclasses import replace
from typing import ClassVar, Literal

import pytest

from archon_batch.archon import (
    Candidate,
    Component,
    ComponentResult,
    ComponentWarning,
    Contribution,
    ModelComponent,
    Reply,
    State,
    UnitTestResult,
    run_item,
    trace_item,
)
from archon_batch.archon.components.ranker import Ranker
from archon_batch.archon.describe import describe_step
from tests.builders import MODEL, a_question, an_architecture, candidates

THREE = {"type": "generator", "samples": 3}
TESTS = [THREE, {"type": "unit_test_generator", "unit_test_cap": 2}]
NO = Reply(None, failure="refused: no")


def told(*layers, windows=None, **replies):
    """The descriptions of the last layer, if the calls of each type get these replies in turn.

    The last reply of a kind is that of all its calls beyond.
    """
    architecture = replace(an_architecture(*layers), context_windows=windows or {})
    question = a_question()
    left = {kind: list(given) for kind, given in replies.items()}

    def answer(call):
        given = left.setdefault(call.component_type, [f"text of {call.key}"])
        reply = given.pop(0) if len(given) > 1 else given[0]
        return reply if isinstance(reply, Reply) else Reply(reply)

    _, settled = run_item(architecture, question, answer)
    *_, last = trace_item(architecture, question, settled).layers
    return "; ".join(component.description or "" for component in last.components)


def test_a_generator_is_described_by_its_candidates():
    assert told(THREE) == "made 3 candidates"
    assert told("generator") == "made 1 candidate"
    assert told(THREE, generator=["a", NO, "c"]) == "made 2 of 3 candidates"
    assert told(THREE, generator=[NO]) == "made no candidate"


def test_a_fuser_is_described_by_its_parents_and_candidates():
    two = {"type": "fuser", "samples": 2}

    assert told(THREE, "fuser") == "fused 3 candidates into 1"
    assert told("generator", two) == "fused 1 candidate into 2"
    assert told(THREE, two, fuser=[NO, "one"]) == "fused 3 candidates into 1 of 2"
    assert told(THREE, two, fuser=[NO]) == "made no candidate"


def test_a_critic_is_described_by_its_critiques():
    good = "[1]\nStrengths: a\nWeaknesses: b\n\n[2]\nStrengths: a\nWeaknesses: b"
    two, drop = {"type": "generator", "samples": 2}, {"type": "critic", "overflow": "drop_last"}
    long = ["short", "long " * 2000]

    assert told(two, "critic", critic=[good]) == "wrote critiques of 2"
    assert told(two, "critic", critic=["none"]) == "wrote no critique"
    fitting = told(
        two, drop, generator=long, critic=[good.split("\n\n", 1)[0]], windows={MODEL: 1500}
    )
    assert fitting == "wrote critiques of 1 of 2"


def test_a_ranker_is_described_by_its_order():
    order = ["Answer: [3] > [1] > [2]"]
    top = {"type": "ranker", "top_k": 2}

    assert told(THREE, "ranker", ranker=order) == "ranked 3: 0.0.2 > 0.0.0 > 0.0.1"
    assert told(THREE, top, ranker=order) == "ranked 3, kept 0.0.2 > 0.0.0"
    assert told(THREE, "ranker", ranker=["?"]) == "ranked nothing, kept all 3 in order"
    assert told(THREE, top, ranker=[NO]) == "ranked nothing, kept the first 2 of 3"


def test_a_long_ranking_is_shortened():
    many = {"type": "generator", "samples": 10}
    order = "Answer: " + " > ".join(f"[{n}]" for n in range(10, 0, -1))

    words = told(many, "ranker", ranker=[order])

    assert words.startswith("ranked 10: 0.0.9 > 0.0.8 > ")
    assert words.endswith(" > 0.0.3 > 0.0.2 > 2 more")


def test_a_verifier_is_described_with_dropped_and_unjudged_candidates():
    yes, no = "[Correct]", "[Incorrect]"
    first = {"type": "verifier", "first_k": 1}

    def verified(component, *replies):
        # An argument precedes each round of verdicts; any text is valid.
        return told(THREE, component, verifier=list(replies))

    assert verified("verifier", yes) == "verified 3 of 3"
    assert verified("verifier", "a", "a", "a", yes, no, yes) == ("verified 2 of 3 (dropped 0.0.1)")
    assert verified("verifier", "a", "a", "a", yes, NO, no) == (
        "verified 1 of 3 (dropped 0.0.2; not judged 0.0.1)"
    )
    assert verified(first, "a", no, "a", yes) == (
        "verified 1 of 3 (dropped 0.0.0; not judged 0.0.2)"
    )
    assert verified("verifier", no) == "verified 0 of 3, kept all"


def test_a_tie_of_votes_verifies_no_candidate():
    twice = {"type": "verifier", "samples": 2}

    words = told("generator", twice, verifier=["a", "a", "[Correct]", "[Incorrect]"])

    assert words == "verified 0 of 1, kept all"


def test_a_unit_test_generator_is_described_by_its_tests():
    write = "unit_test_generator"

    assert told("generator", write, unit_test_generator=['["It is four."]']) == "wrote 1 unit test"
    assert told("generator", write, unit_test_generator=['["a", "b"]']) == "wrote 2 unit tests"
    assert told("generator", write, unit_test_generator=["no"]) == "wrote no unit test"


def test_a_unit_test_evaluator_is_described_by_passed_tests():
    write, judge = ['["a", "b"]'], "unit_test_evaluator"
    top = {"type": judge, "top_k": 2}

    def verdicts(*passed):
        return "\n".join(
            f"Unit Test #{n}: [{'Passed' if p else 'Failed'}]" for n, p in enumerate(passed, 1)
        )

    both, one, none = verdicts(1, 1), verdicts(0, 1), verdicts(0, 0)
    tested = told(*TESTS, judge, unit_test_generator=write, unit_test_evaluator=[one, none, both])
    dropped = told(*TESTS, top, unit_test_generator=write, unit_test_evaluator=[none, both, one])
    failed = told(*TESTS, top, unit_test_generator=write, unit_test_evaluator=[both, NO, none])
    alone = told("generator", TESTS[1], judge, unit_test_generator=write, unit_test_evaluator=[one])

    assert tested == "tests passed: 0.0.0 1/2, 0.0.1 0/2, 0.0.2 2/2"
    assert dropped == "tests passed: 0.0.0 0/2, 0.0.1 2/2, 0.0.2 1/2 (dropped 0.0.0)"
    assert failed == "tests passed: 0.0.0 2/2, 0.0.2 0/2 (dropped 0.0.2; not judged 0.0.1)"
    assert alone == "0.0.0 passed 1 of 2 tests"


@pytest.mark.parametrize(
    ("kept", "words"), [(None, "kept all 3 in order"), (1, "kept the first 1 of 3")]
)
def test_without_unit_tests_nothing_is_tested(kept, words):
    judge = {"type": "unit_test_evaluator"} | ({"top_k": kept} if kept else {})

    assert told(*TESTS, judge, unit_test_generator=["no"]) == f"tested nothing, {words}"


@pytest.mark.parametrize(
    ("extract", "texts", "words"),
    [
        ({"extract": "number"}, ["so 42", "so 41", "it is 42"], "2 of 3 votes for 42"),
        ({"extract": "number"}, ["so 42", "well", "no"], "1 of 1 vote for 42"),
        ({"extract": "letter"}, ["Answer: B", "B", "A"], "2 of 3 votes for B"),
        ({"extract": "regex", "pattern": r"is (\w+)"}, ["is so", "is no", "is no"], "2 of 3 votes for no"),
        ({"extract": "text"}, ["y " * 30], f"3 of 3 votes for {'y ' * 20} ..."),
        ({"extract": "boxed"}, ["none"], "found no answer to count, kept 0.0.0"),
    ],
)  # fmt: skip
def test_a_voter_is_described_by_the_winning_answer(extract, texts, words):
    assert told(THREE, {"type": "voter", **extract}, generator=texts) == words


class Marker(Component):
    """A component of another package: it gives what it is told to."""

    requires: ClassVar[frozenset[str]] = frozenset()
    type: Literal["marker"]

    def run(self, context):
        raise NotImplementedError

    def call_count(self, candidates):
        raise NotImplementedError

    def output_count(self, candidates):
        raise NotImplementedError


A, B, C = candidates("a", "b", "c")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Contribution(), "changed nothing"),
        (Contribution(candidates=(Candidate("1.0.0", "new"),)), "made 1 candidate"),
        (Contribution(candidates=()), "made 0 candidates"),
        (Contribution(candidates=(C, A)), "kept 0.0.2 > 0.0.0 of 3"),
        (
            Contribution(candidates=(B, Candidate("1.0.0", "new")), scores={"0.0.1": {"reward": 2}}),
            "made 1 candidate; kept 0.0.1 of 3; scored 1",
        ),
        (
            Contribution(critiques={"0.0.0": "good"}, unit_tests=("x", "y"), values={"seed": 7}),
            "wrote 2 unit tests; wrote critiques of 1; produced seed",
        ),
        (Contribution(unit_test_results={"0.0.0": (UnitTestResult("x", passed=True),)}), "tested 1"),
    ],
)  # fmt: skip
def test_a_component_of_another_package_is_described_by_its_contribution(given, words):
    assert (
        describe_step(Marker(type="marker"), State((A, B, C)), ComponentResult(0, given, ()))
        == words
    )


def test_a_subclass_from_another_package_is_described_as_a_component_of_another_package():
    class Sorter(Ranker):
        type: Literal["sorter"]  # type: ignore[assignment]

    sorter = Sorter.model_validate({"type": "sorter", "model": MODEL})
    done = ComponentResult(
        0, Contribution(critiques={"0.0.0": "good"}), (ComponentWarning("skipped", "no order"),)
    )

    assert isinstance(sorter, ModelComponent)
    assert describe_step(sorter, State((A, B)), done) == "wrote critiques of 1"
