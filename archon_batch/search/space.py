"""A search space of architectures: the paper's (section 3.3, appendix A.4), or the user's."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from archon_batch.archon import Model
from archon_batch.search.axes import Axis, SearchAxes, Value

#: The values of a voter's ``extract`` that need no pattern.
Extract = Literal["boxed", "number", "letter", "text"]
Review = Literal["none", "critic", "ranker", "both"]
Evaluation = Literal["none", "verifier", "unit_tests", "voter"]

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


def _as_tuple(value: object) -> object:
    """A list as a tuple; a single value as a tuple of one."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError("at least one value")
    if len({repr(one) for one in values}) < len(values):
        raise ValueError("each value once")
    return tuple(values)


_Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
_AsTuple = BeforeValidator(_as_tuple)
_Count = Annotated[int, Field(ge=1, le=1000)]


class Roles(BaseModel):
    """Models by role: aliases from ``models``, or model names."""

    model_config = _STRICT

    #: Ranked by their baseline scores.
    generators: _Names
    fusers: _Names | None = None
    critic: str | None = None
    ranker: str | None = None
    verifier: str | None = None
    #: Writes the unit tests and evaluates candidates with them.
    unit_tests: str | None = None
    #: How a voter extracts the answer from a candidate.
    voter: Extract | None = None


class AxisOptions(BaseModel):
    """The values of each axis; an axis with one value is fixed."""

    model_config = _STRICT

    #: How many of the best generators to use: the paper's x_g.
    generators: Annotated[tuple[_Count, ...], _AsTuple] | None = None
    #: Samples per generator: x_s.
    samples: Annotated[tuple[_Count, ...], _AsTuple] | None = None
    #: Samples by generator, instead of the two axes above; 0 leaves the generator out.
    mix: (
        Mapping[str, Annotated[tuple[Annotated[int, Field(ge=0, le=1000)], ...], _AsTuple]] | None
    ) = None
    #: The generators' temperature.
    temperature: Annotated[tuple[Annotated[float, Field(ge=0, le=2)], ...], _AsTuple] = (0.7,)
    #: Fusion layers: x_f. The last has one fuser.
    fusions: Annotated[tuple[Annotated[int, Field(ge=0, le=10)], ...], _AsTuple] = (1,)
    #: Fusers in each fusion layer except the last, best first by baseline score: x_r.
    widths: Annotated[tuple[_Count, ...], _AsTuple] = (1,)
    #: The review before each fuser, or at the end without fusers: x_c.
    review: Annotated[tuple[Review, ...], _AsTuple] = ("none",)
    #: Candidates that a ranker keeps.
    top_k: Annotated[tuple[_Count, ...], _AsTuple] = (5,)
    #: The evaluation right before the last fuser, or at the end: x_v.
    evaluation: Annotated[tuple[Evaluation, ...], _AsTuple] = ("none",)

    @model_validator(mode="after")
    def _has_generators(self) -> "AxisOptions":
        if (self.mix is None) == (self.generators is None) or (self.mix and self.samples):
            raise ValueError("generators (with samples), or mix instead of both")
        return self


class SpaceLimits(BaseModel):
    """Limits per row; architectures beyond them are excluded from the space."""

    model_config = _STRICT

    #: Candidates of the first layer; the paper's 24 fit a fuser's context window.
    candidates: int | None = Field(default=None, ge=1)
    #: Calls at most, without re-asks.
    calls: int | None = Field(default=None, ge=1)
    #: Expected tokens of prompts and replies.
    tokens: int | None = Field(default=None, ge=1)
    #: Expected cost.
    usd: float | None = Field(default=None, gt=0)


class Space(BaseModel):
    model_config = _STRICT

    name: str = Field(min_length=1, max_length=100)
    models: Mapping[str, Model] = Field(default_factory=dict)
    #: Default fields, for components that have such a field.
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    roles: Roles
    axes: AxisOptions
    limits: SpaceLimits = SpaceLimits()

    def with_ranking(self, generators: Sequence[str], fusers: Sequence[str]) -> "Space":
        """The same space with its generators and fusers in this order."""
        roles = {"generators": tuple(generators), "fusers": tuple(fusers) or None}
        return self.model_copy(update={"roles": self.roles.model_copy(update=roles)})

    @property
    def fusers(self) -> tuple[str, ...]:
        return self.roles.fusers or ()

    @property
    def samples_by_generator(self) -> Mapping[str, tuple[int, ...]]:
        """The options for each generator with its own number of samples; empty without ``mix``."""
        return self.axes.mix or {}

    @cached_property
    def search_axes(self) -> SearchAxes:
        """The axes, ordered so that each follows those that decide whether it applies."""
        options = self.axes
        axes = [
            Axis(f"samples of {name}", values) for name, values in self.samples_by_generator.items()
        ]
        if options.generators is not None:
            axes = [
                Axis("generators", options.generators),
                Axis("samples", options.samples or (1,)),
            ]
        axes += [Axis("temperature", options.temperature), Axis("fusions", options.fusions)]
        axes += [Axis(f"width {n}", options.widths) for n in range(1, max(options.fusions))]
        axes += [
            Axis("evaluation", options.evaluation, ordered=False),
            Axis("review", options.review, ordered=False),
            Axis("top_k", options.top_k),
        ]
        return SearchAxes(tuple(axes), _applies)


def _applies(name: str, chosen: Mapping[str, Value]) -> bool:
    kind, _, number = name.partition(" ")
    if kind == "width":
        return int(number) < int(chosen["fusions"])
    if name == "top_k":
        # A ranker at the end keeps one candidate.
        ends = chosen["fusions"] == 0 and chosen["evaluation"] == "none"
        return chosen["review"] in ("ranker", "both") and not ends
    return True
