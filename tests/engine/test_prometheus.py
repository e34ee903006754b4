"""The Prometheus metrics of a worker."""

import asyncio
import socket

import pytest
from structlog.testing import capture_logs

from archon_batch.archon import Reply, Usage
from archon_batch.engine import prometheus as module
from archon_batch.engine.prometheus import MeteredProvider, PrometheusMetrics
from archon_batch.errors import RateLimitError
from archon_batch.money import Price
from tests.builders import a_call

PRICE = Price(input=150_000_000, output=600_000_000)


class Scripted:
    """A provider with scripted outcomes that records the metrics while a call is in flight."""

    def __init__(self, metrics, *answers):
        self.metrics, self.answers, self.seen = metrics, list(answers), []

    async def complete(self, call, _attempt):
        self.seen.append(value(self.metrics, "calls_in_flight", model=call.model.model))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self):
        pass


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"archon_batch_{name}", labels)


@pytest.fixture
def metrics():
    return PrometheusMetrics()


def complete(metrics, call, *answers, price=PRICE):
    provider = Scripted(metrics, *answers)
    metered = MeteredProvider(provider, metrics, lambda job, _: price if job == "job" else None)
    for answer in answers:
        try:
            asyncio.run(metered.complete(call, "job/3/0.0.0.0/1"))
        except BaseException as error:
            if error is not answer:
                raise
    return provider.seen


def test_answers_are_counted_with_their_tokens_and_their_cost(metrics):
    call = a_call()
    model = call.model.model

    seen = complete(metrics, call, *[Reply("four", usage=Usage(1000, 200))] * 2)

    assert seen == [1, 1]
    assert value(metrics, "calls_in_flight", model=model) == 0
    assert value(metrics, "calls_total", model=model, outcome="ok") == 2
    assert value(metrics, "tokens_total", model=model, kind="prompt") == 2000
    assert value(metrics, "tokens_total", model=model, kind="completion") == 400
    assert value(metrics, "usd_total", model=model) == pytest.approx(2 * 0.00027)


def test_errors_are_counted_by_reason(metrics):
    call = a_call()
    model = call.model.model

    complete(metrics, call, RateLimitError(model, "slow down"), RuntimeError("?"),
          asyncio.CancelledError())  # fmt: skip

    for outcome in ("rate_limit", "broken_reply", "call_timeout"):
        assert value(metrics, "calls_total", model=model, outcome=outcome) == 1
    assert value(metrics, "usd_total", model=model) is None
    assert value(metrics, "calls_in_flight", model=model) == 0


def test_an_answer_without_usage_costs_the_maximum_and_one_without_a_price_nothing(metrics):
    call = a_call()
    model = call.model.model

    complete(metrics, call, Reply("four"), price=None)
    unpriced = value(metrics, "usd_total", model=model)
    complete(metrics, call, Reply("four"))

    assert unpriced is None
    assert value(metrics, "usd_total", model=model) == pytest.approx(PRICE.max_cost(call) / 10**9)


def test_a_reply_without_text_is_counted_by_its_reason_and_its_reported_cost(metrics):
    call = a_call()
    model = call.model.model

    complete(
        metrics, call, Reply(None, "refused: no", usage=Usage(1000, 200, provider_cost_nano=500))
    )

    assert value(metrics, "calls_total", model=model, outcome="refused") == 1
    assert value(metrics, "usd_total", model=model) == pytest.approx(500 / 10**9)


def test_an_occupied_port_is_logged_and_raises_nothing(metrics, monkeypatch):
    monkeypatch.setattr(module, "current_metrics", lambda: metrics)
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logs:
        port = taken.getsockname()[1]
        module.serve_metrics("127.0.0.1", port, ["calls"])

    assert [(log["event"], log["port"]) for log in logs] == [("metrics_not_served", port)]
