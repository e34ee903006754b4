"""Results of a search as JSON."""

from archon_batch.search.results import with_current_keys


def test_a_result_stored_by_an_older_version_gets_the_current_keys():
    old = {"ended": "4 trials", "found_calls": 3, "single": None, "front": [1]}

    assert with_current_keys(old) == {
        "ended": "4 trials",
        "cached_calls": 3,
        "best_single": None,
        "pareto_front": [1],
    }
    assert with_current_keys(with_current_keys(old)) == with_current_keys(old)
