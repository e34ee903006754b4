"""The planner: what an item needs next, computed from its architecture and its stored replies.

Rules:

1. ``plan_item`` is a pure function of the architecture, the question and the replies (texts,
   failures and finish reasons). It keeps no state. An ``ItemPlanner`` keeps state and returns the
   same steps.
2. A call is needed until it has a reply. A failed reply settles its call too.
3. All components of a layer see the same state. The next layer starts when all of them are done.
4. Surplus replies and the order of replies change nothing.
5. Every item ends: a component makes a bounded number of rounds.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from traceback import walk_tb
from typing import cast

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Reply, merge_system_messages
from archon_batch.archon.component import Component, ComponentRequests, Context, ModelComponent
from archon_batch.archon.context_window import ContextOverflowError
from archon_batch.archon.reasoning_text import strip_reasoning
from archon_batch.archon.requests import Request
from archon_batch.archon.sandbox_calls import SANDBOX_MODEL
from archon_batch.archon.state import ComponentWarning, Contribution, ItemWarning, Question, State
from archon_batch.errors import ArchitectureError


@dataclass(frozen=True, slots=True)
class CallsNeeded:
    """The calls whose replies are missing. They can be made concurrently."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    #: The id of the candidate whose text is the answer.
    candidate_id: str
    warnings: tuple[ItemWarning, ...] = ()
    #: The calls whose candidates did not contribute to the answer.
    unused_calls: tuple[CallKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A layer left no candidate, or a prompt is too long and its component must not shorten it."""

    layer: int
    why: str
    warnings: tuple[ItemWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentResult:
    component: int
    contribution: Contribution
    warnings: tuple[ComponentWarning, ...]


@dataclass(frozen=True, slots=True)
class CompletedLayer:
    layer: int
    before: State
    results: tuple[ComponentResult, ...]
    after: State


@dataclass(frozen=True, slots=True)
class _PromptTooLong:
    """The component's prompt is too long, and it must not shorten it."""

    why: str
    #: Whether the component has made requests before.
    after_first_request: bool


def plan_item(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> CallsNeeded | Answer | Failed:
    """The next step of the item: the calls it needs, its answer, or its failure.

    Raises:
        ArchitectureError: the code of a component raised; ``path`` names the component.
    """
    _, step = replay_item(architecture, question, replies)
    return step


def replay_item(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> tuple[list[CompletedLayer], CallsNeeded | Answer | Failed]:
    """The completed layers and the next step of the item. Raises what ``plan_item`` raises."""
    planner = ItemPlanner(architecture, question)
    try:
        step = planner.next_step(replies)
        return planner.completed_layers, step
    finally:
        planner.close()


def run_item(
    architecture: Architecture, question: Question, complete: Callable[[Call], Reply]
) -> tuple[Answer | Failed, dict[CallKey, Reply]]:
    """Run the item to its end with ``complete`` as the model; return the end and all replies."""
    replies: dict[CallKey, Reply] = {}
    while isinstance(step := plan_item(architecture, question, replies), CallsNeeded):
        replies |= {call.key: complete(call) for call in step.calls}
    return step, replies


class ItemPlanner:
    """``plan_item`` with a memory: it processes each reply once.

    If a reply it has used is gone or differs, as after a retry, the planner starts again from the
    first layer. ``next_step`` must not be called after an ``Answer`` or a ``Failed``.
    """

    def __init__(self, architecture: Architecture, question: Question) -> None:
        self._architecture = architecture
        self._question = question
        self._pending: dict[CallKey, Call] = {}
        self._reset()

    def _reset(self) -> None:
        self.completed_layers: list[CompletedLayer] = []
        self._state = State()
        #: The components of the current layer; empty before the layer starts.
        self._component_runs: list[_ComponentRun] = []
        self._used_replies: dict[CallKey, Reply] = {}

    def next_step(self, replies: Mapping[CallKey, Reply]) -> CallsNeeded | Answer | Failed:
        """The next step of the item, given all its replies. Raises what ``plan_item`` raises."""
        if any(replies.get(key) != reply for key, reply in self._used_replies.items()):
            self.close()
            self._reset()
        step = self._advance(replies)
        needed = step.calls if isinstance(step, CallsNeeded) else ()
        self._pending = {call.key: call for call in needed}
        return step

    def take_pending_calls(self, keys: Collection[CallKey]) -> list[Call] | None:
        """The calls of the last step with these keys; None unless all are there.

        Each call is returned once, so that prompts do not stay in memory while calls are made.
        """
        calls = [self._pending.pop(key, None) for key in keys]
        calls_made = [call for call in calls if call is not None]
        return calls_made if len(calls_made) == len(calls) else None

    def close(self) -> None:
        """Close the generators of the current layer. A later step starts the layer again."""
        for run in self._component_runs:
            run.close()
        self._component_runs = []

    def _advance(self, replies: Mapping[CallKey, Reply]) -> CallsNeeded | Answer | Failed:
        while len(self.completed_layers) < len(self._architecture.layers):
            step = self._advance_layer(replies)
            if step is not None:
                return step
        best = self._state.candidates[0]
        warnings = _collect_warnings(self.completed_layers)
        return Answer(best.text, best.id, warnings, _unused_calls(self.completed_layers, best.id))

    def _advance_layer(self, replies: Mapping[CallKey, Reply]) -> CallsNeeded | Failed | None:
        """Advance the current layer; None when it is complete."""
        layer_index = len(self.completed_layers)
        if not self._component_runs:
            layer = self._architecture.layers[layer_index]
            self._component_runs = [
                _ComponentRun(self._architecture, layer_index, index, self._question, self._state)
                for index in range(len(layer))
            ]
        outcomes = [run.advance(replies, self._used_replies) for run in self._component_runs]
        missing = tuple(
            call
            for outcome in outcomes
            if isinstance(outcome, CallsNeeded)
            for call in outcome.calls
        )
        too_long = sorted(
            (outcome for outcome in outcomes if isinstance(outcome, _PromptTooLong)),
            key=lambda outcome: outcome.after_first_request,
        )
        # A first prompt that is too long fails the item before the layer makes a call. A later one
        # waits for the other components: the reason must not depend on which call was faster.
        if too_long and not (too_long[0].after_first_request and missing):
            return Failed(layer_index, too_long[0].why, _collect_warnings(self.completed_layers))
        if missing:
            return CallsNeeded(missing)
        results = tuple(outcome for outcome in outcomes if isinstance(outcome, ComponentResult))
        after = self._state.apply(result.contribution for result in results)
        self.completed_layers.append(CompletedLayer(layer_index, self._state, results, after))
        self._component_runs = []
        if not after.candidates and any(r.contribution.candidates is not None for r in results):
            why = _no_candidate_reason(results)
            return Failed(layer_index, why, _collect_warnings(self.completed_layers))
        self._state = after
        return None


class _ComponentRun:
    """One component of the current layer, advanced as far as the replies allow."""

    def __init__(
        self,
        architecture: Architecture,
        layer_index: int,
        component_index: int,
        question: Question,
        state: State,
    ) -> None:
        self._architecture = architecture
        self._layer_index, self._component_index = layer_index, component_index
        component = self._component = architecture.layers[layer_index][component_index]
        max_prompt_tokens = None
        if isinstance(component, ModelComponent):
            window = architecture.context_windows.get(component.model)
            max_prompt_tokens = None if window is None else window - component.max_tokens
        position = f"{layer_index}.{component_index}"
        context = Context(question, state, position, max_prompt_tokens)
        self._generator = run_component(component, context)
        #: The current round, and the keys of its requests; None before the first round.
        self._requests: tuple[Request, ...] | None = None
        self._keys: list[CallKey] = []
        self._result: ComponentResult | _PromptTooLong | None = None

    def advance(
        self, replies: Mapping[CallKey, Reply], used_replies: dict[CallKey, Reply]
    ) -> CallsNeeded | _PromptTooLong | ComponentResult:
        """Run the component until a reply is missing, or to its end; add to ``used_replies``."""
        if self._result is not None:
            return self._result
        after_first_request = False
        try:
            while True:
                if self._requests is None:
                    self._requests = next(self._generator)
                elif all(map(replies.__contains__, self._keys)):
                    after_first_request = True
                    round_replies = tuple(replies[key] for key in self._keys)
                    used_replies.update(zip(self._keys, round_replies, strict=True))
                    self._requests = self._generator.send(self._without_reasoning(round_replies))
                else:
                    return self._calls_needed(replies)
                self._keys = [
                    CallKey(self._layer_index, self._component_index, request.index, request.reask)
                    for request in self._requests
                ]
        except StopIteration as end:
            contribution, warnings = end.value
            self._result = ComponentResult(self._component_index, contribution, warnings)
        except ContextOverflowError as error:
            self._result = _PromptTooLong(str(error), after_first_request)
        return self._result

    def close(self) -> None:
        self._generator.close()

    def _without_reasoning(self, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        """The replies without reasoning text; blank where the reasoning never ended."""
        if cast("ModelComponent", self._component).model == SANDBOX_MODEL:
            return replies
        texts = [strip_reasoning(reply.text or "") or "" for reply in replies]
        return tuple(
            reply if text == (reply.text or "") else replace(reply, text=text)
            for reply, text in zip(replies, texts, strict=True)
        )

    def _calls_needed(self, replies: Mapping[CallKey, Reply]) -> CallsNeeded:
        # run_component has checked that a component with requests has a model.
        component = cast("ModelComponent", self._component)
        round_ = zip(self._keys, self._requests or (), strict=True)
        return CallsNeeded(
            tuple(
                _build_call(self._architecture, component, key, request)
                for key, request in round_
                if key not in replies
            )
        )


def run_component(component: Component, context: Context) -> ComponentRequests:
    """Run the component; check its requests and its result, and wrap errors of its code.

    Raises:
        ArchitectureError: the component raised, or broke the contract; ``path`` names it.
        ContextOverflowError: a prompt is too long, and the component must not shorten it.
    """
    layer_index, _, component_index = context.position.partition(".")
    path = f"layers[{layer_index}][{component_index}]"
    try:
        generator = component.run(context)
        requests = next(generator)
        while True:
            _validate_requests(component, requests, path)
            requests = generator.send((yield requests))
    except StopIteration as end:
        return _validate_result(component, end.value, path)
    except (ContextOverflowError, ArchitectureError):
        raise
    except Exception as error:  # noqa: BLE001  (it is another package's code)
        # Leave out the message of the error: it may quote the row.
        *_, last = walk_tb(error.__traceback__)
        line = f"{last[0].f_code.co_filename}:{last[1]}"
        why = f"the component {component.type} raised {type(error).__name__} in {line}"
        raise ArchitectureError("", path, why) from None


def _validate_requests(component: Component, requests: object, path: str) -> None:
    if not isinstance(requests, tuple) or not all(isinstance(r, Request) for r in requests):
        why = "does not yield a tuple of requests"
    elif len({(r.index, r.reask) for r in requests}) < len(requests):
        why = "gives two requests the same index"
    elif not isinstance(component, ModelComponent):
        why = "makes requests, but is no ModelComponent"
    else:
        return
    raise ArchitectureError("", path, f"the component {component.type} {why}")


def _validate_result(
    component: Component, result: object, path: str
) -> tuple[Contribution, tuple[ComponentWarning, ...]]:
    match result:
        case (Contribution() as contribution, tuple() as warnings):
            return contribution, warnings
    why = f"the component {component.type} does not return a Contribution and a tuple of warnings"
    raise ArchitectureError("", path, why)


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
    """The first warning of the components that should have returned candidates."""
    warnings = [w for r in results if r.contribution.candidates is not None for w in r.warnings]
    # A failed call is a better reason than a shortened prompt.
    warnings.sort(key=lambda warning: warning.kind not in ("failed", "unparsed"))
    return warnings[0].why if warnings else "no candidate is left"


def _unused_calls(completed: list[CompletedLayer], best: str) -> tuple[CallKey, ...]:
    """The calls of candidates that are neither the answer nor among its ancestors."""
    parents = {c.id: c.parents for layer in completed for c in layer.after.candidates}
    used, to_visit = set[str](), [best]
    while to_visit:
        candidate_id = to_visit.pop()
        if candidate_id not in used:
            used.add(candidate_id)
            to_visit += parents.get(candidate_id, ())
    # The first request of each: the cost of re-asks is reported separately.
    return tuple(sorted(CallKey.parse(f"{unused}.0") for unused in parents.keys() - used))


def _collect_warnings(completed: list[CompletedLayer]) -> tuple[ItemWarning, ...]:
    return tuple(
        ItemWarning(layer.layer, result.component, warning.kind, warning.why)
        for layer in completed
        for result in layer.results
        for warning in result.warnings
    )
