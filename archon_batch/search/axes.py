"""Axes: what may differ between two architectures of a space, and points, which choose on each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Value = int | float | str

#: Decides one axis after those before it.
ChooseValue = Callable[["Axis"], Value]


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    values: tuple[Value, ...]
    #: Whether a value is nearer to the one beside it than to others.
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    """A value on every axis that applies, in the order of the axes."""

    values: tuple[tuple[str, Value], ...]

    def __getitem__(self, name: str) -> Value:
        return dict(self.values)[name]

    def get(self, name: str) -> Value | None:
        return dict(self.values).get(name)

    def as_data(self) -> dict[str, Value]:
        return dict(self.values)

    @classmethod
    def from_data(cls, data: Mapping[str, Value]) -> "Point":
        return cls(tuple(data.items()))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.values)


@dataclass(frozen=True, slots=True)
class SearchAxes:
    """The axes in an order in which each applies or not by the choices before it."""

    axes: tuple[Axis, ...]
    #: Whether the axis of that name applies after these choices.
    applies: Callable[[str, Mapping[str, Value]], bool]

    def walk(self, choose: ChooseValue) -> Point:
        """The point whose values are chosen one after the other."""
        chosen: dict[str, Value] = {}
        for axis in self.axes:
            if self.applies(axis.name, chosen):
                chosen[axis.name] = choose(axis)
        return Point.from_data(chosen)

    def all_points(self) -> Iterator[Point]:
        """Every combination, the last axis first."""
        return (Point.from_data(chosen) for chosen in self._completions({}, 0))

    def _completions(self, chosen: dict[str, Value], at: int) -> Iterator[dict[str, Value]]:
        if at == len(self.axes):
            yield chosen
            return
        axis = self.axes[at]
        if not self.applies(axis.name, chosen):
            yield from self._completions(chosen, at + 1)
            return
        for value in axis.values:
            yield from self._completions({**chosen, axis.name: value}, at + 1)

    def distance_between(self, one: Point, other: Point) -> float:
        """How far two points are from each other: from 0 to 1 on each axis, and added up.

        On an ordered axis it is the share of the axis between them; an axis that applies to one of
        them only counts a half.
        """
        ours, theirs, distance = dict(one.values), dict(other.values), 0.0
        for axis in self.axes:
            a, b = ours.get(axis.name), theirs.get(axis.name)
            if a == b:
                continue
            if a is None or b is None:
                distance += 0.5
            elif axis.ordered:
                steps = axis.values.index(a) - axis.values.index(b)
                distance += abs(steps) / (len(axis.values) - 1)
            else:
                distance += 1.0
        return distance
