"""Forecast of a job's calls, tokens and cost by layer, before anything is sent.

The components of each layer run on a simulated row, with replies that are short, typical, and as
long as possible. A prompt contains the row's text a fixed number of times, so one simulated row
gives the figures of every row, and the totals of a dataset give its forecast.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import cast

from archon_batch.archon import (
    SANDBOX_MODEL,
    Architecture,
    Candidate,
    Component,
    Context,
    Contribution,
    CountRange,
    Message,
    ModelComponent,
    Question,
    Reply,
    ReplyFormat,
    State,
    Usage,
    layer_flows,
    run_component,
)
from archon_batch.money import Price

#: Bytes of English text for each token: at most, and typically.
_MAX_BYTES_PER_TOKEN, _TYPICAL_BYTES_PER_TOKEN = 6, 4
#: Bytes of a provider's format for each message.
_MESSAGE_OVERHEAD_BYTES = 16
#: Bytes of the reason that a re-ask adds to its prompt.
_REASK_REASON_BYTES = 400
#: Tokens of a typical reply without a fixed format.
_TYPICAL_REPLY_TOKENS = 300
#: Maximum growth of a candidate in tokens when another model's tokenizer counts it.
_TOKENIZER_FACTOR = 2
#: The messages of the simulated row: characters that no prompt contains, so they can be counted.
_QUERY_MARKER, _HISTORY_MARKER, _SYSTEM_MARKER = "\1", "\2", "\3"
_LETTERS = str.maketrans("0123456789", "abcdefghij")


@dataclass(frozen=True, slots=True)
class DatasetSize:
    """The size of a dataset: rows, and bytes of their last messages and of the messages before."""

    rows: int = 0
    query_bytes: int = 0
    history_bytes: int = 0
    #: The part of ``history_bytes`` in system messages, which components place separately.
    system_bytes: int = 0

    @classmethod
    def from_questions(cls, questions: Iterable[Question]) -> "DatasetSize":
        rows = query = history = system = 0
        for question in questions:
            rows += 1
            query += _message_bytes(question.messages[-1:])
            history += _message_bytes(question.messages[:-1])
            system += _message_bytes(m for m in question.messages[:-1] if m.role == "system")
        return cls(rows, query, history, system)

    def __add__(self, other: "DatasetSize") -> "DatasetSize":
        return DatasetSize(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Figures of one scenario; the cost is in nano-dollars, and None if a model has no price."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int | None = 0

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class Forecast:
    """Bounds and expectation for a layer, or for all layers, whichever candidates verdicts select.

    In ``high`` every reply has its full length and is re-asked as often as allowed; failed attempts
    are not included. In ``low`` no call fails and every prompt fits its context window.
    """

    low: Estimate = Estimate()
    expected: Estimate = Estimate()
    high: Estimate = Estimate()

    def __add__(self, other: "Forecast") -> "Forecast":
        return Forecast(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class _ForecastCall:
    """A call of the simulated row, with its reply."""

    depth: int
    component: ModelComponent
    messages: tuple[Message, ...]
    reply: str


@dataclass(frozen=True, slots=True)
class _Scenario:
    """How long replies are, how often they are re-asked, and how bytes of a prompt become tokens."""

    #: From the component, the format and a word that no other reply of the row contains.
    reply: Callable[[ModelComponent, ReplyFormat | None, str], str]
    completion_tokens: Callable[[ModelComponent, str], int]
    #: The state after a layer, from the state before it, the state if every candidate stays, and
    #: how many may stay. None: the replies select.
    next_state: Callable[[State, State, CountRange], State] | None
    #: Whether every call is re-asked as often as allowed.
    uses_all_retries: bool
    bytes_per_token: int
    #: Whether components add the longest text of their own to a row's messages.
    longest_prompts: bool


def forecast(
    architecture: Architecture, prices: Mapping[str, Price | None], size: DatasetSize
) -> list[Forecast]:
    """The forecast of each layer for a whole dataset."""
    cases = [
        _estimate_layers(architecture, prices, size, case) for case in (_LOW, _EXPECTED, _HIGH)
    ]
    return [Forecast(*estimates) for estimates in zip(*cases, strict=True)]


def total_forecast(layers: Iterable[Forecast]) -> Forecast:
    return sum(layers, Forecast())


def _estimate_layers(
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    size: DatasetSize,
    scenario: _Scenario,
) -> list[Estimate]:
    estimates = [Estimate() for _ in architecture.layers]
    plain_calls, system_calls = (
        _simulate_row(architecture, scenario, _sample_question(system=s)) for s in (False, True)
    )
    for plain, call in zip(plain_calls, system_calls, strict=True):
        query, history, system = (
            _count_marker(call.messages, marker)
            for marker in (_QUERY_MARKER, _HISTORY_MARKER, _SYSTEM_MARKER)
        )
        plain_own = _message_bytes(plain.messages) - (_MESSAGE_OVERHEAD_BYTES + 1) * (
            query + history
        )
        system_own = _message_bytes(call.messages) - (_MESSAGE_OVERHEAD_BYTES + 1) * (
            query + history + system
        )
        own = plain_own
        if size.system_bytes:
            # With a system message in the row, a component may add more or less of its own text.
            own = (max if scenario.longest_prompts else min)(plain_own, system_own)
        prompt = (
            size.rows * own
            + size.query_bytes * query
            + (size.history_bytes - size.system_bytes) * history
            + size.system_bytes * system
        )
        attempts = 1 + call.component.retries * scenario.uses_all_retries
        reasons = (attempts - 1) * size.rows * _REASK_REASON_BYTES
        tokens = -(-(attempts * prompt + reasons) // scenario.bytes_per_token)
        completion = attempts * size.rows * scenario.completion_tokens(call.component, call.reply)
        model = architecture.model(call.component.model)
        if model.model == SANDBOX_MODEL:
            # Running code uses no tokens.
            tokens = completion = 0
        price = prices[model.model]
        cost = price.cost(Usage(tokens, completion)) if price else None
        estimates[call.depth] += Estimate(attempts * size.rows, tokens, completion, cost)
    return estimates


def _simulate_row(
    architecture: Architecture, scenario: _Scenario, question: Question
) -> Iterator[_ForecastCall]:
    """All calls of a simulated row, layer by layer, without limits of context windows."""
    state = State()
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, layer_flows(architecture), strict=True)
    ):
        contributions: list[Contribution] = []
        for index, component in enumerate(layer):
            context = Context(question, state, f"{depth}.{index}")
            contribution = yield from _simulate_component(component, context, scenario, depth)
            if scenario.next_state is not None and component.selects:
                contribution = replace(contribution, candidates=state.candidates)
            contributions.append(contribution)
        after = state.apply(contributions)
        state = (
            after
            if scenario.next_state is None
            else scenario.next_state(state, after, flow.candidates_out)
        )
        if flow.candidates_out.high and not state.candidates:
            return


def _simulate_component(
    component: Component, context: Context, scenario: _Scenario, depth: int
) -> Generator[_ForecastCall, None, Contribution]:
    """Yield the calls of one component, and return its contribution."""
    # `run_component` checks that only a component with a model makes requests.
    model_component = cast("ModelComponent", component)
    steps = run_component(component, context)
    replies: list[Reply] | None = None
    while True:
        try:
            requests = next(steps) if replies is None else steps.send(tuple(replies))
        except StopIteration as end:
            contribution: Contribution = end.value[0]
            return contribution
        replies = []
        for request in requests:
            word = f"{context.position}.{request.index}".translate(_LETTERS)
            text = scenario.reply(model_component, request.reply_format, word)
            replies.append(Reply(text))
            yield _ForecastCall(depth, model_component, request.messages, text)


def _sample_question(*, system: bool) -> Question:
    system_messages = (Message("system", _SYSTEM_MARKER),) if system else ()
    turns = (Message("user", _HISTORY_MARKER), Message("user", _QUERY_MARKER))
    return Question("", (*system_messages, *turns))


def _count_marker(messages: Iterable[Message], marker: str) -> int:
    return sum(message.content.count(marker) for message in messages)


def _message_bytes(messages: Iterable[Message]) -> int:
    return sum(
        _MESSAGE_OVERHEAD_BYTES + len(message.content.encode("utf-8", "surrogatepass"))
        for message in messages
    )


def _sized_reply(
    form: ReplyFormat | None, size: int, *, worst: bool = False, word: str = ""
) -> str:
    """A valid reply of ``size`` characters; longer only if the format requires it."""
    return (
        form.padded_example(size, costliest=worst, marker=word) if form else word.ljust(size, "x")
    )


def _longest_reply(form: ReplyFormat | None, max_tokens: int, word: str) -> str:
    # This scenario counts a byte as a token, so the factor covers another tokenizer. The example is
    # added because equal parts of several replies may be shown once.
    size = max_tokens * _TOKENIZER_FACTOR + (len(form.example) if form else 0)
    return _sized_reply(form, size, worst=True, word=word)


def _longest_state(before: State, after: State, remaining: CountRange) -> State:
    """The most and longest candidates that may stay, with the longest critiques and unit tests.

    No verdicts leave a longer state. The tests of before stay if the new ones cannot be parsed.
    """
    tests = max(before.unit_tests, after.unit_tests, key=lambda some: sum(map(len, some)))
    texts = sorted((c.text for c in after.candidates), key=len, reverse=True)
    critiques = sorted((c.critique or "" for c in after.candidates), key=len, reverse=True)
    pairs = list(zip(texts, critiques, strict=True))[: remaining.high]
    longest = tuple(Candidate(str(n), t, critique=c or None) for n, (t, c) in enumerate(pairs))
    return replace(after, candidates=longest, unit_tests=tests)


def _reply_tokens(component: ModelComponent, reply: str, bytes_per_token: int) -> int:
    return min(component.max_tokens, max(1, len(reply) // bytes_per_token))


_LOW = _Scenario(
    reply=lambda _component, form, _word: _sized_reply(form, 1),
    completion_tokens=lambda component, reply: _reply_tokens(
        component, reply, _MAX_BYTES_PER_TOKEN
    ),
    next_state=lambda _before, after, remaining: replace(
        after, candidates=after.candidates[: remaining.low]
    ),
    uses_all_retries=False,
    bytes_per_token=_MAX_BYTES_PER_TOKEN,
    longest_prompts=False,
)
_EXPECTED = _Scenario(
    reply=lambda component, form, word: _sized_reply(
        form,
        0 if form else min(component.max_tokens, _TYPICAL_REPLY_TOKENS) * _TYPICAL_BYTES_PER_TOKEN,
        word=word,
    ),
    completion_tokens=lambda component, reply: _reply_tokens(
        component, reply, _TYPICAL_BYTES_PER_TOKEN
    ),
    next_state=None,
    uses_all_retries=False,
    bytes_per_token=_TYPICAL_BYTES_PER_TOKEN,
    longest_prompts=True,
)
_HIGH = _Scenario(
    reply=lambda component, form, word: _longest_reply(form, component.max_tokens, word),
    completion_tokens=lambda component, _reply: component.max_tokens,
    next_state=_longest_state,
    uses_all_retries=True,
    bytes_per_token=1,
    longest_prompts=True,
)
