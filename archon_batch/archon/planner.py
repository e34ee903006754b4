"""The planner: what an item needs next, worked out from the replies on record.

The law:

1. ``plan`` is a pure function of the architecture, the question and the replies: their texts,
   failures and finishes. It keeps nothing.
2. A call is asked for until it has a reply; a reply may be a failure, and settles its call too.
3. All components of a layer see the same state. A layer is done when all its components are; the
   next one is not looked at before.
4. More replies than were asked for change nothing. The order they came in changes nothing.
5. Every architecture ends: a component asks in a bounded number of rounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Reply
from archon_batch.archon.component import ModelComponent, Scene
from archon_batch.archon.guard import guarded
from archon_batch.archon.state import Contribution, Note, Question, Remark, State
from archon_batch.archon.steps import Request
from archon_batch.archon.window import OverflowedError


@dataclass(frozen=True, slots=True)
class Ask:
    """These calls are missing; they can be made at once."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    #: The candidate that answers.
    candidate: str
    notes: tuple[Note, ...] = ()
    #: The calls that made candidates of which nothing is in the answer.
    dropped: tuple[CallKey, ...] = ()


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A layer was left without a candidate, or with a prompt that must not be shortened."""

    layer: int
    why: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """What one component did."""

    component: int
    contribution: Contribution
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """A layer that is done."""

    layer: int
    before: State
    done: tuple[Done, ...]
    after: State


@dataclass(frozen=True, slots=True)
class _Stuck:
    """A component with a prompt that must not be shortened."""

    why: str
    #: Whether it has asked something before.
    late: bool


def plan(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> Ask | Answer | GaveUp:
    """What the item needs next, or its end.

    Raises:
        ArchitectureError: the code of a component broke; ``place`` says which.
    """
    _, step = trace(architecture, question, replies)
    return step


def trace(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> tuple[list[Passed], Ask | Answer | GaveUp]:
    """The layers that are done, and then what the item needs next, or its end."""
    passed: list[Passed] = []
    state = State()
    for depth, layer in enumerate(architecture.layers):
        ends = [
            _drive(architecture, depth, place, question, state, replies)
            for place in range(len(layer))
        ]
        missing = tuple(call for end in ends if isinstance(end, Ask) for call in end.calls)
        stuck = sorted((end for end in ends if isinstance(end, _Stuck)), key=lambda end: end.late)
        # What is stuck from the beginning ends the item before the layer has asked for anything.
        # What got stuck later waits for the others: the reason must not hang on who was faster.
        if stuck and not (stuck[0].late and missing):
            return passed, GaveUp(depth, stuck[0].why, _notes(passed))
        if missing:
            return passed, Ask(missing)
        done = tuple(end for end in ends if isinstance(end, Done))
        after = state.after(d.contribution for d in done)
        passed.append(Passed(depth, state, done, after))
        if not after.candidates and any(d.contribution.candidates is not None for d in done):
            return passed, GaveUp(depth, _why_none(done), _notes(passed))
        state = after
    best = state.candidates[0]
    return passed, Answer(best.text, best.id, _notes(passed), _dropped(passed, best.id))


def _drive(
    architecture: Architecture,
    depth: int,
    place: int,
    question: Question,
    state: State,
    replies: Mapping[CallKey, Reply],
) -> Ask | _Stuck | Done:
    """Run one component as far as the replies reach: to what it misses, or to its end."""
    component = architecture.layers[depth][place]
    window = None
    if isinstance(component, ModelComponent) and component.model in architecture.windows:
        window = architecture.windows[component.model] - component.max_tokens
    steps = guarded(component, Scene(question, state, f"{depth}.{place}", window))
    late = False
    try:
        requests = next(steps)
        while True:
            keys = [CallKey(depth, place, r.slot, r.again) for r in requests]
            if not all(map(replies.__contains__, keys)):
                steps.close()
                # Whoever asks has a model: the guard sees to it.
                asking = cast("ModelComponent", component)
                asked = zip(keys, requests, strict=True)
                return Ask(
                    tuple(_call(architecture, asking, k, r) for k, r in asked if k not in replies)
                )
            late = True
            requests = steps.send(tuple(replies[key] for key in keys))
    except StopIteration as end:
        contribution, remarks = end.value
        return Done(place, contribution, remarks)
    except OverflowedError as error:
        return _Stuck(str(error), late)


def _call(
    architecture: Architecture, component: ModelComponent, key: CallKey, request: Request
) -> Call:
    return Call(
        key=key,
        kind=component.type,
        model=architecture.model(component.model),
        messages=request.messages,
        sample=request.sample + architecture.sample_offsets[key.layer, key.component],
        temperature=component.temperature,
        max_tokens=component.max_tokens,
        form=request.form,
    )


def _why_none(done: tuple[Done, ...]) -> str:
    """Why there is no candidate: what went wrong first with those that should have given some."""
    remarks = [r for d in done if d.contribution.candidates is not None for r in d.remarks]
    # That a prompt was shortened is no reason while a call failed.
    remarks.sort(key=lambda remark: remark.kind not in ("failed", "unreadable"))
    return remarks[0].why if remarks else "no candidate is left"


def _dropped(passed: list[Passed], best: str) -> tuple[CallKey, ...]:
    """The calls of candidates that are not the answer, nor what it was made from."""
    parents = {c.id: c.parents for layer in passed for c in layer.after.candidates}
    used, open_ends = set[str](), [best]
    while open_ends:
        one = open_ends.pop()
        if one not in used:
            used.add(one)
            open_ends += parents.get(one, ())
    # What asking again cost is told apart.
    return tuple(sorted(CallKey.parse(f"{one}.0") for one in parents.keys() - used))


def _notes(passed: list[Passed]) -> tuple[Note, ...]:
    return tuple(
        Note(layer.layer, done.component, remark.kind, remark.why)
        for layer in passed
        for done in layer.done
        for remark in done.remarks
    )
