"""Early stopping of poor trials: successive halving by confidence intervals, not by rank.

A trial is dropped when the confidence interval of its difference to the best trial, on the rows
that both ran, lies below zero. This is racing with blocks (Moore and Lee, 1994; F-Race: Birattari
et al., 2002) with the paired percentile bootstrap (Efron, 1979) as interval. Ties continue. The
interval leaves a tenth above its upper end, so one comparison drops a trial as good as the best
with a probability of a tenth, and two comparisons with a fifth. On five rows the bootstrap is too
narrow, and the probability is a quarter.
"""

from collections import defaultdict
from collections.abc import Sequence

from archon_batch.search.objective import Objective
from archon_batch.search.search_state import seeded_rng
from archon_batch.search.trial import Trial
from archon_batch.search.trial_jobs import RowOutcomes

#: Each rung has this many times the rows of the rung below.
ETA = 3
#: The fewest rows of the first rung: fewer rows show nothing.
MIN_ROWS = 5
#: Of the two-sided interval.
CONFIDENCE = 0.8
_RESAMPLES = 1_000
#: Equal means may differ in their last digit.
_TOLERANCE = 1e-9


def rungs(rows: int) -> tuple[int, ...]:
    """How many dev rows a trial has run after each rung; the last rung is all rows."""
    counts = [rows]
    while counts[0] // ETA >= MIN_ROWS:
        counts.insert(0, counts[0] // ETA)
    return tuple(counts)


def best_rival(trial: Trial, trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The trial to compare with: the best that ran all dev rows, else the best of the batch.

    In a search for a Pareto front only trials that cost no more are rivals.
    """
    rivals = [t for t in trials if t is not trial]
    if objective.pareto:
        rivals = [t for t in rivals if (t.usd or 0.0) <= (trial.usd or 0.0)]
    done = [t for t in rivals if t.state == "done"]
    return max(done or rivals, key=lambda t: objective.value_of(t.dev), default=None)


def is_significantly_worse(
    outcomes: RowOutcomes, best: RowOutcomes, objective: Objective, *seed: object
) -> bool:
    """Whether the interval of the difference lies below zero.

    Args:
        outcomes: of the trial.
        best: outcomes of the best trial; has at least the same rows.
        objective: combines several datasets by their mean or their minimum.
        *seed: of the resampling.
    """
    if objective.value_of(outcomes) >= objective.value_of({row: best[row] for row in outcomes}):
        return False
    strata = defaultdict(list)
    for row in outcomes:
        strata[objective.dataset_index(row)].append(
            (objective.row_value(outcomes[row]), objective.row_value(best[row]))
        )
    rng = seeded_rng(*seed)
    differences = []
    for _ in range(_RESAMPLES):
        samples = [rng.choices(rows, k=len(rows)) for rows in strata.values()]
        means = [(_column_mean(rows, 0), _column_mean(rows, 1)) for rows in samples]
        differences.append(
            objective.combine_datasets([a for a, _ in means])
            - objective.combine_datasets([b for _, b in means])
        )
    highest = sorted(differences)[round((1 + CONFIDENCE) / 2 * (_RESAMPLES - 1))]
    return highest < -_TOLERANCE


def _column_mean(rows: Sequence[tuple[float, float]], column: int) -> float:
    return sum(row[column] for row in rows) / len(rows)
