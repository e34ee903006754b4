"""Inference-time architecture search (the paper's ITAS, section 3.3): spaces, algorithms, trials.

The jobs are the only progress that is stored: the same search asks for the same trials again and
finds those that have run.
"""

from archon_batch.search.algorithms import (
    AlgorithmName,
    Observation,
    Propose,
    SearchState,
    propose_greedy,
    propose_in_order,
    propose_random,
)
from archon_batch.search.architecture_builder import ArchitectureBuilder, architecture_digest
from archon_batch.search.axes import Axis, Point, SearchAxes, Value
from archon_batch.search.bayes import propose_bayes
from archon_batch.search.enumerate_space import RowEstimator, SpaceEnumeration, enumerate_space
from archon_batch.search.pareto import pareto_front
from archon_batch.search.race import rungs
from archon_batch.search.shared_calls import SharedCalls
from archon_batch.search.space import Space
from archon_batch.search.split import split_rows

ALGORITHMS: dict[AlgorithmName, Propose] = {
    "bayes": propose_bayes,
    "greedy": propose_greedy,
    "random": propose_random,
    "grid": propose_in_order,
}

__all__ = [
    "ALGORITHMS",
    "AlgorithmName",
    "ArchitectureBuilder",
    "Axis",
    "Observation",
    "Point",
    "Propose",
    "RowEstimator",
    "SearchAxes",
    "SearchState",
    "SharedCalls",
    "Space",
    "SpaceEnumeration",
    "Value",
    "architecture_digest",
    "enumerate_space",
    "pareto_front",
    "propose_bayes",
    "propose_greedy",
    "propose_in_order",
    "propose_random",
    "rungs",
    "split_rows",
]
