"""What a job will take, before anything is sent."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archon_batch.archon import Call, Message, Reply, Usage, run
from archon_batch.forecast import Estimate, Forecast, Load, forecast, total
from archon_batch.ledger import Price
from tests.builders import MODEL, a_question, an_architecture, architectures

PRICE = Price(150_000, 600_000)
PRICES = dict.fromkeys([MODEL, "scripted/small", "scripted/large"], PRICE)

#: One row with a query of 25 bytes.
ROW = Load.of([a_question("x" * 25)])

LOADS = st.builds(Load, st.integers(1, 1000), st.integers(17, 10**6), st.integers(0, 10**6))


def calls(estimates):
    return [(f.low.calls, f.expected.calls, f.high.calls) for f in estimates]


def test_a_load_is_rows_and_the_bytes_of_their_messages():
    earlier = (Message("system", "abc"), Message("user", "é"))

    load = Load.of([a_question("1234"), a_question("12", earlier=earlier)])

    assert load == Load(rows=2, query=(16 + 4) + (16 + 2), earlier=(16 + 3) + (16 + 2))


def test_calls_are_counted_by_layer():
    architecture = an_architecture(
        [{"type": "generator", "samples": 5}, "generator"],
        {"type": "critic", "retries": 2},
        [{"type": "ranker", "retries": 1}],
        {"type": "fuser", "samples": 3, "retries": 9},
    )

    layers = forecast(architecture, PRICES, Load(100, 2_000, 0))

    assert calls(layers) == [(600, 600, 600), (100, 100, 300), (100, 100, 200), (300, 300, 300)]


def test_a_generators_tokens_are_those_of_its_prompt_and_its_reply():
    architecture = an_architecture({"type": "generator", "max_tokens": 500, "no_system": True})

    (layer,) = forecast(architecture, PRICES, Load(rows=1, query=24 * 100, earlier=0))

    assert [e.completion_tokens for e in (layer.low, layer.expected, layer.high)] == [1, 300, 500]
    assert layer.high.prompt_tokens >= 2_400
    assert 2_400 // 4 <= layer.expected.prompt_tokens <= 2_400 // 4 + 16
    assert 2_400 // 6 <= layer.low.prompt_tokens <= 2_400 // 6 + 16
    assert layer.high.cost == PRICE.cost(Usage(layer.high.prompt_tokens, 500))


@pytest.mark.parametrize(
    ("layers", "copies"),
    [(["generator"], 1), (["generator", "critic"], 2), (["generator", "critic", "fuser"], 4)],
)
def test_a_prompt_grows_by_a_number_of_copies_of_its_row(layers, copies):
    architecture = an_architecture(*layers)

    short = total(forecast(architecture, PRICES, Load(1, 1_000, 0))).expected.prompt_tokens
    long = total(forecast(architecture, PRICES, Load(1, 41_000, 0))).expected.prompt_tokens

    assert long - short == copies * 40_000 // 4


def test_turns_before_the_query_are_in_every_prompt_once():
    architecture = an_architecture("generator", "critic", "fuser")

    without = total(forecast(architecture, PRICES, Load(1, 100, 0))).expected.prompt_tokens
    with_them = total(forecast(architecture, PRICES, Load(1, 100, 4_000))).expected.prompt_tokens

    assert with_them - without == 3 * 4_000 // 4


def test_what_has_no_price_has_no_cost():
    generators = [{"type": "generator"}, {"type": "generator", "model": "scripted/rough"}]
    architecture = an_architecture(generators, "critic")

    free, dear = forecast(architecture, {MODEL: PRICE, "scripted/rough": None}, ROW)

    assert (free.low.cost, free.expected.cost, free.high.cost) == (None, None, None)
    assert dear.high.cost is not None
    assert total([free, dear]).expected.cost is None
    assert total([free, dear]).expected.calls == 3


def test_nothing_comes_to_nothing():
    assert total([]) == Forecast(Estimate(), Estimate(), Estimate())


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


@given(architecture=architectures(), one=LOADS, other=LOADS)
def test_two_datasets_take_what_they_take_together(architecture, one, other):
    both = Load(one.rows + other.rows, one.query + other.query, one.earlier + other.earlier)

    apart = total(forecast(architecture, PRICES, one) + forecast(architecture, PRICES, other))
    together = total(forecast(architecture, PRICES, both))

    for case in ("low", "expected", "high"):
        summed, whole = getattr(apart, case), getattr(together, case)
        assert whole.calls == summed.calls
        assert whole.completion_tokens == summed.completion_tokens
        # A part of a token is rounded up once a call instead of twice.
        assert 0 <= summed.prompt_tokens - whole.prompt_tokens <= 4 * 20
    assert together.high.prompt_tokens == apart.high.prompt_tokens


def paid(bytes_per_token: int, seed: int, spent: list[int]) -> Callable[[Call], Reply]:
    """A provider that fills replies up to the last token, and makes components ask again."""

    def answer(call: Call) -> Reply:
        luck = hashlib.sha256(f"{seed} {call.key}".encode()).digest()
        prompt = sum(16 + -(-len(m.content) // bytes_per_token) for m in call.messages)
        cost = PRICE.cost(Usage(prompt, call.max_tokens))
        assert cost is not None
        spent.append(cost)
        text = "" if call.form is None or luck[0] % 2 else call.form.example
        full = f"{text}\n{'x' * (call.max_tokens * bytes_per_token - len(text) - 1)}"
        # What cannot be written within the bound is cut off, as a provider would.
        return Reply(full.strip()[: call.max_tokens * bytes_per_token])

    return answer


@given(
    architecture=architectures(),
    query=st.text(st.characters(codec="ascii"), min_size=1, max_size=300),
    bytes_per_token=st.integers(2, 4),
    seed=st.integers(),
)
def test_a_row_never_costs_more_than_was_foreseen(architecture, query, bytes_per_token, seed):
    question = a_question(
        query, earlier=(Message("system", "Be brief."), Message("user", "Hello."))
    )
    # Two that choose in one layer may choose different candidates; see the rules.
    assume(all(sum(c.type == "ranker" for c in layer) < 2 for layer in architecture.layers))
    spent: list[int] = []

    run(architecture, question, paid(bytes_per_token, seed, spent))

    highest = total(forecast(architecture, PRICES, Load.of([question]))).high.cost
    assert highest is not None
    assert sum(spent) <= highest
