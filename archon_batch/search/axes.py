"""Axes of a search space, and points: one value on each axis that applies."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Value = int | float | str

#: Chooses the value on an axis; called in the order of the axes.
ChooseValue = Callable[["Axis"], Value]


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    values: tuple[Value, ...]
    #: Whether neighbouring values are similar; False for unordered categories.
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
    """The axes, ordered so that the choices on earlier axes decide whether a later one applies."""

    axes: tuple[Axis, ...]
    #: Whether the axis of that name applies, given the choices on earlier axes.
    applies: Callable[[str, Mapping[str, Value]], bool]

    def walk(self, choose: ChooseValue) -> Point:
        """The point that results from calling ``choose`` for each axis that applies, in order."""
        chosen: dict[str, Value] = {}
        for axis in self.axes:
            if self.applies(axis.name, chosen):
                chosen[axis.name] = choose(axis)
        return Point.from_data(chosen)

    def all_points(self) -> Iterator[Point]:
        """Every combination of values; the last axis varies fastest."""
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
        """The sum over the axes of distances from 0 to 1.

        On an ordered axis the distance is the share of the axis between the values. An axis that
        applies to only one of the points counts a half.
        """
        values, other_values, distance = one.as_data(), other.as_data(), 0.0
        for axis in self.axes:
            a, b = values.get(axis.name), other_values.get(axis.name)
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
