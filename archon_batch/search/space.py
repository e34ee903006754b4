"""A space of architectures: the paper's (section 3.3, appendix A.4), or one's own."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from archon_batch.archon import Model
from archon_batch.search.axes import Axis, SearchAxes, Value

#: The extracts of a voter that need no pattern.
Extract = Literal["boxed", "number", "letter", "text"]
Review = Literal["none", "critic", "ranker", "both"]
Evaluation = Literal["none", "verifier", "unit_tests", "voter"]

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


def _as_tuple(value: object) -> object:
    """A list as the tuple that it becomes; one value is a list of it."""
    found = value if isinstance(value, list | tuple) else [value]
    if not found:
        raise ValueError("at least one value")
    if len({repr(one) for one in found}) < len(found):
        raise ValueError("each value once")
    return tuple(found)


_Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
_AsTuple = BeforeValidator(_as_tuple)
_Count = Annotated[int, Field(ge=1, le=1000)]


class Roles(BaseModel):
    """Who may do what: aliases of the space's models, or models' own names."""

    model_config = _STRICT

    #: Ranked by stage 0, unless there is one.
    generators: _Names
    fusers: _Names | None = None
    critic: str | None = None
    ranker: str | None = None
    verifier: str | None = None
    #: Writes the unit tests, and judges by them.
    unit_tests: str | None = None
    #: Where in a candidate a voter finds its answer.
    voter: Extract | None = None


class AxisOptions(BaseModel):
    """The values that each axis may take; an axis with one value is no choice."""

    model_config = _STRICT

    #: How many of the best generators there are: the paper's x_g.
    generators: Annotated[tuple[_Count, ...], _AsTuple] | None = None
    #: Samples of each of them: x_s.
    samples: Annotated[tuple[_Count, ...], _AsTuple] | None = None
    #: Samples by generator, instead of the two before: any of them may be left out by a 0.
    mix: (
        Mapping[str, Annotated[tuple[Annotated[int, Field(ge=0, le=1000)], ...], _AsTuple]] | None
    ) = None
    #: The generators' temperature.
    temperature: Annotated[tuple[Annotated[float, Field(ge=0, le=2)], ...], _AsTuple] = (0.7,)
    #: Fusion layers: x_f. The last of them has one fuser.
    fusions: Annotated[tuple[Annotated[int, Field(ge=0, le=10)], ...], _AsTuple] = (1,)
    #: Fusers in each fusion layer but the last, the best by stage 0: x_r.
    widths: Annotated[tuple[_Count, ...], _AsTuple] = (1,)
    #: What stands before each fuser, or at the end where there is none: x_c.
    review: Annotated[tuple[Review, ...], _AsTuple] = ("none",)
    #: Candidates that a ranker lets go on.
    top_k: Annotated[tuple[_Count, ...], _AsTuple] = (5,)
    #: What stands right before the last fuser, or at the end: x_v.
    evaluation: Annotated[tuple[Evaluation, ...], _AsTuple] = ("none",)

    @model_validator(mode="after")
    def _has_generators(self) -> "AxisOptions":
        if (self.mix is None) == (self.generators is None) or (self.mix and self.samples):
            raise ValueError("generators (and samples), or mix instead of both")
        return self


class SpaceLimits(BaseModel):
    """What an architecture may need for a row; beyond it, it is not in the space."""

    model_config = _STRICT

    #: Candidates of the first layer: the paper has 24 for what fits a fuser's window.
    candidates: int | None = Field(default=None, ge=1)
    #: When every reply can be read.
    calls: int | None = Field(default=None, ge=1)
    #: As a rule, prompts and replies together.
    tokens: int | None = Field(default=None, ge=1)
    #: As a rule.
    usd: float | None = Field(default=None, gt=0)


class Space(BaseModel):
    model_config = _STRICT

    name: str = Field(min_length=1, max_length=100)
    models: Mapping[str, Model] = Field(default_factory=dict)
    #: Keys of the components, where a component has such a key.
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    roles: Roles
    axes: AxisOptions
    limits: SpaceLimits = SpaceLimits()

    def with_ranking(self, generators: Sequence[str], fusers: Sequence[str]) -> "Space":
        """The space whose roles are filled in this order."""
        more = {"generators": tuple(generators), "fusers": tuple(fusers) or None}
        return self.model_copy(update={"roles": self.roles.model_copy(update=more)})

    @property
    def fusers(self) -> tuple[str, ...]:
        return self.roles.fusers or ()

    @property
    def samples_by_generator(self) -> Mapping[str, tuple[int, ...]]:
        """The generators whose samples are chosen one by one."""
        return self.axes.mix or {}

    @cached_property
    def search_axes(self) -> SearchAxes:
        """The axes, each after those that decide whether it applies."""
        given = self.axes
        axes = [
            Axis(f"samples of {name}", values) for name, values in self.samples_by_generator.items()
        ]
        if given.generators is not None:
            axes = [Axis("generators", given.generators), Axis("samples", given.samples or (1,))]
        axes += [Axis("temperature", given.temperature), Axis("fusions", given.fusions)]
        axes += [Axis(f"width {n}", given.widths) for n in range(1, max(given.fusions))]
        axes += [
            Axis("evaluation", given.evaluation, ordered=False),
            Axis("review", given.review, ordered=False),
            Axis("top_k", given.top_k),
        ]
        return SearchAxes(tuple(axes), _applies)


def _applies(name: str, chosen: Mapping[str, Value]) -> bool:
    kind, _, number = name.partition(" ")
    if kind == "width":
        return int(number) < int(chosen["fusions"])
    if name == "top_k":
        # A ranker at the very end hands on one.
        ends = chosen["fusions"] == 0 and chosen["evaluation"] == "none"
        return chosen["review"] in ("ranker", "both") and not ends
    return True
