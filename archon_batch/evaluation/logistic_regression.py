"""Logistic regression for shares: outcomes from 0 to 1, a handful of features, no library."""

import math
from collections.abc import Sequence

_ROUNDS, _SETTLED = 100, 1e-9
#: How strongly coefficients are held to 0: too little to be seen, enough that there is one answer.
_RIDGE = 1e-4


def fit_logistic_regression(
    rows: Sequence[Sequence[float]], outcomes: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """The coefficients that are most likely, by Newton's method, a hair's breadth towards 0.

    Args:
        rows: the features of each case; a constant, if there is to be one, is among them.
        outcomes: of each case, from 0 to 1.
        weights: how much each case counts.
    """
    size = len(rows[0])
    found = [0.0] * size
    for _ in range(_ROUNDS):
        slope = [-_RIDGE * value for value in found]
        bend = [[_RIDGE * (i == j) for j in range(size)] for i in range(size)]
        for row, outcome, weight in zip(rows, outcomes, weights, strict=True):
            expected = predict_probability(found, row)
            for i in range(size):
                slope[i] += weight * (outcome - expected) * row[i]
                for j in range(size):
                    bend[i][j] += weight * expected * (1 - expected) * row[i] * row[j]
        step = _solve_linear_system(bend, slope)
        # A step beyond this is a leap out of where the curve is like its tangent.
        shrunk = min(1.0, 4.0 / max(map(abs, step), default=1.0)) if any(step) else 1.0
        found = [value + shrunk * change for value, change in zip(found, step, strict=True)]
        if max(map(abs, step)) < _SETTLED:
            break
    return found


def predict_probability(coefficients: Sequence[float], row: Sequence[float]) -> float:
    """The share that is expected of a case."""
    linear = sum(a * b for a, b in zip(coefficients, row, strict=True))
    if linear < 0:
        return math.exp(linear) / (1 + math.exp(linear))
    return 1 / (1 + math.exp(-linear))


def _solve_linear_system(matrix: list[list[float]], constants: list[float]) -> list[float]:
    """The solution of a small linear system, by Gauss with pivots."""
    rows = [[*line, value] for line, value in zip(matrix, constants, strict=True)]
    size = len(rows)
    for at in range(size):
        pivot = max(range(at, size), key=lambda i: abs(rows[i][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for below in range(at + 1, size):
            share = rows[below][at] / rows[at][at]
            rows[below] = [a - share * b for a, b in zip(rows[below], rows[at], strict=True)]
    found = [0.0] * size
    for at in reversed(range(size)):
        rest = sum(rows[at][j] * found[j] for j in range(at + 1, size))
        found[at] = (rows[at][size] - rest) / rows[at][at]
    return found
