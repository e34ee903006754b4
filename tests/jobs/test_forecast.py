"""What a job will take, before anything is sent."""

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

LOADS = st.builds(DatasetSize, st.integers(1, 1000), st.integers(17, 10**6), st.integers(0, 10**6))

TESTS, EVALUATOR = "unit_test_generator", "unit_test_evaluator"


def calls(estimates):
    return [(f.low.calls, f.expected.calls, f.high.calls) for f in estimates]


def test_a_load_is_rows_and_the_bytes_of_their_messages():
    earlier = (Message("system", "abc"), Message("user", "é"))

    load = DatasetSize.from_questions([a_question("1234"), a_question("12", earlier=earlier)])

    assert load == DatasetSize(
        rows=2,
        query_bytes=(16 + 4) + (16 + 2),
        history_bytes=(16 + 3) + (16 + 2),
        system_bytes=16 + 3,
    )


def test_the_loads_of_two_datasets_add_up():
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


@given(architecture=architectures(), load=LOADS)
def test_calls_are_those_that_the_architecture_tells(architecture, load):
    layers = forecast(architecture, PRICES, load)

    for layer, flow in zip(layers, layer_flows(architecture), strict=True):
        assert layer.low.calls == flow.calls.low * load.rows
        assert layer.high.calls == flow.max_calls * load.rows


def test_a_generators_tokens_are_those_of_its_prompt_and_its_reply():
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
def test_a_prompt_grows_by_a_number_of_copies_of_its_row(layers, copies):
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

    without = total_forecast(
        forecast(architecture, PRICES, DatasetSize(1, 100, 0))
    ).expected.prompt_tokens
    with_them = total_forecast(
        forecast(architecture, PRICES, DatasetSize(1, 100, 4_000))
    ).expected.prompt_tokens

    assert with_them - without == 3 * 4_000 // 4


def test_system_messages_are_in_every_prompt_once():
    takers = [{"type": "generator"}, {"type": "generator", "no_system": True}]
    architecture = an_architecture(takers, "critic", "fuser")

    short, long = (
        total_forecast(
            forecast(architecture, PRICES, DatasetSize(1, 100, 400 + size, system_bytes=size))
        )
        for size in (400, 4_400)
    )

    assert long.expected.prompt_tokens - short.expected.prompt_tokens == 4 * 4_000 // 4


def test_what_is_asked_again_has_its_prompt_a_reason_and_a_reply_each_time():
    once, often = (
        forecast(an_architecture({"type": "generator", "retries": n}), PRICES, ROW)[0].high
        for n in (0, 2)
    )

    assert often.calls == 3 * once.calls
    assert often.prompt_tokens == 3 * once.prompt_tokens + 2 * 400
    assert often.completion_tokens == 3 * once.completion_tokens


def test_what_has_no_price_has_no_cost():
    generators = [{"type": "generator"}, {"type": "generator", "model": "scripted/rough"}]
    architecture = an_architecture(generators, "critic")

    free, dear = forecast(architecture, {MODEL: PRICE, "scripted/rough": None}, ROW)

    assert (free.low.cost, free.expected.cost, free.high.cost) == (None, None, None)
    assert dear.high.cost is not None
    assert total_forecast([free, dear]).expected.cost is None
    assert total_forecast([free, dear]).expected.calls == 3


def test_nothing_comes_to_nothing():
    assert total_forecast([]) == Forecast(Estimate(), Estimate(), Estimate())


@given(architecture=architectures(), load=LOADS)
def test_the_least_is_at_most_the_usual_and_that_at_most_the_most(architecture, load):
    for layer in forecast(architecture, PRICES, load):
        for figure in ("calls", "prompt_tokens", "completion_tokens", "cost"):
            low, expected, high = (
                getattr(estimate, figure) for estimate in (layer.low, layer.expected, layer.high)
            )
            assert low <= expected <= high


def test_no_reply_is_foreseen_longer_than_it_may_be():
    architecture = an_architecture(
        {"type": "generator", "samples": 9}, {"type": "critic", "max_tokens": 50}
    )

    _, critic = forecast(architecture, PRICES, ROW)

    assert critic.low.completion_tokens <= critic.expected.completion_tokens <= 50


def test_a_reply_that_has_a_form_is_expected_to_be_as_brief_as_it_may_be():
    architecture = an_architecture({"type": "generator", "samples": 3}, "ranker")

    _, ranker = forecast(architecture, PRICES, ROW)

    assert ranker.expected.completion_tokens == len("Answer: [3] > [2] > [1]") // 4


@given(architecture=architectures(), one=LOADS, other=LOADS)
def test_two_datasets_take_what_they_take_together(architecture, one, other):
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
        # A part of a token is rounded up once a call instead of twice.
        assert 0 <= summed.prompt_tokens - whole.prompt_tokens <= whole.calls
    assert together.high.prompt_tokens == apart.high.prompt_tokens


@pytest.mark.timeout(20)
def test_a_thousand_candidates_that_fail_one_after_the_other_are_soon_foreseen():
    architecture = an_architecture(
        TESTS, {"type": "generator", "samples": 1000}, {"type": EVALUATOR, "first_k": 1}
    )

    *_, evaluator = forecast(architecture, PRICES, ROW)

    assert calls([evaluator]) == [(1, 1, 3000)]


@dataclass
class Provider:
    """Writes replies of all kinds and lengths, and keeps books of what they take by layer.

    A token stands for so many bytes, the same in every model.
    """

    seed: int
    bytes_per_token: int
    #: Of the verdicts, how many in eight are good.
    good: int = 4
    #: Of the replies, how many in eight cannot be read.
    rubbish: int = 0
    #: Of the replies, how many in eight are as short as they may be; the others fill max_tokens.
    short: int = 0
    #: Whether it keeps to max_tokens where the form takes more.
    cuts: bool = True
    #: Tokens that it wraps around a message.
    wrapping: int = 16
    books: dict[int, Estimate] = field(default_factory=dict)

    def __call__(self, call: Call) -> Reply:
        luck = Random(hashlib.sha256(f"{self.seed} {call.key}".encode()).digest())  # noqa: S311  (no secret rests on it)
        most = call.max_tokens * self.bytes_per_token
        size = 1 if luck.randrange(8) < self.short else most
        text = self.written(call, size, luck)
        text = text[:most] if self.cuts else text
        if luck.randrange(8) < self.rubbish:
            text = luck.choice(["", " " * most, "x" * most])
        prompt = sum(self.wrapping + self.tokens(m.content) for m in call.messages)
        usage = Usage(prompt, max(1, self.tokens(text)))
        entry = Estimate(1, prompt, max(1, self.tokens(text)), PRICE.cost(usage))
        self.books[call.key.layer] = self.books.get(call.key.layer, Estimate()) + entry
        return Reply(text)

    def tokens(self, text: str) -> int:
        return -(-len(text) // self.bytes_per_token)

    def written(self, call: Call, size: int, luck: Random) -> str:
        if call.reply_format is None:
            return luck.choice("abcdefg") * size
        if call.component_type == "ranker":
            numbers = sorted(range(1, shown(call) + 1), key=lambda _: luck.random())
            order = " > ".join(f"[{n}]" for n in numbers)
            return (
                json.dumps({"reasoning": "", "order": numbers})
                if call.reply_format.schema
                else f"Answer: {order}"
            )
        if call.component_type == "critic":
            return of_critiques(call, size, luck)
        if call.component_type == TESTS and size > 1:
            return of_tests(call, size, luck)
        return call.reply_format.padded_example(size, costliest=luck.randrange(8) >= self.good)


def shown(call: Call) -> int:
    return call.messages[-1].content.count("\n<<<end of response ")


def of_critiques(call: Call, size: int, luck: Random) -> str:
    """All the words are about one of the candidates."""
    assert call.reply_format is not None
    lucky = luck.randint(1, shown(call))
    room = max(0, size - len(call.reply_format.example) - 10)
    said = ["is right" + "c" * room * (n == lucky) for n in range(1, shown(call) + 1)]
    if call.reply_format.schema is None:
        return "\n\n".join(
            f"[{n}]\nStrengths: {text}\nWeaknesses: is brief" for n, text in enumerate(said, 1)
        )
    return json.dumps({
        "critiques": [
            {"response": n, "strengths": text, "weaknesses": "is brief"}
            for n, text in enumerate(said, 1)
        ]
    })  # fmt: skip


def of_tests(call: Call, size: int, luck: Random) -> str:
    """Few long tests or many short ones, unlike those of other replies."""
    assert call.reply_format is not None
    example = json.loads(call.reply_format.example)
    count = len(example["tests"] if call.reply_format.schema else example)
    # Five stand for any number.
    many = luck.randrange(2) and count == 5
    count = min(100, size // 12) if many else count
    each = max(8, (size - 16) // max(1, count) - 4)
    tests = [f"{luck.randrange(10**8):08}".ljust(each, "t") for _ in range(count)]
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


def holds(architecture: Architecture, question: Question, provider: Provider) -> None:
    """The run took no more than the most, layer by layer."""
    run_item(architecture, question, provider)
    for depth, layer in enumerate(
        forecast(architecture, PRICES, DatasetSize.from_questions([question]))
    ):
        spent = provider.books.get(depth, Estimate())
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
        rubbish=st.sampled_from([0, 0, 2]),
        short=st.sampled_from([0, 0, 4]),
    ),
    window=st.none() | st.integers(600, 2000),
)
def test_a_row_never_takes_more_than_was_foreseen(architecture, question, provider, window):
    windows = dict.fromkeys(architecture.model_names, window) if window else {}

    holds(replace(architecture, context_windows=windows), question, provider)


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
        cuts=st.just(False),
        wrapping=st.just(4),
    ),
)
def test_a_row_never_takes_less_than_was_foreseen(architecture, question, provider):
    run_item(architecture, question, provider)

    for depth, layer in enumerate(
        forecast(architecture, PRICES, DatasetSize.from_questions([question]))
    ):
        spent = provider.books.get(depth, Estimate())
        assert spent.calls >= layer.low.calls
        assert spent.prompt_tokens >= layer.low.prompt_tokens
        assert spent.completion_tokens >= layer.low.completion_tokens


LONG, SHORT = {"type": "generator", "max_tokens": 4000}, {"type": "generator", "max_tokens": 16}
BEST = {"type": "ranker", "top_k": 1}


def at_once(*layers: Any) -> Architecture:
    """The layers, which ask for nothing twice: what is foreseen has no slack for that."""
    return an_architecture(*layers, defaults={"model": MODEL, "max_tokens": 256, "retries": 0})


def an_answerer(**by_kind: str | Callable[[Call], str]) -> Provider:
    """A provider whose replies by kind are given; where they are not, they fill max_tokens."""

    class Answerer(Provider):
        def written(self, call: Call, size: int, luck: Random) -> str:
            given = by_kind.get(call.component_type)
            if given is None:
                return super().written(call, size, luck)
            return given if isinstance(given, str) else given(call)

    return Answerer(seed=1, bytes_per_token=4, good=0)


@pytest.mark.parametrize("pair", [[LONG, SHORT], [SHORT, LONG]])
@pytest.mark.parametrize("order", ["Answer: [1] > [2]", "Answer: [2] > [1]"])
def test_it_is_foreseen_that_the_longest_candidate_is_the_best(pair, order):
    holds(at_once(pair, BEST, "fuser"), a_question(), an_answerer(ranker=order))


@pytest.mark.parametrize("place", ["one", "other"])
def test_it_is_foreseen_that_the_longest_critique_is_of_the_best(place):
    critic = {"type": "critic", "max_tokens": 8000}
    said = {"one": "w" * 30_000 if place == "one" else "weak", "other": "w" * 30_000}
    said["other"] = said["other"] if place == "other" else "weak"
    provider = an_answerer(
        critic=f"[1] {said['one']}\n[2] {said['other']}",
        ranker="Answer: [1] > [2]" if place == "one" else "Answer: [2] > [1]",
    )

    holds(at_once([SHORT, SHORT], critic, BEST, "fuser"), a_question(), provider)


def test_it_is_foreseen_that_tests_of_several_replies_add_up():
    tests = {"type": TESTS, "samples": 5, "max_tokens": 2000, "unit_test_cap": 1}
    provider = an_answerer(
        unit_test_generator=lambda call: json.dumps([f"{call.key.request_index}" * 7900])
    )

    holds(at_once(tests, "generator", EVALUATOR), a_question(), provider)


def test_it_is_foreseen_that_tests_stay_when_new_ones_cannot_be_read():
    many = {"type": TESTS, "max_tokens": 4000, "unit_test_cap": 1}
    few = {"type": TESTS, "max_tokens": 64, "unit_test_cap": 1}
    provider = an_answerer(
        unit_test_generator=lambda call: "none" if call.key.layer else json.dumps(["t" * 15_000])
    )

    holds(at_once(many, "generator", few, EVALUATOR), a_question(), provider)


def test_it_is_foreseen_that_two_choose_differently():
    architecture = at_once(
        [LONG, LONG], [BEST, {**BEST, "temperature": 0.0}], {"type": "verifier"}, "fuser"
    )
    provider = an_answerer(
        ranker=lambda call: "Answer: [2] > [1]" if call.key.component else "Answer: [1] > [2]"
    )

    holds(architecture, a_question(), provider)

    assert provider.books[2].calls == 4


@pytest.mark.parametrize("good", [0, 8])
def test_it_is_foreseen_that_more_go_on_when_they_pass_than_when_they_do_not(good):
    architecture = at_once(
        TESTS,
        {"type": "generator", "samples": 4},
        {"type": EVALUATOR, "first_k": 3, "top_k": 1},
        "verifier",
    )
    provider = replace(an_answerer(), good=good)

    holds(architecture, a_question(), provider)

    assert [provider.books[depth].calls for depth in (2, 3)] == ([3, 6] if good else [4, 2])
    _, _, evaluator, verifier = forecast(architecture, PRICES, ROW)
    assert (evaluator.high.calls, verifier.high.calls) == (4, 6)


def test_it_is_foreseen_that_the_voter_keeps_a_long_candidate():
    voter = {"type": "voter", "extract": "text"}

    provider = an_answerer(generator=lambda call: "abb"[call.key.component] * 4 * call.max_tokens)

    holds(at_once([SHORT, LONG, LONG], voter, "fuser"), a_question(), provider)


def test_it_is_foreseen_that_one_candidate_is_left_to_be_judged_again():
    architecture = an_architecture({"type": "generator", "samples": 5}, "verifier", "verifier")

    *_, again = forecast(architecture, PRICES, ROW)

    assert calls([again]) == [(2, 10, 30)]


class Sieve(Component):
    """Keeps what it likes, which may be nothing."""

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


def test_a_row_that_may_end_midway_takes_at_least_what_comes_before():
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


class Echo(Sieve):
    """Asks without having a model to ask."""

    def run(self, context):
        yield (Request(0, context.question.messages),)


def test_a_component_that_cannot_work_is_named_before_anything_is_sent():
    architecture = Architecture("tested", {}, ((Echo(type="sieve"),),))

    with pytest.raises(
        ArchitectureError, match=r"layers\[0\]\[0\]: the component sieve makes requests"
    ):
        forecast(architecture, PRICES, ROW)


def test_a_window_that_no_made_up_row_would_fit_changes_nothing():
    architecture = an_architecture("generator", "critic", "fuser")

    narrow = replace(architecture, context_windows={MODEL: 10})

    assert forecast(narrow, PRICES, ROW) == forecast(architecture, PRICES, ROW)
