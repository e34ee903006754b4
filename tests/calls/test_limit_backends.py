"""Meters: Redis and both databases give out what the arithmetic says, to several at once."""

import multiprocessing
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from archon_batch.calls.limit_backends import (
    DatabaseLimitBackend,
    LimitBackend,
    RedisLimitBackend,
    open_limit_backend,
)
from archon_batch.errors import StoreUnavailableError
from archon_batch.rate_limits import (
    COLD_START_DELAY,
    GRANT_HORIZON,
    LimitGrant,
    LimitRequest,
    RateLimits,
    SharedLimitState,
    grant_permits,
)
from archon_batch.store import ModelKey, Store
from archon_batch.store.database import Database
from tests.test_rate_limits import most_within

KEY = ModelKey("openai/stand-in", "http://127.0.0.1:1/v1")

_ALL = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("redis", marks=pytest.mark.redis),
]


@pytest.fixture(params=_ALL)
def addresses(request: pytest.FixtureRequest, tmp_path) -> tuple[str, str]:
    """A database, and a Redis where there is one."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url")), ""
    redis = str(request.getfixturevalue("redis_url")) if request.param == "redis" else ""
    return f"sqlite:///{tmp_path}/store.db", redis


@pytest.fixture
def meter(addresses: tuple[str, str]) -> Iterator[LimitBackend]:
    store = Store.open(addresses[0])
    opened = open_limit_backend(store, *addresses[1:])
    # Of a Redis that was emptied nothing is known, and nothing goes at first.
    opened.request_permits(KEY, RateLimits(), LimitRequest("first", 0))
    _rest(opened)
    yield opened
    opened.close()
    store.close()


def _rest(opened: LimitBackend) -> None:
    if isinstance(opened, RedisLimitBackend):
        time.sleep(COLD_START_DELAY)


def _ask(
    addresses: tuple[str, str], name: str, seconds: float, out: "multiprocessing.Queue[list[float]]"
) -> None:
    store = Store.open(addresses[0])
    opened = open_limit_backend(store, *addresses[1:])
    moments, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        granted = opened.request_permits(KEY, RateLimits(rpm=6000), LimitRequest(name, 0, [0] * 64))
        moments += [time.time() + wait for wait in granted.send_delays]
        time.sleep(0.05)
    opened.close()
    store.close()
    out.put(moments)


@pytest.mark.timeout(60)
def test_three_processes_together_get_the_rate_and_no_more(addresses, meter) -> None:
    meter.request_permits(KEY, RateLimits(), LimitRequest("first", 0))
    spawn = multiprocessing.get_context("spawn")
    out: multiprocessing.Queue[list[float]] = spawn.Queue()
    asking = [spawn.Process(target=_ask, args=(addresses, f"p{n}", 4.0, out)) for n in range(3)]
    for process in asking:
        process.start()
    moments = sorted(moment for _ in asking for moment in out.get(timeout=30))
    for process in asking:
        process.join()

    # A tenth of a second is for the clocks' reading; the pace itself is the server's.
    steps = len(moments) / (moments[-1] - moments[0])
    assert steps <= 100.0
    assert most_within(moments, 2.0) <= 210
    # While all three ask.
    middle = [m for m in moments if moments[0] + 1 <= m < moments[0] + 3]
    assert len(middle) >= 0.95 * 200


def test_places_are_counted_over_processes(meter) -> None:
    limits = RateLimits(max_in_flight=3)

    first = meter.request_permits(KEY, limits, LimitRequest("a", 0, [0] * 2))
    second = meter.request_permits(KEY, limits, LimitRequest("b", 0, [0] * 2))
    given_back = meter.request_permits(KEY, limits, LimitRequest("a", 0))
    third = meter.request_permits(KEY, limits, LimitRequest("b", 1, [0]))

    granted = [len(g.send_delays) for g in (first, second, given_back, third)]
    assert granted == [2, 1, 0, 1]
    assert given_back.contested
    seen, now = meter.read_state(KEY)
    (holder,) = [h for name, h in seen.clients.items() if name == "b"]
    assert (holder.in_flight, holder.waiting, holder.expires_at > now) == (2, False, True)


def test_a_width_and_a_parking_are_seen_by_others(meter) -> None:
    meter.request_permits(
        KEY, RateLimits(), LimitRequest("a", 1, adaptive_limit=7, circuit_open_for=30.0)
    )

    seen, now = meter.read_state(KEY)

    assert seen.clients["a"].adaptive_limit == 7
    assert seen.clients["a"].circuit_open_until - now == pytest.approx(30.0, abs=5)


def test_a_meter_that_was_asked_by_a_clock_a_day_ahead_is_of_use_at_once(
    meter, addresses, monkeypatch
) -> None:
    limits = RateLimits(rpm=60)
    if addresses[1]:
        redis = Redis.from_url(addresses[1])
        (key,) = redis.keys("archon-batch:limits:*")
        redis.hset(key, "requests", f"{time.time() + 86_460}")
        redis.hset(key, "at", f"{time.time() + 86_400}")
    else:
        clock = Database.epoch_seconds
        monkeypatch.setattr(Database, "epoch_seconds", lambda *a: clock(*a) + 86_400)
        meter.request_permits(KEY, limits, LimitRequest("b", 1, [0], cooldown=60.0))
        monkeypatch.undo()

    granted = meter.request_permits(KEY, limits, LimitRequest("a", 0, [0]))

    # What the provider wanted is all that there is to wait for.
    assert granted.send_delays == ()
    assert granted.ask_again_in == pytest.approx(60, abs=10)


def test_two_models_do_not_share(meter) -> None:
    meter.request_permits(KEY, RateLimits(max_in_flight=1), LimitRequest("a", 0, [0]))

    other = ModelKey(KEY.model)
    meter.request_permits(other, RateLimits(), LimitRequest("b", 0))
    _rest(meter)

    assert meter.request_permits(
        other, RateLimits(max_in_flight=1), LimitRequest("b", 0, [0])
    ).send_delays


_LIMIT = st.none() | st.integers(1, 500)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 6),
        st.lists(st.integers(0, 900), max_size=8),
        st.integers(-50, 400),
        st.sampled_from([0.0, 0.0, 3.0]),
        st.none() | st.integers(1, 9),
    ),
    max_size=12,
)


@pytest.mark.redis
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rpm=_LIMIT, tpm=_LIMIT, most=st.none() | st.integers(1, 9), steps=_STEPS)
def test_the_script_and_the_arithmetic_are_one(redis_url, rpm, tpm, most, steps) -> None:
    Redis.from_url(redis_url).flushdb()
    limits, theirs = RateLimits(rpm, tpm, most), RedisLimitBackend(redis_url, "here")
    # A meter that is known, and whose beginning is long ago.
    theirs._redis.hset("archon-batch:limits:here:m ", mapping={"requests": "0", "tokens": "0"})
    ours = SharedLimitState()
    for name, held, costs, back, rest, width in steps:
        wish = LimitRequest(name, held, costs, back, rest, width)
        found = theirs.request_permits(ModelKey("m"), limits, wish)
        _, now = theirs.read_state(ModelKey("m"))
        ours, expected = grant_permits(ours, limits, wish, now)
        if _near_the_edge(expected, found):
            return
        assert len(found.send_delays) == len(expected.send_delays)
        assert found.send_delays == pytest.approx(expected.send_delays, abs=0.05)
        assert found.ask_again_in == pytest.approx(expected.ask_again_in, abs=0.05)
        assert found.contested == expected.contested
        known, _ = theirs.read_state(ModelKey("m"))
        assert {
            n: (h.in_flight, h.waiting, h.adaptive_limit) for n, h in known.clients.items()
        } == {n: (h.in_flight, h.waiting, h.adaptive_limit) for n, h in ours.clients.items()}
    theirs.close()


def _near_the_edge(one: LimitGrant, other: LimitGrant) -> bool:
    """Whether a millisecond between the two looks at the clock decides about a moment."""
    lasts = [g.send_delays[-1] for g in (one, other) if g.send_delays]
    waits = [g.ask_again_in for g in (one, other) if g.ask_again_in]
    return any(last > GRANT_HORIZON - 0.05 for last in lasts) or any(wait < 0.05 for wait in waits)


@pytest.mark.redis
def test_a_redis_that_is_emptied_gives_nothing_before_all_moments_of_before_are_over(
    redis_url,
) -> None:
    meter = RedisLimitBackend(redis_url, "here")
    meter.request_permits(KEY, RateLimits(), LimitRequest("first", 0))
    time.sleep(COLD_START_DELAY)
    given_out = meter.request_permits(KEY, RateLimits(rpm=600), LimitRequest("a", 0, [0] * 99))
    at = time.monotonic()

    Redis.from_url(redis_url).flushdb()
    again = meter.request_permits(KEY, RateLimits(rpm=600), LimitRequest("a", 0, [0] * 99))

    assert given_out.send_delays
    assert again.send_delays == ()
    time.sleep(again.ask_again_in)
    later = meter.request_permits(KEY, RateLimits(rpm=600), LimitRequest("a", 0, [0] * 99))
    assert time.monotonic() + later.send_delays[0] - at > given_out.send_delays[-1] + 0.1
    meter.close()


def test_a_redis_that_is_away_is_told_without_its_password() -> None:
    meter = RedisLimitBackend("redis://:secret@127.0.0.1:1/0", "here")

    with pytest.raises(StoreUnavailableError) as caught:
        meter.request_permits(KEY, RateLimits(), LimitRequest("a", 0))

    assert "secret" not in str(caught.value)


def test_what_an_operator_sets_holds_instead_of_what_jobs_ask(any_store) -> None:
    any_store.rate_limits.set_operator_limits(KEY, RateLimits(rpm=10))
    any_store.rate_limits.set_operator_limits(KEY, RateLimits(tpm=20))
    DatabaseLimitBackend(any_store).request_permits(
        KEY, RateLimits(tpm=20), LimitRequest("a", 0, [5])
    )

    assert any_store.rate_limits.all()[KEY].operator_limits == RateLimits(tpm=20)
    any_store.rate_limits.set_operator_limits(KEY, RateLimits())
    assert any_store.rate_limits.all() == {}


@pytest.mark.parametrize(
    ("result", "broker", "in_redis"),
    [
        ("", "", False),
        ("", "amqp://guest@127.0.0.1//", False),
        ("", "redis://127.0.0.1:1/0", True),
        ("rediss://127.0.0.1:1/0", "amqp://guest@127.0.0.1//", True),
    ],
)
def test_they_are_in_redis_if_the_broker_or_the_result_backend_is_one(
    store, result, broker, in_redis
) -> None:
    assert isinstance(
        open_limit_backend(store, result, broker),
        RedisLimitBackend if in_redis else DatabaseLimitBackend,
    )
