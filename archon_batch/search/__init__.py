"""A space of architectures, and how the best of it is looked for. Pure."""

from archon_batch.search.algorithms import (
    Ground,
    Name,
    Propose,
    Tried,
    at_random,
    greedily,
    in_order,
)
from archon_batch.search.architecture_builder import Builder, identity
from archon_batch.search.axes import Axes, Axis, Point, Value
from archon_batch.search.bayes import by_bayes
from archon_batch.search.enumerate_space import Census, Foreseen, census
from archon_batch.search.pareto import front
from archon_batch.search.race import rungs
from archon_batch.search.shared_calls import Shared
from archon_batch.search.space import Space
from archon_batch.search.split import split

ALGORITHMS: dict[Name, Propose] = {
    "bayes": by_bayes,
    "greedy": greedily,
    "random": at_random,
    "grid": in_order,
}

__all__ = [
    "ALGORITHMS",
    "Axes",
    "Axis",
    "Builder",
    "Census",
    "Foreseen",
    "Ground",
    "Name",
    "Point",
    "Propose",
    "Shared",
    "Space",
    "Tried",
    "Value",
    "at_random",
    "by_bayes",
    "census",
    "front",
    "greedily",
    "identity",
    "in_order",
    "rungs",
    "split",
]
