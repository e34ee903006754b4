"""The best and the worst of many rows."""

from hypothesis import given
from hypothesis import strategies as st

from archon_batch.html_report.agreement import RowAgreement
from archon_batch.html_report.extremes import ExtremeRows, RankedRow
from archon_batch.store import ItemResult, UsageTotals


def a_ranked_row(ix, score=None, *, status="answered", agree=(1, 1), notes=0, cost=0):
    made, most = agree
    ending = ItemResult(
        ix, f"row-{ix}", status, None, None, [{}] * notes, {}, None, UsageTotals(cost=cost)
    )
    return RankedRow(ending, score, RowAgreement(made, most, {}))


PICKS = st.lists(
    st.builds(
        lambda score, status, most, notes, cost: {
            "score": score, "status": status, "agree": (5, most), "notes": notes, "cost": cost,
        },
        st.sampled_from([0.0, 0.5, 1.0, None]),
        st.sampled_from(["answered", "failed"]),
        st.integers(1, 5),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=40,
)  # fmt: skip


@given(PICKS, st.integers(1, 6))
def test_extremes_are_the_ends_of_the_sorted_rows(given_rows, most) -> None:
    rows = [a_ranked_row(ix, **row) for ix, row in enumerate(given_rows)]
    extremes = ExtremeRows(most)
    for row in rows:
        extremes.add(row)

    ordered = sorted(rows, key=lambda row: row.sort_key)
    if len(rows) <= 2 * most:
        assert (extremes.worst, extremes.best) == (ordered, [])
    else:
        assert extremes.worst == ordered[:most]
        assert extremes.best == ordered[::-1][:most]


def test_the_score_orders_rows_first() -> None:
    right_and_dear = a_ranked_row(0, 1.0, agree=(5, 1), notes=3, cost=100)
    wrong_and_sure = a_ranked_row(1, 0.0, agree=(5, 5))

    assert wrong_and_sure.sort_key < right_and_dear.sort_key


def test_without_a_score_a_row_without_an_answer_is_the_worst() -> None:
    assert (
        a_ranked_row(0, status="failed", agree=(5, 5)).sort_key
        < a_ranked_row(1, agree=(5, 1)).sort_key
    )
