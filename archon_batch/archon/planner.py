"""The planner: what an item needs next, worked out from the replies on record.

The law:

1. ``plan`` is a pure function of the architecture, the question and the replies. It keeps nothing.
2. A call is asked for until it has a reply; a reply may be a failure, and settles its call too.
3. All components of a layer see the same state. A layer is done when all its components are; the
   next one is not looked at before.
4. More replies than were asked for change nothing. The order they came in changes nothing.
5. Every architecture ends: a component asks in a bounded number of rounds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Reply
from archon_batch.archon.component import Scene
from archon_batch.archon.state import Contribution, Note, Question, State
from archon_batch.archon.steps import Reading, Request


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


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A layer was left without a candidate."""

    layer: int
    why: str
    notes: tuple[Note, ...] = ()


def plan(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> Ask | Answer | GaveUp:
    """What the item needs next, or its end."""
    state = State()
    notes: list[Note] = []
    for depth, layer in enumerate(architecture.layers):
        missing: list[Call] = []
        contributions: list[Contribution] = []
        for place in range(len(layer)):
            done = _drive(architecture, depth, place, question, state, replies)
            if isinstance(done, Ask):
                missing.extend(done.calls)
            else:
                contributions.append(done[0])
                notes.extend(_notes(depth, place, done[1]))
        if missing:
            return Ask(tuple(missing))
        state = state.after(contributions)
        gave = any(c.candidates is not None for c in contributions)
        if gave and not state.candidates:
            whys = [note.why for note in notes if note.layer == depth]
            return GaveUp(depth, whys[0] if whys else "no candidate is left", tuple(notes))
    best = state.candidates[0]
    return Answer(best.text, best.id, tuple(notes))


def _drive(
    architecture: Architecture,
    depth: int,
    place: int,
    question: Question,
    state: State,
    replies: Mapping[CallKey, Reply],
) -> Ask | tuple[Contribution, tuple[Reading, ...]]:
    """Run one component as far as the replies reach: to what it misses, or to its end."""
    component = architecture.layers[depth][place]
    steps = component.steps(Scene(question, state, f"{depth}.{place}"))
    try:
        requests = next(steps)
        while True:
            keys = [CallKey(depth, place, r.slot, r.again) for r in requests]
            if any(key not in replies for key in keys):
                steps.close()
                asked = zip(keys, requests, strict=True)
                return Ask(tuple(_call(architecture, k, r) for k, r in asked if k not in replies))
            requests = steps.send(tuple(replies[key] for key in keys))
    except StopIteration as end:
        contribution, readings = end.value
        return contribution, readings


def _call(architecture: Architecture, key: CallKey, request: Request) -> Call:
    component = architecture.layers[key.layer][key.component]
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


def _notes(depth: int, place: int, readings: tuple[Reading, ...]) -> Iterator[Note]:
    for reading in readings:
        whys = list(reading.unreadable)
        for why in whys:
            yield Note(depth, place, "unreadable", why)
        if reading.failure is not None:
            whys.append(reading.failure)
            yield Note(depth, place, "failed", reading.failure)
        if not reading.done:
            yield Note(depth, place, "without", whys[-1])
