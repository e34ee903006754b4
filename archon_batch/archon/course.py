"""The course of an item through its architecture: what it has been told, and what it needs next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Reply, without_system
from archon_batch.archon.component import Component, ModelComponent, Scene
from archon_batch.archon.context_window import OverflowedError
from archon_batch.archon.guard import guarded
from archon_batch.archon.reasoning_text import without_thoughts
from archon_batch.archon.requests import Request
from archon_batch.archon.sandbox_calls import SANDBOX
from archon_batch.archon.state import Contribution, Note, Question, Remark, State


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


class Course:
    """An item's plan with a memory: what it was told once is not gone through again.

    Where a reply was taken back or is another now, as after a retry, the course begins again, so
    that a step is what ``plan`` says of the replies. After an end there is no further step.
    """

    def __init__(self, architecture: Architecture, question: Question) -> None:
        self._architecture = architecture
        self._question = question
        self._begin()

    def _begin(self) -> None:
        #: The layers that are done.
        self.passed: list[Passed] = []
        self._state = State()
        #: The components of the layer that is not.
        self._parts: list[_Part] = []
        self._told: dict[CallKey, Reply] = {}

    def step(self, replies: Mapping[CallKey, Reply]) -> Ask | Answer | GaveUp:
        """What the item needs next, or its end.

        Raises:
            ArchitectureError: the code of a component broke; ``place`` says which.
        """
        if any(replies.get(key) != reply for key, reply in self._told.items()):
            self.close()
            self._begin()
        while len(self.passed) < len(self._architecture.layers):
            step = self._layer(replies)
            if step is not None:
                return step
        best = self._state.candidates[0]
        dropped = _dropped(self.passed, best.id)
        return Answer(best.text, best.id, _notes(self.passed), dropped)

    def close(self) -> None:
        """End the components that are under way; a later step would begin them again."""
        for part in self._parts:
            part.close()
        self._parts = []

    def _layer(self, replies: Mapping[CallKey, Reply]) -> Ask | GaveUp | None:
        """Go on with the layer; None when it is done."""
        depth = len(self.passed)
        if not self._parts:
            layer = self._architecture.layers[depth]
            self._parts = [
                _Part(self._architecture, depth, place, self._question, self._state)
                for place in range(len(layer))
            ]
        ends = [part.drive(replies, self._told) for part in self._parts]
        missing = tuple(call for end in ends if isinstance(end, Ask) for call in end.calls)
        stuck = sorted((end for end in ends if isinstance(end, _Stuck)), key=lambda end: end.late)
        # What is stuck from the beginning ends the item before the layer has asked for anything.
        # What got stuck later waits for the others: the reason must not hang on who was faster.
        if stuck and not (stuck[0].late and missing):
            return GaveUp(depth, stuck[0].why, _notes(self.passed))
        if missing:
            return Ask(missing)
        done = tuple(end for end in ends if isinstance(end, Done))
        after = self._state.after(d.contribution for d in done)
        self.passed.append(Passed(depth, self._state, done, after))
        self._parts = []
        if not after.candidates and any(d.contribution.candidates is not None for d in done):
            return GaveUp(depth, _why_none(done), _notes(self.passed))
        self._state = after
        return None


class _Part:
    """A component at work, as far as the replies have reached."""

    def __init__(
        self, architecture: Architecture, depth: int, place: int, question: Question, state: State
    ) -> None:
        self._architecture, self._depth, self._place = architecture, depth, place
        self._component: Component = architecture.layers[depth][place]
        window = None
        component = self._component
        if isinstance(component, ModelComponent) and component.model in architecture.windows:
            window = architecture.windows[component.model] - component.max_tokens
        scene = Scene(question, state, f"{depth}.{place}", window)
        self._steps = guarded(component, scene)
        #: What it has asked for last, and under which keys; None before it has begun.
        self._requests: tuple[Request, ...] | None = None
        self._keys: list[CallKey] = []
        self._end: Done | _Stuck | None = None

    def drive(
        self, replies: Mapping[CallKey, Reply], told: dict[CallKey, Reply]
    ) -> Ask | _Stuck | Done:
        """Run it as far as the replies reach: to what it misses, or to its end."""
        if self._end is not None:
            return self._end
        late = False
        try:
            while True:
                if self._requests is None:
                    self._requests = next(self._steps)
                elif all(map(replies.__contains__, self._keys)):
                    late = True
                    some = tuple(replies[key] for key in self._keys)
                    told.update(zip(self._keys, some, strict=True))
                    self._requests = self._steps.send(self._heard(some))
                else:
                    return self._ask(replies)
                self._keys = [
                    CallKey(self._depth, self._place, r.slot, r.again) for r in self._requests
                ]
        except StopIteration as end:
            contribution, remarks = end.value
            self._end = Done(self._place, contribution, remarks)
        except OverflowedError as error:
            self._end = _Stuck(str(error), late)
        return self._end

    def close(self) -> None:
        self._steps.close()

    def _heard(self, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """The replies without their models' thoughts, and blank if they never left them."""
        if cast("ModelComponent", self._component).model == SANDBOX:
            return replies
        said = [without_thoughts(reply.text or "") or "" for reply in replies]
        return tuple(
            reply if text == (reply.text or "") else replace(reply, text=text)
            for reply, text in zip(replies, said, strict=True)
        )

    def _ask(self, replies: Mapping[CallKey, Reply]) -> Ask:
        # Whoever asks has a model: the guard sees to it.
        asking = cast("ModelComponent", self._component)
        asked = zip(self._keys, self._requests or (), strict=True)
        return Ask(
            tuple(_call(self._architecture, asking, k, r) for k, r in asked if k not in replies)
        )


def _call(
    architecture: Architecture, component: ModelComponent, key: CallKey, request: Request
) -> Call:
    model = architecture.model(component.model)
    return Call(
        key=key,
        kind=component.type,
        model=model,
        messages=without_system(request.messages) if model.no_system else request.messages,
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
