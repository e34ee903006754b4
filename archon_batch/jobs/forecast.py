"""What a job will take: calls, tokens and money by layer, before anything is sent.

The components of each layer are run with made-up replies, short, usual and as long as they may be.
A prompt grows with its row by a fixed number of copies, so a made-up row tells what any row takes,
and a dataset is foreseen from its totals.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import cast

from archon_batch.archon import (
    SANDBOX,
    Architecture,
    Bounds,
    Candidate,
    Component,
    Contribution,
    Form,
    Message,
    ModelComponent,
    Question,
    Reply,
    Scene,
    State,
    Usage,
    flows,
    guarded,
)
from archon_batch.money import Price

#: Bytes of English text that a token stands for, where there is much of it and where little.
_LEAN, _USUAL = 6, 4
#: Bytes for what a provider wraps around a message.
_WRAPPING = 16
#: Bytes that say why a reply is asked for again.
_REASON = 400
#: Tokens of a usual reply that is free in its length.
_REPLY = 300
#: What a candidate may grow by when another model's tokenizer counts it, at the most.
_RECOUNT = 2
#: The messages of a made-up row: characters that are in no prompt, to be counted there.
_QUERY, _EARLIER, _SYSTEM = "\1", "\2", "\3"
_LETTERS = str.maketrans("0123456789", "abcdefghij")


@dataclass(frozen=True, slots=True)
class Load:
    """Of a dataset: its rows, and the bytes of their last messages and of the turns before."""

    rows: int = 0
    query: int = 0
    earlier: int = 0
    #: The part of ``earlier`` that is system messages, which components show apart.
    system: int = 0

    @classmethod
    def of(cls, questions: Iterable[Question]) -> "Load":
        rows = query = earlier = system = 0
        for question in questions:
            rows += 1
            query += _bytes(question.messages[-1:])
            earlier += _bytes(question.messages[:-1])
            system += _bytes(m for m in question.messages[:-1] if m.role == "system")
        return cls(rows, query, earlier, system)

    def __add__(self, other: "Load") -> "Load":
        return Load(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


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
class _Asked:
    """What a row asks, with a made-up reply."""

    depth: int
    component: ModelComponent
    messages: tuple[Message, ...]
    reply: str


@dataclass(frozen=True, slots=True)
class _Case:
    """How long replies are, how often they are asked for, and what a prompt's bytes come to."""

    #: The word is in no other reply of the row.
    reply: Callable[[ModelComponent, Form | None, str], str]
    completion: Callable[[ModelComponent, str], int]
    #: What goes on, from what there was before a layer, what there is after it when nothing is
    #: left out, and how many may be left; None goes by what the replies choose.
    left: Callable[[State, State, Bounds], State] | None
    #: Whether everything is asked for as often as it may be.
    insists: bool
    bytes_per_token: int
    #: Whether components say the most of their own that they may say beside a row's messages.
    most: bool


def forecast(
    architecture: Architecture, prices: Mapping[str, Price | None], load: Load
) -> list[Forecast]:
    """The forecast of each layer for a whole dataset."""
    cases = [_layers(architecture, prices, load, case) for case in (_LOW, _EXPECTED, _HIGH)]
    return [Forecast(*estimates) for estimates in zip(*cases, strict=True)]


def total(layers: Iterable[Forecast]) -> Forecast:
    return sum(layers, Forecast())


def _layers(
    architecture: Architecture, prices: Mapping[str, Price | None], load: Load, case: _Case
) -> list[Estimate]:
    estimates = [Estimate() for _ in architecture.layers]
    bare, instructed = (_asked(architecture, case, _row(system=s)) for s in (False, True))
    for without, asked in zip(bare, instructed, strict=True):
        query, earlier, system = (
            _copies(asked.messages, mark) for mark in (_QUERY, _EARLIER, _SYSTEM)
        )
        bare_own = _bytes(without.messages) - (_WRAPPING + 1) * (query + earlier)
        other_own = _bytes(asked.messages) - (_WRAPPING + 1) * (query + earlier + system)
        own = bare_own
        if load.system:
            # A row brings a system message, or the component its own; beside a row's it says more.
            own = (max if case.most else min)(bare_own, other_own)
        prompt = (
            load.rows * own
            + load.query * query
            + (load.earlier - load.system) * earlier
            + load.system * system
        )
        times = 1 + asked.component.retries * case.insists
        reasons = (times - 1) * load.rows * _REASON
        tokens = -(-(times * prompt + reasons) // case.bytes_per_token)
        completion = times * load.rows * case.completion(asked.component, asked.reply)
        model = architecture.model(asked.component.model)
        if model.model == SANDBOX:
            # It reads and writes no tokens.
            tokens = completion = 0
        price = prices[model.model]
        cost = price.cost(Usage(tokens, completion)) if price else None
        estimates[asked.depth] += Estimate(times * load.rows, tokens, completion, cost)
    return estimates


def _asked(architecture: Architecture, case: _Case, question: Question) -> Iterator[_Asked]:
    """All that a row asks, layer by layer; a made-up row has no window to fit."""
    state = State()
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, flows(architecture), strict=True)
    ):
        given: list[Contribution] = []
        for place, component in enumerate(layer):
            scene = Scene(question, state, f"{depth}.{place}")
            contribution = yield from _played(component, scene, case, depth)
            if case.left is not None and component.chooses:
                contribution = replace(contribution, candidates=state.candidates)
            given.append(contribution)
        after = state.after(given)
        state = after if case.left is None else case.left(state, after, flow.leaving)
        if flow.leaving.high and not state.candidates:
            return


def _played(
    component: Component, scene: Scene, case: _Case, depth: int
) -> Generator[_Asked, None, Contribution]:
    """What one component asks, and what comes of it."""
    # Whoever asks has a model: the guard sees to it.
    asking = cast("ModelComponent", component)
    steps = guarded(component, scene)
    replies: list[Reply] | None = None
    while True:
        try:
            requests = next(steps) if replies is None else steps.send(tuple(replies))
        except StopIteration as end:
            contribution: Contribution = end.value[0]
            return contribution
        replies = []
        for request in requests:
            word = f"{scene.place}.{request.slot}".translate(_LETTERS)
            text = case.reply(asking, request.form, word)
            replies.append(Reply(text))
            yield _Asked(depth, asking, request.messages, text)


def _row(*, system: bool) -> Question:
    told = (Message("system", _SYSTEM),) if system else ()
    return Question("", (*told, Message("user", _EARLIER), Message("user", _QUERY)))


def _copies(messages: Iterable[Message], mark: str) -> int:
    return sum(message.content.count(mark) for message in messages)


def _bytes(messages: Iterable[Message]) -> int:
    return sum(
        _WRAPPING + len(message.content.encode("utf-8", "surrogatepass")) for message in messages
    )


def _sized(form: Form | None, size: int, *, worst: bool = False, word: str = "") -> str:
    """A reply of so many characters that its reader accepts; longer only if the form is."""
    return form.sized(size, worst=worst, word=word) if form else word.ljust(size, "x")


def _longest(form: Form | None, max_tokens: int, word: str) -> str:
    # A byte is taken for a token, so this is a candidate that is counted twice over. The example
    # comes on top: alike parts of several replies may count once.
    size = max_tokens * _RECOUNT + (len(form.example) if form else 0)
    return _sized(form, size, worst=True, word=word)


def _longest_left(before: State, after: State, leaves: Bounds) -> State:
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


def _tokens(component: ModelComponent, reply: str, bytes_per_token: int) -> int:
    return min(component.max_tokens, max(1, len(reply) // bytes_per_token))


_LOW = _Case(
    reply=lambda _component, form, _word: _sized(form, 1),
    completion=lambda component, reply: _tokens(component, reply, _LEAN),
    left=lambda _before, after, leaves: replace(after, candidates=after.candidates[: leaves.low]),
    insists=False,
    bytes_per_token=_LEAN,
    most=False,
)
_EXPECTED = _Case(
    reply=lambda component, form, word: _sized(
        form, 0 if form else min(component.max_tokens, _REPLY) * _USUAL, word=word
    ),
    completion=lambda component, reply: _tokens(component, reply, _USUAL),
    left=None,
    insists=False,
    bytes_per_token=_USUAL,
    most=True,
)
_HIGH = _Case(
    reply=lambda component, form, word: _longest(form, component.max_tokens, word),
    completion=lambda component, _reply: component.max_tokens,
    left=_longest_left,
    insists=True,
    bytes_per_token=1,
    most=True,
)
