"""The course of an item through its architecture: what it has been told, and what it needs next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Reply, merge_system_messages
from archon_batch.archon.component import Component, Context, ModelComponent
from archon_batch.archon.context_window import ContextOverflowError
from archon_batch.archon.guard import run_component
from archon_batch.archon.reasoning_text import strip_reasoning
from archon_batch.archon.requests import Request
from archon_batch.archon.sandbox_calls import SANDBOX_MODEL
from archon_batch.archon.state import ComponentWarning, Contribution, ItemWarning, Question, State


@dataclass(frozen=True, slots=True)
class CallsNeeded:
    """These calls are missing; they can be made at once."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    #: The candidate that answers.
    candidate_id: str
    warnings: tuple[ItemWarning, ...] = ()
    #: The calls that made candidates of which nothing is in the answer.
    unused_calls: tuple[CallKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A layer was left without a candidate, or with a prompt that must not be shortened."""

    layer: int
    why: str
    warnings: tuple[ItemWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentResult:
    """What one component did."""

    component: int
    contribution: Contribution
    warnings: tuple[ComponentWarning, ...]


@dataclass(frozen=True, slots=True)
class CompletedLayer:
    """A layer that is done."""

    layer: int
    before: State
    results: tuple[ComponentResult, ...]
    after: State


@dataclass(frozen=True, slots=True)
class _PromptTooLong:
    """A component with a prompt that must not be shortened."""

    why: str
    #: Whether it has asked something before.
    after_first_request: bool


class ItemPlanner:
    """An item's plan with a memory: what it was told once is not gone through again.

    Where a reply was taken back or is another now, as after a retry, the course begins again, so
    that a step is what ``plan`` says of the replies. After an end there is no further step.
    """

    def __init__(self, architecture: Architecture, question: Question) -> None:
        self._architecture = architecture
        self._question = question
        self._reset()

    def _reset(self) -> None:
        #: The layers that are done.
        self.completed_layers: list[CompletedLayer] = []
        self._state = State()
        #: The components of the layer that is not.
        self._component_runs: list[_ComponentRun] = []
        self._used_replies: dict[CallKey, Reply] = {}

    def next_step(self, replies: Mapping[CallKey, Reply]) -> CallsNeeded | Answer | Failed:
        """What the item needs next, or its end.

        Raises:
            ArchitectureError: the code of a component broke; ``place`` says which.
        """
        if any(replies.get(key) != reply for key, reply in self._used_replies.items()):
            self.close()
            self._reset()
        while len(self.completed_layers) < len(self._architecture.layers):
            step = self._advance_layer(replies)
            if step is not None:
                return step
        best = self._state.candidates[0]
        dropped = _unused_calls(self.completed_layers, best.id)
        return Answer(best.text, best.id, _collect_warnings(self.completed_layers), dropped)

    def close(self) -> None:
        """End the components that are under way; a later step would begin them again."""
        for part in self._component_runs:
            part.close()
        self._component_runs = []

    def _advance_layer(self, replies: Mapping[CallKey, Reply]) -> CallsNeeded | Failed | None:
        """Go on with the layer; None when it is done."""
        depth = len(self.completed_layers)
        if not self._component_runs:
            layer = self._architecture.layers[depth]
            self._component_runs = [
                _ComponentRun(self._architecture, depth, place, self._question, self._state)
                for place in range(len(layer))
            ]
        ends = [part.advance(replies, self._used_replies) for part in self._component_runs]
        missing = tuple(call for end in ends if isinstance(end, CallsNeeded) for call in end.calls)
        stuck = sorted(
            (end for end in ends if isinstance(end, _PromptTooLong)),
            key=lambda end: end.after_first_request,
        )
        # What is stuck from the beginning ends the item before the layer has asked for anything.
        # What got stuck later waits for the others: the reason must not hang on who was faster.
        if stuck and not (stuck[0].after_first_request and missing):
            return Failed(depth, stuck[0].why, _collect_warnings(self.completed_layers))
        if missing:
            return CallsNeeded(missing)
        done = tuple(end for end in ends if isinstance(end, ComponentResult))
        after = self._state.apply(d.contribution for d in done)
        self.completed_layers.append(CompletedLayer(depth, self._state, done, after))
        self._component_runs = []
        if not after.candidates and any(d.contribution.candidates is not None for d in done):
            return Failed(
                depth, _no_candidate_reason(done), _collect_warnings(self.completed_layers)
            )
        self._state = after
        return None


class _ComponentRun:
    """A component at work, as far as the replies have reached."""

    def __init__(
        self,
        architecture: Architecture,
        layer_index: int,
        component_index: int,
        question: Question,
        state: State,
    ) -> None:
        self._architecture, self._layer_index, self._component_index = (
            architecture,
            layer_index,
            component_index,
        )
        self._component: Component = architecture.layers[layer_index][component_index]
        window = None
        component = self._component
        if (
            isinstance(component, ModelComponent)
            and component.model in architecture.context_windows
        ):
            window = architecture.context_windows[component.model] - component.max_tokens
        scene = Context(question, state, f"{layer_index}.{component_index}", window)
        self._generator = run_component(component, scene)
        #: What it has asked for last, and under which keys; None before it has begun.
        self._requests: tuple[Request, ...] | None = None
        self._keys: list[CallKey] = []
        self._result: ComponentResult | _PromptTooLong | None = None

    def advance(
        self, replies: Mapping[CallKey, Reply], used_replies: dict[CallKey, Reply]
    ) -> CallsNeeded | _PromptTooLong | ComponentResult:
        """Run it as far as the replies reach: to what it misses, or to its end."""
        if self._result is not None:
            return self._result
        late = False
        try:
            while True:
                if self._requests is None:
                    self._requests = next(self._generator)
                elif all(map(replies.__contains__, self._keys)):
                    late = True
                    some = tuple(replies[key] for key in self._keys)
                    used_replies.update(zip(self._keys, some, strict=True))
                    self._requests = self._generator.send(self._without_reasoning(some))
                else:
                    return self._calls_needed(replies)
                self._keys = [
                    CallKey(self._layer_index, self._component_index, r.index, r.reask)
                    for r in self._requests
                ]
        except StopIteration as end:
            contribution, remarks = end.value
            self._result = ComponentResult(self._component_index, contribution, remarks)
        except ContextOverflowError as error:
            self._result = _PromptTooLong(str(error), late)
        return self._result

    def close(self) -> None:
        self._generator.close()

    def _without_reasoning(self, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """The replies without their models' thoughts, and blank if they never left them."""
        if cast("ModelComponent", self._component).model == SANDBOX_MODEL:
            return replies
        said = [strip_reasoning(reply.text or "") or "" for reply in replies]
        return tuple(
            reply if text == (reply.text or "") else replace(reply, text=text)
            for reply, text in zip(replies, said, strict=True)
        )

    def _calls_needed(self, replies: Mapping[CallKey, Reply]) -> CallsNeeded:
        # Whoever asks has a model: the guard sees to it.
        asking = cast("ModelComponent", self._component)
        asked = zip(self._keys, self._requests or (), strict=True)
        return CallsNeeded(
            tuple(
                _build_call(self._architecture, asking, k, r) for k, r in asked if k not in replies
            )
        )


def _build_call(
    architecture: Architecture, component: ModelComponent, key: CallKey, request: Request
) -> Call:
    model = architecture.model(component.model)
    return Call(
        key=key,
        component_type=component.type,
        model=model,
        messages=merge_system_messages(request.messages) if model.no_system else request.messages,
        sample=request.sample + architecture.sample_offsets[key.layer, key.component],
        temperature=component.temperature,
        max_tokens=component.max_tokens,
        reply_format=request.reply_format,
    )


def _no_candidate_reason(results: tuple[ComponentResult, ...]) -> str:
    """Why there is no candidate: what went wrong first with those that should have given some."""
    remarks = [r for d in results if d.contribution.candidates is not None for r in d.warnings]
    # That a prompt was shortened is no reason while a call failed.
    remarks.sort(key=lambda remark: remark.kind not in ("failed", "unparsed"))
    return remarks[0].why if remarks else "no candidate is left"


def _unused_calls(completed: list[CompletedLayer], best: str) -> tuple[CallKey, ...]:
    """The calls of candidates that are not the answer, nor what it was made from."""
    parents = {c.id: c.parents for layer in completed for c in layer.after.candidates}
    used, open_ends = set[str](), [best]
    while open_ends:
        one = open_ends.pop()
        if one not in used:
            used.add(one)
            open_ends += parents.get(one, ())
    # What asking again cost is told apart.
    return tuple(sorted(CallKey.parse(f"{one}.0") for one in parents.keys() - used))


def _collect_warnings(completed: list[CompletedLayer]) -> tuple[ItemWarning, ...]:
    return tuple(
        ItemWarning(layer.layer, done.component, remark.kind, remark.why)
        for layer in completed
        for done in layer.results
        for remark in done.warnings
    )
