"""Agreement of candidates."""

import pytest

from archon_batch.html_report.agreement import BANDS, choose_reader, row_agreement
from tests.builders import an_architecture


def of(*layers, metric=None):
    return choose_reader(an_architecture(*layers).to_dict(), metric)


def test_candidates_are_extracted_like_in_the_voter() -> None:
    read, label = of("generator", {"type": "voter", "extract": "number"})

    found = row_agreement([("a", "So it is 4."), ("a", "4.0"), ("b", "It is 5.")], "four, 4", read)

    assert (found.candidates, found.largest_group, found.band) == (3, 2, "60-79 % agree")
    assert found.by_model == {"a": (2, 2), "b": (1, 0)}
    assert label == "the number of each answer"


def test_candidates_are_extracted_by_the_pattern_of_the_voter() -> None:
    read, _ = of("generator", {"type": "voter", "extract": "regex", "pattern": "<(.*?)>"})

    assert row_agreement([("a", "well <x>"), ("a", "so <X>")], "<x>", read).largest_group == 2


@pytest.mark.parametrize(
    ("metric", "texts"),
    [
        ("number against gold", ["#### 4", "4"]),
        ("choice against key", ["Answer: B", "(B)"]),
        ("math", [r"\boxed{\frac12}", r"thus \boxed{1/2}"]),
        ("contains", ["Paris.", "paris"]),
        (None, ["Paris.", "paris"]),
    ],
)
def test_without_a_voter_candidates_are_extracted_like_in_the_metric(metric, texts) -> None:
    read, _ = of("generator", metric=metric)

    assert row_agreement([("a", text) for text in texts], None, read).band == "all agree"


def test_an_unparsed_candidate_agrees_with_none() -> None:
    read, _ = of("generator", {"type": "voter", "extract": "number"})

    found = row_agreement([("a", "who knows"), ("a", "nobody")], "who knows", read)

    assert (found.largest_group, found.band, found.by_model) == (1, "no two agree", {"a": (2, 0)})


def test_a_single_candidate_has_no_agreement() -> None:
    read, _ = of("generator")

    assert row_agreement([("a", "4")], "4", read).share is None
    assert row_agreement([], None, read).share is None


@pytest.mark.parametrize("made", range(2, 40))
def test_every_share_has_a_band(made) -> None:
    read, _ = of("generator")
    bands = [
        row_agreement(
            [("a", "4" if n < most else f"other {n}") for n in range(made)], None, read
        ).band
        for most in range(1, made + 1)
    ]

    assert bands[-1] == "all agree"
    assert bands[0] == "no two agree"
    ranks = [BANDS.index(band) for band in bands[1:]]
    assert ranks == sorted(ranks, reverse=True)
