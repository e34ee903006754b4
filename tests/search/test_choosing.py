"""The split of the rows, the rungs, and the Pareto front."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from archon_batch.search.early_stopping import rungs
from archon_batch.search.pareto import pareto_front
from archon_batch.search.split import split_rows


@dataclass(frozen=True)
class Row:
    id: str


def test_rungs_grow_threefold_up_to_all_rows() -> None:
    assert rungs(50) == (5, 16, 50)
    assert rungs(14) == (14,)
    assert rungs(1) == (1,)


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers())
def test_the_split_is_a_partition_of_the_rows(n: int, share: float, seed: int) -> None:
    rows = [Row(str(k)) for k in range(n)]

    dev, held_out = split_rows(rows, share, seed)

    assert dev
    assert held_out
    assert sorted(r.id for r in dev + held_out) == sorted(r.id for r in rows)


def test_the_split_is_independent_of_the_order_of_the_rows() -> None:
    rows = [Row(str(k)) for k in range(50)]

    assert split_rows(rows, 0.2, 1) == split_rows(rows[::-1], 0.2, 1)
    assert split_rows(rows, 0.2, 1) != split_rows(rows, 0.2, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_front_has_the_undominated_items(pairs: list[tuple[int, int]]) -> None:
    found = pareto_front(pairs, lambda p: float(p[0]), lambda p: float(p[1]))

    beaten = {
        (s, c) for s, c in pairs if any((a >= s and b <= c) and (a, b) != (s, c) for a, b in pairs)
    }
    assert set(found) == set(pairs) - beaten
    assert len(found) == len(set(found))
    assert found == sorted(found, key=lambda p: p[1])
