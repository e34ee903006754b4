"""Limit backends: Redis and both databases grant what the pure function grants, to many at once."""

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
    """The address of a database, and of a Redis or an empty string."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url")), ""
    redis = str(request.getfixturevalue("redis_url")) if request.param == "redis" else ""
    return f"sqlite:///{tmp_path}/store.db", redis


@pytest.fixture
def backend(addresses: tuple[str, str]) -> Iterator[LimitBackend]:
    store = Store.open(addresses[0])
    backend = open_limit_backend(store, *addresses[1:])
    # An empty Redis grants nothing at first.
    backend.request_permits(KEY, RateLimits(), LimitRequest("first", 0))
    _wait_for_cold_start(backend)
    yield backend
    backend.close()
    store.close()


def _wait_for_cold_start(backend: LimitBackend) -> None:
    if isinstance(backend, RedisLimitBackend):
        time.sleep(COLD_START_DELAY)


def _request_repeatedly(
    addresses: tuple[str, str], name: str, seconds: float, out: "multiprocessing.Queue[list[float]]"
) -> None:
    store = Store.open(addresses[0])
    backend = open_limit_backend(store, *addresses[1:])
    send_times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        granted = backend.request_permits(
            KEY, RateLimits(rpm=6000), LimitRequest(name, 0, [0] * 64)
        )
        send_times += [time.time() + wait for wait in granted.send_delays]
        time.sleep(0.05)
    backend.close()
    store.close()
    out.put(send_times)


@pytest.mark.timeout(60)
@pytest.mark.slow
def test_three_processes_together_get_the_rate_and_no_more(addresses, backend) -> None:
    backend.request_permits(KEY, RateLimits(), LimitRequest("first", 0))
    server = multiprocessing.get_context("forkserver")
    # It imports this module once for all processes.
    server.set_forkserver_preload([__name__])
    out: multiprocessing.Queue[list[float]] = server.Queue()
    processes = [
        server.Process(target=_request_repeatedly, args=(addresses, f"p{n}", 4.0, out))
        for n in range(3)
    ]
    for process in processes:
        process.start()
    send_times = sorted(send_time for _ in processes for send_time in out.get(timeout=30))
    for process in processes:
        process.join()

    # 0.1 s is tolerance for reading clocks; the pace itself is the server's.
    steps = len(send_times) / (send_times[-1] - send_times[0])
    assert steps <= 100.0
    assert most_within(send_times, 2.0) <= 210
    # While all three send requests.
    middle = [m for m in send_times if send_times[0] + 1 <= m < send_times[0] + 3]
    assert len(middle) >= 0.95 * 200


def test_calls_in_flight_are_counted_over_processes(backend) -> None:
    limits = RateLimits(max_in_flight=3)

    first = backend.request_permits(KEY, limits, LimitRequest("a", 0, [0] * 2))
    second = backend.request_permits(KEY, limits, LimitRequest("b", 0, [0] * 2))
    given_back = backend.request_permits(KEY, limits, LimitRequest("a", 0))
    third = backend.request_permits(KEY, limits, LimitRequest("b", 1, [0]))

    granted = [len(g.send_delays) for g in (first, second, given_back, third)]
    assert granted == [2, 1, 0, 1]
    assert given_back.contested
    seen, now = backend.read_state(KEY)
    (client,) = [h for name, h in seen.clients.items() if name == "b"]
    assert (client.in_flight, client.waiting, client.expires_at > now) == (2, False, True)


def test_an_adaptive_limit_and_an_open_circuit_are_visible_to_other_processes(backend) -> None:
    backend.request_permits(
        KEY, RateLimits(), LimitRequest("a", 1, adaptive_limit=7, circuit_open_for=30.0)
    )

    seen, now = backend.read_state(KEY)

    assert seen.clients["a"].adaptive_limit == 7
    assert seen.clients["a"].circuit_open_until - now == pytest.approx(30.0, abs=5)


def test_a_state_written_by_a_clock_a_day_ahead_is_usable_at_once(
    backend, addresses, monkeypatch
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
        backend.request_permits(KEY, limits, LimitRequest("b", 1, [0], cooldown=60.0))
        monkeypatch.undo()

    granted = backend.request_permits(KEY, limits, LimitRequest("a", 0, [0]))

    # Only the provider's cooldown is left to wait for.
    assert granted.send_delays == ()
    assert granted.ask_again_in == pytest.approx(60, abs=10)


def test_two_models_do_not_share_a_limit(backend) -> None:
    backend.request_permits(KEY, RateLimits(max_in_flight=1), LimitRequest("a", 0, [0]))

    other = ModelKey(KEY.model)
    backend.request_permits(other, RateLimits(), LimitRequest("b", 0))
    _wait_for_cold_start(backend)

    assert backend.request_permits(
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
def test_the_lua_script_and_the_python_function_grant_the_same(
    redis_url, rpm, tpm, most, steps
) -> None:
    Redis.from_url(redis_url).flushdb()
    limits, redis = RateLimits(rpm, tpm, most), RedisLimitBackend(redis_url, "here")
    # A stored state that is long past its cold start.
    redis._redis.hset("archon-batch:limits:here:m ", mapping={"requests": "0", "tokens": "0"})
    expected_state = SharedLimitState()
    for name, in_flight, costs, refund, cooldown, adaptive_limit in steps:
        request = LimitRequest(name, in_flight, costs, refund, cooldown, adaptive_limit)
        granted = redis.request_permits(ModelKey("m"), limits, request)
        _, now = redis.read_state(ModelKey("m"))
        expected_state, expected = grant_permits(expected_state, limits, request, now)
        if _near_the_edge(expected, granted):
            return
        assert len(granted.send_delays) == len(expected.send_delays)
        assert granted.send_delays == pytest.approx(expected.send_delays, abs=0.05)
        assert granted.ask_again_in == pytest.approx(expected.ask_again_in, abs=0.05)
        assert granted.contested == expected.contested
        known, _ = redis.read_state(ModelKey("m"))
        assert {
            n: (h.in_flight, h.waiting, h.adaptive_limit) for n, h in known.clients.items()
        } == {
            n: (h.in_flight, h.waiting, h.adaptive_limit) for n, h in expected_state.clients.items()
        }
    redis.close()


def _near_the_edge(one: LimitGrant, other: LimitGrant) -> bool:
    """Whether a millisecond between the two clock readings decides about a send time."""
    lasts = [g.send_delays[-1] for g in (one, other) if g.send_delays]
    waits = [g.ask_again_in for g in (one, other) if g.ask_again_in]
    return any(last > GRANT_HORIZON - 0.05 for last in lasts) or any(wait < 0.05 for wait in waits)


@pytest.mark.redis
def test_an_emptied_redis_grants_nothing_until_all_earlier_send_times_have_passed(
    redis_url,
) -> None:
    backend = RedisLimitBackend(redis_url, "here")
    backend.request_permits(KEY, RateLimits(), LimitRequest("first", 0))
    time.sleep(COLD_START_DELAY)
    given_out = backend.request_permits(KEY, RateLimits(rpm=600), LimitRequest("a", 0, [0] * 99))
    at = time.monotonic()

    Redis.from_url(redis_url).flushdb()
    again = backend.request_permits(KEY, RateLimits(rpm=600), LimitRequest("a", 0, [0] * 99))

    assert given_out.send_delays
    assert again.send_delays == ()
    time.sleep(again.ask_again_in)
    later = backend.request_permits(KEY, RateLimits(rpm=600), LimitRequest("a", 0, [0] * 99))
    assert time.monotonic() + later.send_delays[0] - at > given_out.send_delays[-1] + 0.1
    backend.close()


def test_the_error_of_an_unreachable_redis_does_not_quote_its_password() -> None:
    backend = RedisLimitBackend("redis://:secret@127.0.0.1:1/0", "here")

    with pytest.raises(StoreUnavailableError) as caught:
        backend.request_permits(KEY, RateLimits(), LimitRequest("a", 0))

    assert "secret" not in str(caught.value)


def test_an_operator_s_limits_override_those_of_jobs(any_store) -> None:
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
def test_the_backend_is_redis_if_the_broker_or_the_result_url_is_a_redis(
    store, result, broker, in_redis
) -> None:
    assert isinstance(
        open_limit_backend(store, result, broker),
        RedisLimitBackend if in_redis else DatabaseLimitBackend,
    )
