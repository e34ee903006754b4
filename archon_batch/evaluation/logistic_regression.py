"""Logistic regression for outcomes from 0 to 1 and a handful of features, without a library."""

import math
from collections.abc import Sequence

#: The most Newton steps, and the step size at which the fit has converged.
_MAX_STEPS, _CONVERGED = 100, 1e-9
#: The ridge penalty: too small to matter, but it makes the solution unique.
_RIDGE = 1e-4


def fit_logistic_regression(
    rows: Sequence[Sequence[float]], outcomes: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """The maximum-likelihood coefficients by Newton's method, with a tiny ridge penalty.

    Args:
        rows: the features of each case, including the constant, if wanted.
        outcomes: of each case, from 0 to 1.
        weights: the weight of each case.
    """
    size = len(rows[0])
    coefficients = [0.0] * size
    for _ in range(_MAX_STEPS):
        gradient = [-_RIDGE * value for value in coefficients]
        hessian = [[_RIDGE * (i == j) for j in range(size)] for i in range(size)]
        for row, outcome, weight in zip(rows, outcomes, weights, strict=True):
            expected = predict_probability(coefficients, row)
            for i in range(size):
                gradient[i] += weight * (outcome - expected) * row[i]
                for j in range(size):
                    hessian[i][j] += weight * expected * (1 - expected) * row[i] * row[j]
        step = _solve_linear_system(hessian, gradient)
        # A longer step would leave the region where the quadratic approximation holds.
        scale = min(1.0, 4.0 / max(map(abs, step), default=1.0)) if any(step) else 1.0
        coefficients = [
            value + scale * change for value, change in zip(coefficients, step, strict=True)
        ]
        if max(map(abs, step)) < _CONVERGED:
            break
    return coefficients


def predict_probability(coefficients: Sequence[float], row: Sequence[float]) -> float:
    """The expected outcome of a case."""
    linear = sum(a * b for a, b in zip(coefficients, row, strict=True))
    if linear < 0:
        return math.exp(linear) / (1 + math.exp(linear))
    return 1 / (1 + math.exp(-linear))


def _solve_linear_system(matrix: list[list[float]], constants: list[float]) -> list[float]:
    """The solution of a small linear system by Gaussian elimination with pivoting."""
    rows = [[*line, value] for line, value in zip(matrix, constants, strict=True)]
    size = len(rows)
    for at in range(size):
        pivot = max(range(at, size), key=lambda i: abs(rows[i][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for below in range(at + 1, size):
            share = rows[below][at] / rows[at][at]
            rows[below] = [a - share * b for a, b in zip(rows[below], rows[at], strict=True)]
    solution = [0.0] * size
    for at in reversed(range(size)):
        rest = sum(rows[at][j] * solution[j] for j in range(at + 1, size))
        solution[at] = (rows[at][size] - rest) / rows[at][at]
    return solution
