"""Which trials go on to more rows: successive halving, by intervals and not by rank.

A trial is dropped where the interval of its difference to the best, on the rows that both saw, lies
below zero: a race by blocks (Moore and Lee, 1994; F-Race: Birattari et al., 2002), whose interval is
the paired percentile bootstrap (Efron, 1979). Ties go on. A tenth of the interval's doubt lies
above it, so that one as good as the best is dropped by chance at a tenth of the looks, or a fifth
of the time when there are two; on five rows the bootstrap is narrow, which makes it a quarter.
"""

import random
from collections import defaultdict
from collections.abc import Sequence

from archon_batch.search.objective import Objective
from archon_batch.search.trial import Trial
from archon_batch.search.trial_jobs import RowOutcomes

#: Of the two-sided interval.
CONFIDENCE = 0.8
_RESAMPLES = 1_000
#: Equal means may differ in their last digit.
_TOLERANCE = 1e-9


def best_rival(trial: Trial, trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The trial that this one is held against: the best of those that saw all dev rows.

    Where the front of score and cost is looked for, the best of those that cost no more. While
    none has seen all rows, it is the best of those beside it, on the rows that they have seen.
    """
    rivals = [t for t in trials if t is not trial]
    if objective.pareto:
        rivals = [t for t in rivals if (t.usd or 0.0) <= (trial.usd or 0.0)]
    done = [t for t in rivals if t.state == "done"]
    return max(done or rivals, key=lambda t: objective.value_of(t.dev), default=None)


def is_significantly_worse(
    ours: RowOutcomes, best: RowOutcomes, objective: Objective, seed: object
) -> bool:
    """Whether the interval of the difference on the rows of both lies below zero.

    Args:
        ours: what came of the rows.
        best: what came of them with the best so far.
        objective: what is compared: of several datasets the mean of them, or the worst.
        seed: of the resampling.
    """
    if objective.value_of(ours) >= objective.value_of({row: best[row] for row in ours}):
        return False
    strata = defaultdict(list)
    for row in ours:
        strata[objective.dataset_index(row)].append(
            (objective.row_value(ours[row]), objective.row_value(best[row]))
        )
    dice = random.Random(repr(seed))  # noqa: S311  (not a secret: the same twice)
    apart = []
    for _ in range(_RESAMPLES):
        drawn = [dice.choices(rows, k=len(rows)) for rows in strata.values()]
        means = [(_column_mean(rows, 0), _column_mean(rows, 1)) for rows in drawn]
        apart.append(
            objective.combine_datasets([a for a, _ in means])
            - objective.combine_datasets([b for _, b in means])
        )
    highest = sorted(apart)[round((1 + CONFIDENCE) / 2 * (_RESAMPLES - 1))]
    return highest < -_TOLERANCE


def _column_mean(rows: Sequence[tuple[float, float]], which: int) -> float:
    return sum(row[which] for row in rows) / len(rows)
