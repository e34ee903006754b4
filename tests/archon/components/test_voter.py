"""The voter: whom it chooses, and what it says of those without an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import ComponentWarning, CountRange
from archon_batch.archon.answer_extraction import EXTRACTORS
from archon_batch.archon.components.voter import Voter
from archon_batch.archon.schema import validate_data
from archon_batch.errors import ArchitectureError
from tests.archon.components.running import kept_ids
from tests.builders import a_context, run_with_texts


def a_voter(extract="number", pattern=None):
    return Voter(type="voter", extract=extract, pattern=pattern)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_makes_no_call_and_returns_one_candidate(count):
    voter = a_voter()

    run = run_with_texts(voter, a_context(*map(str, range(count))))

    assert run.rounds == []
    assert len(kept_ids(run)) == 1
    assert voter.call_count(count) == CountRange(0, 0)
    assert voter.max_call_count(count) == 0
    assert voter.output_count(count) == CountRange(1, 1)


def test_without_candidates_its_output_count_is_zero():
    assert a_voter().output_count(0) == CountRange(0, 0)


@pytest.mark.parametrize(
    ("extract", "pattern", "texts", "best", "votes"),
    [
        ("number", None, ["It is 3.", "1,000", "so 1000.0"], "1", [1, 2, 2]),
        (
            "boxed",
            None,
            [r"\boxed{\frac12}", r"\boxed{2}", r"\boxed{\dfrac{1}{2}}"],
            "0",
            [2, 1, 2],
        ),
        ("letter", None, ["(B)", "The answer is C.", "**B**"], "0", [2, 1, 2]),
        ("text", None, ["Rome", "Paris.", " PARIS"], "1", [1, 2, 2]),
        ("regex", "=> (.*)", ["=> a\n=> b", "=> c", "=> B."], "0", [2, 1, 2]),
        # A tie goes to the earlier candidate.
        ("number", None, ["2", "1", "1", "2"], "0", [2, 2, 2, 2]),
        ("number", None, ["3", "2", "1", "1", "2"], "1", [1, 2, 2, 2, 2]),
    ],
)
def test_the_first_candidate_with_the_most_frequent_answer_is_kept(
    extract, pattern, texts, best, votes
):
    run = run_with_texts(a_voter(extract, pattern), a_context(*texts))

    assert kept_ids(run) == [best]
    assert run.contribution.scores == {
        f"0.0.{n}": {"votes": float(count)} for n, count in enumerate(votes)
    }
    assert run.warnings == ()


def test_a_candidate_without_an_answer_has_no_vote():
    run = run_with_texts(a_voter(), a_context("none", "no idea", "4"))

    assert kept_ids(run) == ["2"]
    assert run.contribution.scores == {"0.0.2": {"votes": 1.0}}
    why = "no answer (number) is found in 2 of 3 candidates; they have no vote"
    assert run.warnings == (ComponentWarning("skipped", why),)


def test_without_any_answer_the_first_candidate_is_kept():
    run = run_with_texts(a_voter("boxed"), a_context("4", "5"))

    assert kept_ids(run) == ["0"]
    assert run.contribution.scores == {}
    why = "no answer (boxed) is found in 2 of 2 candidates; the first one is kept"
    assert run.warnings == (ComponentWarning("skipped", why),)


@given(
    texts=st.lists(st.text(max_size=9), min_size=1, max_size=9),
    extract=st.sampled_from([*EXTRACTORS, "regex"]),
)
def test_no_candidate_has_more_votes_than_the_kept_one(texts, extract):
    run = run_with_texts(a_voter(extract, r"\w" if extract == "regex" else None), a_context(*texts))

    (best,) = kept_ids(run)
    votes = {of: score["votes"] for of, score in run.contribution.scores.items()}
    most = max(votes.values(), default=0.0)
    assert votes.get(f"0.0.{best}", 0.0) == most
    assert bool(run.warnings) is (len(votes) < len(texts))
    assert all(votes.get(f"0.0.{n}", 0.0) < most for n in range(int(best)))


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"extract": "number", "pattern": "x"}, "a pattern with extract: regex, and only then"),
        ({"extract": "regex"}, "a pattern with extract: regex, and only then"),
        ({"extract": "regex", "pattern": "("}, r"a pattern that can be compiled \(missing \)"),
        ({"extract": "regex", "pattern": ""}, "pattern"),
        ({"extract": "last"}, "'boxed', 'number'"),
        ({}, "missing"),
        ({"extract": "number", "model": "scripted/plausible"}, "model"),
    ],
)
def test_a_voter_with_wrong_keys_is_rejected(entry, why):
    with pytest.raises(ArchitectureError, match=why):
        validate_data(Voter, {"type": "voter", **entry}, "layers[1][0]")
