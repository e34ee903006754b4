"""The forecast of a job's calls, tokens and cost."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    COMPONENT_TYPES,
    Architecture,
    Call,
    Component,
    Contribution,
    CountRange,
    Message,
    Question,
    Reply,
    Request,
    Usage,
    layer_flows,
    read_architecture,
    run_item,
)
from archon_batch.errors import ArchitectureError
from archon_batch.jobs.forecast import DatasetSize, Estimate, Forecast, forecast, total_forecast
from archon_batch.money import Price
from tests.builders import MODEL, a_question, an_architecture, architectures, examples

PRICE = Price(150_000, 600_000)
PRICES = dict.fromkeys([MODEL, "scripted/small", "scripted/large"], PRICE)

#: One row with a query of 25 bytes.
ROW = DatasetSize.from_questions([a_question("x" * 25)])

SIZES = st.builds(DatasetSize, st.integers(1, 1000), st.integers(17, 10**6), st.integers(0, 10**6))

TESTS, EVALUATOR = "unit_test_generator", "unit_test_evaluator"


def calls(estimates):
    return [(f.low.calls, f.expected.calls, f.high.calls) for f in estimates]


def test_a_size_has_rows_and_bytes_of_their_messages():
    earlier = (Message("system", "abc"), Message("user", "é"))

    size = DatasetSize.from_questions([a_question("1234"), a_question("12", earlier=earlier)])

    assert size == DatasetSize(
        rows=2,
        query_bytes=(16 + 4) + (16 + 2),
        history_bytes=(16 + 3) + (16 + 2),
        system_bytes=16 + 3,
    )


def test_sizes_of_two_datasets_add_up():
    rows = [a_question("1234"), a_question("12", earlier=[Message("system", "abc")])]

    assert DatasetSize.from_questions(rows[:1]) + DatasetSize.from_questions(
        rows[1:]
    ) == DatasetSize.from_questions(rows)


def test_calls_are_counted_by_layer():
    architecture = an_architecture(
        [{"type": "generator", "samples": 5, "retries": 0}, {"type": "generator", "retries": 3}],
        {"type": "critic", "retries": 2},
        [{"type": "ranker", "retries": 1}],
        {"type": "fuser", "samples": 3, "retries": 9},
    )

    layers = forecast(architecture, PRICES, DatasetSize(100, 2_000, 0))

    assert calls(layers) == [(600, 600, 900), (100, 100, 300), (100, 100, 200), (300, 300, 3000)]


@given(architecture=architectures(), size=SIZES)
def test_the_number_of_calls_is_that_of_the_architecture(architecture, size):
    layers = forecast(architecture, PRICES, size)

    for layer, flow in zip(layers, layer_flows(architecture), strict=True):
        assert layer.low.calls == flow.calls.low * size.rows
        assert layer.high.calls == flow.max_calls * size.rows


def test_tokens_of_a_generator_are_those_of_its_prompt_and_its_reply():
    architecture = an_architecture(
        {"type": "generator", "max_tokens": 500, "no_system": True, "retries": 0}
    )

    (layer,) = forecast(
        architecture, PRICES, DatasetSize(rows=1, query_bytes=24 * 100, history_bytes=0)
    )

    prompts = [e.prompt_tokens for e in (layer.low, layer.expected, layer.high)]
    assert prompts == [2_400 // 6, 2_400 // 4, 2_400]
    assert [e.completion_tokens for e in (layer.low, layer.expected, layer.high)] == [1, 300, 500]
    assert layer.high.cost == PRICE.cost(Usage(layer.high.prompt_tokens, 500))


@pytest.mark.parametrize(
    ("layers", "copies"),
    [
        (["generator"], 1),
        (["generator", "critic"], 2),
        (["generator", "critic", "fuser"], 4),
        (["generator", {"type": "verifier", "samples": 2}], 5),
        (["generator", {"type": "voter", "extract": "text"}, "fuser"], 3),
    ],
)
def test_a_prompt_contains_its_row_a_fixed_number_of_times(layers, copies):
    architecture = an_architecture(*layers)

    short = total_forecast(
        forecast(architecture, PRICES, DatasetSize(1, 1_000, 0))
    ).expected.prompt_tokens
    long = total_forecast(
        forecast(architecture, PRICES, DatasetSize(1, 41_000, 0))
    ).expected.prompt_tokens

    assert long - short == copies * 40_000 // 4


def test_turns_before_the_query_are_in_every_prompt_once():
    architecture = an_architecture("generator", "critic", "fuser")

    short = total_forecast(
        forecast(architecture, PRICES, DatasetSize(1, 100, 0))
    ).expected.prompt_tokens
    long = total_forecast(
        forecast(architecture, PRICES, DatasetSize(1, 100, 4_000))
    ).expected.prompt_tokens

    assert long - short == 3 * 4_000 // 4


def test_system_messages_are_in_every_prompt_once():
    generators = [{"type": "generator"}, {"type": "generator", "no_system": True}]
    architecture = an_architecture(generators, "critic", "fuser")

    short, long = (
        total_forecast(
            forecast(architecture, PRICES, DatasetSize(1, 100, 400 + size, system_bytes=size))
        )
        for size in (400, 4_400)
    )

    assert long.expected.prompt_tokens - short.expected.prompt_tokens == 4 * 4_000 // 4


def test_every_reask_adds_a_prompt_a_reason_and_a_reply():
    once, often = (
        forecast(an_architecture({"type": "generator", "retries": n}), PRICES, ROW)[0].high
        for n in (0, 2)
    )

    assert often.calls == 3 * once.calls
    assert often.prompt_tokens == 3 * once.prompt_tokens + 2 * 400
    assert often.completion_tokens == 3 * once.completion_tokens


def test_a_layer_with_an_unpriced_model_has_no_cost():
    generators = [{"type": "generator"}, {"type": "generator", "model": "scripted/rough"}]
    architecture = an_architecture(generators, "critic")

    unpriced, priced = forecast(architecture, {MODEL: PRICE, "scripted/rough": None}, ROW)

    assert (unpriced.low.cost, unpriced.expected.cost, unpriced.high.cost) == (None, None, None)
    assert priced.high.cost is not None
    assert total_forecast([unpriced, priced]).expected.cost is None
    assert total_forecast([unpriced, priced]).expected.calls == 3


def test_no_layers_have_an_empty_total():
    assert total_forecast([]) == Forecast(Estimate(), Estimate(), Estimate())


@given(architecture=architectures(), size=SIZES)
def test_low_is_at_most_expected_and_expected_at_most_high(architecture, size):
    for layer in forecast(architecture, PRICES, size):
        for figure in ("calls", "prompt_tokens", "completion_tokens", "cost"):
            low, expected, high = (
                getattr(estimate, figure) for estimate in (layer.low, layer.expected, layer.high)
            )
            assert low <= expected <= high


def test_no_reply_is_longer_than_max_tokens():
    architecture = an_architecture(
        {"type": "generator", "samples": 9}, {"type": "critic", "max_tokens": 50}
    )

    _, critic = forecast(architecture, PRICES, ROW)

    assert critic.low.completion_tokens <= critic.expected.completion_tokens <= 50


def test_the_expected_reply_with_a_format_is_as_short_as_possible():
    architecture = an_architecture({"type": "generator", "samples": 3}, "ranker")

    _, ranker = forecast(architecture, PRICES, ROW)

    assert ranker.expected.completion_tokens == len("Answer: [3] > [2] > [1]") // 4


@given(architecture=architectures(), one=SIZES, other=SIZES)
def test_forecasts_of_two_datasets_add_up(architecture, one, other):
    both = DatasetSize(
        one.rows + other.rows,
        one.query_bytes + other.query_bytes,
        one.history_bytes + other.history_bytes,
    )

    apart = total_forecast(
        forecast(architecture, PRICES, one) + forecast(architecture, PRICES, other)
    )
    together = total_forecast(forecast(architecture, PRICES, both))

    for case in ("low", "expected", "high"):
        summed, whole = getattr(apart, case), getattr(together, case)
        assert whole.calls == summed.calls
        assert whole.completion_tokens == summed.completion_tokens
        # Each call is rounded up to a token once instead of twice.
        assert 0 <= summed.prompt_tokens - whole.prompt_tokens <= whole.calls
    assert together.high.prompt_tokens == apart.high.prompt_tokens


@pytest.mark.timeout(20)
def test_a_forecast_with_a_thousand_candidates_is_fast():
    architecture = an_architecture(
        TESTS, {"type": "generator", "samples": 1000}, {"type": EVALUATOR, "first_k": 1}
    )

    *_, evaluator = forecast(architecture, PRICES, ROW)

    assert calls([evaluator]) == [(1, 1, 3000)]


@dataclass
class Provider:
    """Writes replies of all kinds and lengths, and adds up their tokens and cost by layer.

    Every token has ``bytes_per_token`` bytes, in every model.
    """

    seed: int
    bytes_per_token: int
    #: Verdicts in eight that are good.
    good: int = 4
    #: Replies in eight that cannot be parsed.
    invalid: int = 0
    #: Replies in eight that are as short as possible; the other replies fill max_tokens.
    short: int = 0
    #: Whether it truncates at max_tokens where the format needs more.
    truncates: bool = True
    #: Tokens of its format for each message.
    overhead: int = 16
    spent: dict[int, Estimate] = field(default_factory=dict)

    def __call__(self, call: Call) -> Reply:
        rng = Random(hashlib.sha256(f"{self.seed} {call.key}".encode()).digest())  # noqa: S311  (not for secrets)
        limit = call.max_tokens * self.bytes_per_token
        size = 1 if rng.randrange(8) < self.short else limit
        text = self.reply_text(call, size, rng)
        text = text[:limit] if self.truncates else text
        if rng.randrange(8) < self.invalid:
            text = rng.choice(["", " " * limit, "x" * limit])
        prompt = sum(self.overhead + self.tokens(m.content) for m in call.messages)
        usage = Usage(prompt, max(1, self.tokens(text)))
        entry = Estimate(1, prompt, max(1, self.tokens(text)), PRICE.cost(usage))
        self.spent[call.key.layer] = self.spent.get(call.key.layer, Estimate()) + entry
        return Reply(text)

    def tokens(self, text: str) -> int:
        return -(-len(text) // self.bytes_per_token)

    def reply_text(self, call: Call, size: int, rng: Random) -> str:
        if call.reply_format is None:
            return rng.choice("abcdefg") * size
        if call.component_type == "ranker":
            numbers = sorted(range(1, shown_count(call) + 1), key=lambda _: rng.random())
            order = " > ".join(f"[{n}]" for n in numbers)
            return (
                json.dumps({"reasoning": "", "order": numbers})
                if call.reply_format.schema
                else f"Answer: {order}"
            )
        if call.component_type == "critic":
            return critiques_text(call, size, rng)
        if call.component_type == TESTS and size > 1:
            return unit_tests_text(call, size, rng)
        return call.reply_format.padded_example(size, costliest=rng.randrange(8) >= self.good)


def shown_count(call: Call) -> int:
    return call.messages[-1].content.count("\n<<<end of response ")


def critiques_text(call: Call, size: int, rng: Random) -> str:
    """Critiques of which one is as long as possible."""
    assert call.reply_format is not None
    longest = rng.randint(1, shown_count(call))
    length = max(0, size - len(call.reply_format.example) - 10)
    strengths = [
        "is right" + "c" * length * (n == longest) for n in range(1, shown_count(call) + 1)
    ]
    if call.reply_format.schema is None:
        return "\n\n".join(
            f"[{n}]\nStrengths: {text}\nWeaknesses: is brief" for n, text in enumerate(strengths, 1)
        )
    return json.dumps({
        "critiques": [
            {"response": n, "strengths": text, "weaknesses": "is brief"}
            for n, text in enumerate(strengths, 1)
        ]
    })  # fmt: skip


def unit_tests_text(call: Call, size: int, rng: Random) -> str:
    """A few long tests or many short tests, different in every reply."""
    assert call.reply_format is not None
    example = json.loads(call.reply_format.example)
    count = len(example["tests"] if call.reply_format.schema else example)
    # An example with five tests allows any number.
    many = rng.randrange(2) and count == 5
    count = min(100, size // 12) if many else count
    length = max(8, (size - 16) // max(1, count) - 4)
    tests = [f"{rng.randrange(10**8):08}".ljust(length, "t") for _ in range(count)]
    return json.dumps({"tests": tests} if call.reply_format.schema else tests)


QUESTIONS = st.builds(
    lambda query, system, turns: a_question(
        query,
        earlier=[
            *([Message("system", system)] if system else []),
            *(Message("user", turn) for turn in turns),
        ],
    ),
    st.text(st.characters(codec="ascii"), min_size=1, max_size=300),
    st.text("s", max_size=200),
    st.lists(st.text("t", max_size=100), max_size=2),
)


def assert_within_high(architecture: Architecture, question: Question, provider: Provider) -> None:
    """Run the row, and check that no layer took more than its high forecast."""
    run_item(architecture, question, provider)
    for depth, layer in enumerate(
        forecast(architecture, PRICES, DatasetSize.from_questions([question]))
    ):
        spent = provider.spent.get(depth, Estimate())
        assert spent.calls <= layer.high.calls
        assert spent.prompt_tokens <= layer.high.prompt_tokens
        assert spent.completion_tokens <= layer.high.completion_tokens
        assert spent.cost is not None
        assert layer.high.cost is not None
        assert spent.cost <= layer.high.cost


@examples(2)
@given(
    architecture=architectures(),
    question=QUESTIONS,
    provider=st.builds(
        Provider,
        seed=st.integers(),
        bytes_per_token=st.integers(2, 4),
        good=st.sampled_from([0, 1, 4, 8]),
        invalid=st.sampled_from([0, 0, 2]),
        short=st.sampled_from([0, 0, 4]),
    ),
    window=st.none() | st.integers(600, 2000),
)
def test_a_row_never_takes_more_than_the_high_forecast(architecture, question, provider, window):
    windows = dict.fromkeys(architecture.model_names, window) if window else {}

    assert_within_high(replace(architecture, context_windows=windows), question, provider)


@examples(2)
@given(
    architecture=architectures(),
    question=QUESTIONS,
    provider=st.builds(
        Provider,
        seed=st.integers(),
        bytes_per_token=st.integers(2, 4),
        good=st.sampled_from([0, 1, 4, 8]),
        short=st.sampled_from([8, 8, 4, 0]),
        truncates=st.just(False),
        overhead=st.just(4),
    ),
)
def test_a_row_never_takes_less_than_the_low_forecast(architecture, question, provider):
    run_item(architecture, question, provider)

    for depth, layer in enumerate(
        forecast(architecture, PRICES, DatasetSize.from_questions([question]))
    ):
        spent = provider.spent.get(depth, Estimate())
        assert spent.calls >= layer.low.calls
        assert spent.prompt_tokens >= layer.low.prompt_tokens
        assert spent.completion_tokens >= layer.low.completion_tokens


LONG, SHORT = {"type": "generator", "max_tokens": 4000}, {"type": "generator", "max_tokens": 16}
BEST = {"type": "ranker", "top_k": 1}


def without_reasks(*layers: Any) -> Architecture:
    """The layers without re-asks, whose slack in the forecast would hide an error."""
    return an_architecture(*layers, defaults={"model": MODEL, "max_tokens": 256, "retries": 0})


def a_provider(**by_type: str | Callable[[Call], str]) -> Provider:
    """A provider with the given replies by component type; all other replies fill max_tokens."""

    class GivenReplies(Provider):
        def reply_text(self, call: Call, size: int, rng: Random) -> str:
            given = by_type.get(call.component_type)
            if given is None:
                return super().reply_text(call, size, rng)
            return given if isinstance(given, str) else given(call)

    return GivenReplies(seed=1, bytes_per_token=4, good=0)


@pytest.mark.parametrize("pair", [[LONG, SHORT], [SHORT, LONG]])
@pytest.mark.parametrize("order", ["Answer: [1] > [2]", "Answer: [2] > [1]"])
def test_high_covers_that_the_longest_candidate_ranks_first(pair, order):
    assert_within_high(without_reasks(pair, BEST, "fuser"), a_question(), a_provider(ranker=order))


@pytest.mark.parametrize("first", ["one", "other"])
def test_high_covers_that_the_first_candidate_has_the_longest_critique(first):
    critic = {"type": "critic", "max_tokens": 8000}
    critiques = {"one": "weak", "other": "weak", first: "w" * 30_000}
    provider = a_provider(
        critic=f"[1] {critiques['one']}\n[2] {critiques['other']}",
        ranker="Answer: [1] > [2]" if first == "one" else "Answer: [2] > [1]",
    )

    assert_within_high(
        without_reasks([SHORT, SHORT], critic, BEST, "fuser"), a_question(), provider
    )


def test_high_covers_that_unit_tests_of_several_replies_add_up():
    tests = {"type": TESTS, "samples": 5, "max_tokens": 2000, "unit_test_cap": 1}
    provider = a_provider(
        unit_test_generator=lambda call: json.dumps([f"{call.key.request_index}" * 7900])
    )

    assert_within_high(without_reasks(tests, "generator", EVALUATOR), a_question(), provider)


def test_high_covers_that_unit_tests_stay_if_the_new_tests_cannot_be_parsed():
    many = {"type": TESTS, "max_tokens": 4000, "unit_test_cap": 1}
    few = {"type": TESTS, "max_tokens": 64, "unit_test_cap": 1}
    provider = a_provider(
        unit_test_generator=lambda call: "none" if call.key.layer else json.dumps(["t" * 15_000])
    )

    assert_within_high(without_reasks(many, "generator", few, EVALUATOR), a_question(), provider)


def test_high_covers_that_two_rankers_select_different_candidates():
    architecture = without_reasks(
        [LONG, LONG], [BEST, {**BEST, "temperature": 0.0}], {"type": "verifier"}, "fuser"
    )
    provider = a_provider(
        ranker=lambda call: "Answer: [2] > [1]" if call.key.component else "Answer: [1] > [2]"
    )

    assert_within_high(architecture, a_question(), provider)

    assert provider.spent[2].calls == 4


@pytest.mark.parametrize("good", [0, 8])
def test_high_covers_that_more_candidates_stay_when_they_pass(good):
    architecture = without_reasks(
        TESTS,
        {"type": "generator", "samples": 4},
        {"type": EVALUATOR, "first_k": 3, "top_k": 1},
        "verifier",
    )
    provider = replace(a_provider(), good=good)

    assert_within_high(architecture, a_question(), provider)

    assert [provider.spent[depth].calls for depth in (2, 3)] == ([3, 6] if good else [4, 2])
    _, _, evaluator, verifier = forecast(architecture, PRICES, ROW)
    assert (evaluator.high.calls, verifier.high.calls) == (4, 6)


def test_high_covers_that_the_voter_selects_a_long_candidate():
    voter = {"type": "voter", "extract": "text"}

    provider = a_provider(generator=lambda call: "abb"[call.key.component] * 4 * call.max_tokens)

    assert_within_high(without_reasks([SHORT, LONG, LONG], voter, "fuser"), a_question(), provider)


def test_low_has_one_call_if_one_candidate_stays():
    architecture = an_architecture({"type": "generator", "samples": 5}, "verifier", "verifier")

    *_, last = forecast(architecture, PRICES, ROW)

    assert calls([last]) == [(2, 10, 30)]


class Sieve(Component):
    """Selects any number of candidates, or none."""

    selects: ClassVar[bool] = True

    type: Literal["sieve"]

    def run(self, context):
        del context
        return Contribution(candidates=()), ()
        yield

    def call_count(self, candidates):
        return CountRange(0, 0) * candidates

    def output_count(self, candidates):
        return CountRange(0, candidates)


def test_low_ends_at_the_layer_that_may_leave_no_candidate():
    layers = [{"type": "generator", "model": MODEL}, {"type": "sieve"}]
    layers += [{"type": "voter", "extract": "text"}, {"type": "critic", "model": MODEL}]
    architecture = read_architecture(
        {"layers": layers}, {**COMPONENT_TYPES, "sieve": Sieve}, "tested"
    )

    assert calls(forecast(architecture, PRICES, ROW)) == [
        (1, 1, 3),
        (0, 0, 0),
        (0, 0, 0),
        (0, 0, 3),
    ]


class RequestingSieve(Sieve):
    """Makes a request without having a model."""

    def run(self, context):
        yield (Request(0, context.question.messages),)


def test_a_component_that_cannot_work_is_named():
    architecture = Architecture("tested", {}, ((RequestingSieve(type="sieve"),),))

    with pytest.raises(
        ArchitectureError, match=r"layers\[0\]\[0\]: the component sieve makes requests"
    ):
        forecast(architecture, PRICES, ROW)


def test_a_context_window_does_not_change_the_forecast():
    architecture = an_architecture("generator", "critic", "fuser")

    narrow = replace(architecture, context_windows={MODEL: 10})

    assert forecast(narrow, PRICES, ROW) == forecast(architecture, PRICES, ROW)
