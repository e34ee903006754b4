"""What a job will take: calls, tokens and money by layer, before anything is sent.

A row is run through the interpreter with made-up replies, short, usual and as long as they may be.
A prompt grows with its row by a fixed number of copies, so three rows tell what any row takes, and
a dataset is foreseen from its totals.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

from archon_batch.archon import (
    Architecture,
    Call,
    Component,
    Message,
    Question,
    Reply,
    Usage,
    run,
)
from archon_batch.ledger import Price

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
#: The length of the part that is varied, in bytes: long, so that no rounding shows.
_PROBE = 60_000


@dataclass(frozen=True, slots=True)
class Load:
    """Of a dataset: its rows, and the bytes of their last messages and of the turns before."""

    rows: int = 0
    query: int = 0
    earlier: int = 0

    @classmethod
    def of(cls, questions: Iterable[Question]) -> "Load":
        rows = query = earlier = 0
        for question in questions:
            rows += 1
            query += _bytes(question.messages[-1:])
            earlier += _bytes(question.messages[:-1])
        return cls(rows, query, earlier)


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
    """A layer, or everything: at least, as a rule, and at most.

    ``high`` has every reply at its full length, and every reply that is read refused as often as
    it is asked for; attempts that fail on the way are not foreseen.
    """

    low: Estimate = Estimate()
    expected: Estimate = Estimate()
    high: Estimate = Estimate()

    def __add__(self, other: "Forecast") -> "Forecast":
        return Forecast(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class _Case:
    """How long replies are, how often they are asked for, and what a prompt's bytes come to."""

    reply: Callable[[Call], Reply]
    completion: Callable[[Call, Reply], int]
    asks: Callable[[Component], int]
    bytes_per_token: int


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
    plain = _calls(architecture, case, _question(1, 0))
    # The three runs ask the same calls in the same order: only their prompts differ.
    queried = _calls(architecture, case, _question(1 + _PROBE, 0))
    continued = _calls(architecture, case, _question(1, _PROBE))
    estimates = [Estimate() for _ in architecture.layers]
    for (call, reply), (long, _), (deep, _) in zip(plain, queried, continued, strict=True):
        size = _bytes(call.messages)
        per_query = (_bytes(long.messages) - size) // _PROBE
        per_earlier = (_bytes(deep.messages) - size) // _PROBE
        prompt = (
            load.rows * (size - per_query) + load.query * per_query + load.earlier * per_earlier
        )
        asks = case.asks(architecture.layers[call.key.layer][call.key.component])
        reasons = (asks - 1) * load.rows * _REASON
        tokens = -(-(asks * prompt + reasons) // case.bytes_per_token)
        completion = asks * load.rows * case.completion(call, reply)
        price = prices[call.model.model]
        cost = price.cost(Usage(tokens, completion)) if price else None
        estimates[call.key.layer] += Estimate(asks * load.rows, tokens, completion, cost)
    return estimates


def _calls(architecture: Architecture, case: _Case, question: Question) -> list[tuple[Call, Reply]]:
    asked: list[tuple[Call, Reply]] = []

    def answer(call: Call) -> Reply:
        asked.append((call, case.reply(call)))
        return asked[-1][1]

    run(architecture, question, answer)
    return asked


def _question(query: int, earlier: int) -> Question:
    before = (Message("user", "x" * earlier), Message("assistant", "")) if earlier else ()
    return Question("", (*before, Message("user", "x" * query)))


def _sized(call: Call, size: int) -> Reply:
    """A reply of so many bytes that its reader accepts; longer only if the form is."""
    if call.form is None:
        return Reply("x" * size)
    return Reply(f"{call.form.example}\n{'x' * (size - len(call.form.example) - 1)}".strip())


def _bytes(messages: Iterable[Message]) -> int:
    return sum(
        _WRAPPING + len(message.content.encode("utf-8", "surrogatepass")) for message in messages
    )


def _tokens(call: Call, reply: Reply, bytes_per_token: int) -> int:
    return min(call.max_tokens, max(1, len(reply.text or "") // bytes_per_token))


def _once(_component: Component) -> int:
    return 1


def _as_often_as_it_may(component: Component) -> int:
    # Only a component that reads its replies asks for one again.
    return 1 + (0 if component.makes_candidates else component.retries)


_LOW = _Case(
    reply=lambda call: _sized(call, 1),
    completion=lambda call, reply: _tokens(call, reply, _LEAN),
    asks=_once,
    bytes_per_token=_LEAN,
)
_EXPECTED = _Case(
    reply=lambda call: _sized(call, min(call.max_tokens, _REPLY) * _USUAL if not call.form else 0),
    completion=lambda call, reply: _tokens(call, reply, _USUAL),
    asks=_once,
    bytes_per_token=_USUAL,
)
_HIGH = _Case(
    # A byte is taken for a token below, so this is a candidate that is counted twice over.
    reply=lambda call: _sized(call, call.max_tokens * _RECOUNT),
    completion=lambda call, _reply: call.max_tokens,
    asks=_as_often_as_it_may,
    bytes_per_token=1,
)
