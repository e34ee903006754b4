"""What a job will take: calls, tokens and money by layer, before anything is sent.

The components of each layer are run with made-up replies, short, usual and as long as they may be.
A prompt grows with its row by a fixed number of copies, so a made-up row tells what any row takes,
and a dataset is foreseen from its totals.
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

#: Bytes of English text that a token stands for, where there is much of it and where little.
_MAX_BYTES_PER_TOKEN, _TYPICAL_BYTES_PER_TOKEN = 6, 4
#: Bytes for what a provider wraps around a message.
_MESSAGE_OVERHEAD_BYTES = 16
#: Bytes that say why a reply is asked for again.
_REASK_REASON_BYTES = 400
#: Tokens of a usual reply that is free in its length.
_TYPICAL_REPLY_TOKENS = 300
#: What a candidate may grow by when another model's tokenizer counts it, at the most.
_TOKENIZER_FACTOR = 2
#: The messages of a made-up row: characters that are in no prompt, to be counted there.
_QUERY_MARKER, _HISTORY_MARKER, _SYSTEM_MARKER = "\1", "\2", "\3"
_LETTERS = str.maketrans("0123456789", "abcdefghij")


@dataclass(frozen=True, slots=True)
class DatasetSize:
    """Of a dataset: its rows, and the bytes of their last messages and of the turns before."""

    rows: int = 0
    query_bytes: int = 0
    history_bytes: int = 0
    #: The part of ``earlier`` that is system messages, which components show apart.
    system_bytes: int = 0

    @classmethod
    def from_questions(cls, questions: Iterable[Question]) -> "DatasetSize":
        rows = query = earlier = system = 0
        for question in questions:
            rows += 1
            query += _message_bytes(question.messages[-1:])
            earlier += _message_bytes(question.messages[:-1])
            system += _message_bytes(m for m in question.messages[:-1] if m.role == "system")
        return cls(rows, query, earlier, system)

    def __add__(self, other: "DatasetSize") -> "DatasetSize":
        return DatasetSize(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Figures of one kind; money is in nano-dollars and None when a model has no price."""

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
    """A layer, or everything: at least, as a rule, and at most, whatever the verdicts are.

    ``high`` has every reply at its full length, and asked for as often as it may be; attempts that
    fail on the way are not foreseen. For ``low`` no call fails and every prompt fits its window.
    """

    low: Estimate = Estimate()
    expected: Estimate = Estimate()
    high: Estimate = Estimate()

    def __add__(self, other: "Forecast") -> "Forecast":
        return Forecast(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class _ForecastCall:
    """What a row asks, with a made-up reply."""

    depth: int
    component: ModelComponent
    messages: tuple[Message, ...]
    reply: str


@dataclass(frozen=True, slots=True)
class _Scenario:
    """How long replies are, how often they are asked for, and what a prompt's bytes come to."""

    #: The word is in no other reply of the row.
    reply: Callable[[ModelComponent, ReplyFormat | None, str], str]
    completion_tokens: Callable[[ModelComponent, str], int]
    #: What goes on, from what there was before a layer, what there is after it when nothing is
    #: left out, and how many may be left; None goes by what the replies choose.
    next_state: Callable[[State, State, CountRange], State] | None
    #: Whether everything is asked for as often as it may be.
    uses_all_retries: bool
    bytes_per_token: int
    #: Whether components say the most of their own that they may say beside a row's messages.
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
    bare, instructed = (
        _simulate_row(architecture, scenario, _sample_question(system=s)) for s in (False, True)
    )
    for without, asked in zip(bare, instructed, strict=True):
        query, earlier, system = (
            _count_marker(asked.messages, mark)
            for mark in (_QUERY_MARKER, _HISTORY_MARKER, _SYSTEM_MARKER)
        )
        bare_own = _message_bytes(without.messages) - (_MESSAGE_OVERHEAD_BYTES + 1) * (
            query + earlier
        )
        other_own = _message_bytes(asked.messages) - (_MESSAGE_OVERHEAD_BYTES + 1) * (
            query + earlier + system
        )
        own = bare_own
        if size.system_bytes:
            # A row brings a system message, or the component its own; beside a row's it says more.
            own = (max if scenario.longest_prompts else min)(bare_own, other_own)
        prompt = (
            size.rows * own
            + size.query_bytes * query
            + (size.history_bytes - size.system_bytes) * earlier
            + size.system_bytes * system
        )
        times = 1 + asked.component.retries * scenario.uses_all_retries
        reasons = (times - 1) * size.rows * _REASK_REASON_BYTES
        tokens = -(-(times * prompt + reasons) // scenario.bytes_per_token)
        completion = times * size.rows * scenario.completion_tokens(asked.component, asked.reply)
        model = architecture.model(asked.component.model)
        if model.model == SANDBOX_MODEL:
            # It reads and writes no tokens.
            tokens = completion = 0
        price = prices[model.model]
        cost = price.cost(Usage(tokens, completion)) if price else None
        estimates[asked.depth] += Estimate(times * size.rows, tokens, completion, cost)
    return estimates


def _simulate_row(
    architecture: Architecture, scenario: _Scenario, question: Question
) -> Iterator[_ForecastCall]:
    """All that a row asks, layer by layer; a made-up row has no window to fit."""
    state = State()
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, layer_flows(architecture), strict=True)
    ):
        given: list[Contribution] = []
        for place, component in enumerate(layer):
            scene = Context(question, state, f"{depth}.{place}")
            contribution = yield from _simulate_component(component, scene, scenario, depth)
            if scenario.next_state is not None and component.selects:
                contribution = replace(contribution, candidates=state.candidates)
            given.append(contribution)
        after = state.apply(given)
        state = (
            after
            if scenario.next_state is None
            else scenario.next_state(state, after, flow.candidates_out)
        )
        if flow.candidates_out.high and not state.candidates:
            return


def _simulate_component(
    component: Component, scene: Context, scenario: _Scenario, depth: int
) -> Generator[_ForecastCall, None, Contribution]:
    """What one component asks, and what comes of it."""
    # Whoever asks has a model: the guard sees to it.
    asking = cast("ModelComponent", component)
    steps = run_component(component, scene)
    replies: list[Reply] | None = None
    while True:
        try:
            requests = next(steps) if replies is None else steps.send(tuple(replies))
        except StopIteration as end:
            contribution: Contribution = end.value[0]
            return contribution
        replies = []
        for request in requests:
            word = f"{scene.position}.{request.index}".translate(_LETTERS)
            text = scenario.reply(asking, request.reply_format, word)
            replies.append(Reply(text))
            yield _ForecastCall(depth, asking, request.messages, text)


def _sample_question(*, system: bool) -> Question:
    told = (Message("system", _SYSTEM_MARKER),) if system else ()
    return Question("", (*told, Message("user", _HISTORY_MARKER), Message("user", _QUERY_MARKER)))


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
    """A reply of so many characters that its reader accepts; longer only if the form is."""
    return (
        form.padded_example(size, costliest=worst, marker=word) if form else word.ljust(size, "x")
    )


def _longest_reply(form: ReplyFormat | None, max_tokens: int, word: str) -> str:
    # A byte is taken for a token, so this is a candidate that is counted twice over. The example
    # comes on top: alike parts of several replies may count once.
    size = max_tokens * _TOKENIZER_FACTOR + (len(form.example) if form else 0)
    return _sized_reply(form, size, worst=True, word=word)


def _longest_state(before: State, after: State, leaves: CountRange) -> State:
    """As many candidates as there may be, the longest, with the longest critiques and unit tests.

    So no verdicts leave more to be shown. Tests stay when those that are to replace them cannot
    be read.
    """
    tests = max(before.unit_tests, after.unit_tests, key=lambda some: sum(map(len, some)))
    texts = sorted((c.text for c in after.candidates), key=len, reverse=True)
    critiques = sorted((c.critique or "" for c in after.candidates), key=len, reverse=True)
    pairs = list(zip(texts, critiques, strict=True))[: leaves.high]
    longest = tuple(Candidate(str(n), t, critique=c or None) for n, (t, c) in enumerate(pairs))
    return replace(after, candidates=longest, unit_tests=tests)


def _reply_tokens(component: ModelComponent, reply: str, bytes_per_token: int) -> int:
    return min(component.max_tokens, max(1, len(reply) // bytes_per_token))


_LOW = _Scenario(
    reply=lambda _component, form, _word: _sized_reply(form, 1),
    completion_tokens=lambda component, reply: _reply_tokens(
        component, reply, _MAX_BYTES_PER_TOKEN
    ),
    next_state=lambda _before, after, leaves: replace(
        after, candidates=after.candidates[: leaves.low]
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
