"""Prometheus metrics of a worker, on its own port: counts by model, and no text of prompts."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache

import structlog
from kombu.exceptions import OperationalError
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.core import GaugeMetricFamily

from archon_batch.archon import Call, Reply
from archon_batch.engine.app import app
from archon_batch.engine.broker import queue_length
from archon_batch.errors import ProviderError
from archon_batch.money import Price, to_usd
from archon_batch.providers import Provider

#: Returns the price of a job's call, or None.
PriceLookup = Callable[[str, Call], Price | None]

_log = structlog.get_logger()


class PrometheusMetrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "archon_batch_calls",
            "Calls sent, by outcome.",
            ["model", "outcome"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "archon_batch_tokens",
            "Tokens of answered calls, as the provider counts them.",
            ["model", "kind"],
            registry=self.registry,
        )
        self.usd = Counter(
            "archon_batch_usd",
            "Dollars for answered calls that have a price.",
            ["model"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "archon_batch_calls_in_flight",
            "Calls in flight.",
            ["model"],
            registry=self.registry,
        )
        self.rounds = Counter(
            "archon_batch_rounds",
            "Rounds of calls sent.",
            registry=self.registry,
        )


class MeteredProvider:
    """A provider that counts its calls."""

    def __init__(
        self, provider: Provider, metrics: PrometheusMetrics, price_for: PriceLookup
    ) -> None:
        self._provider = provider
        self._metrics = metrics
        self._price_for = price_for

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        model, metrics = call.model.model, self._metrics
        # The outcome of a call whose process was stopped, as in the database.
        outcome = "call_timeout"
        with metrics.in_flight.labels(model).track_inprogress():
            try:
                reply = await self._provider.complete(call, attempt_id)
                outcome = (reply.failure or "ok").partition(":")[0]
            except ProviderError as error:
                outcome = error.reason
                raise
            except Exception:
                outcome = "broken_reply"
                raise
            finally:
                metrics.calls.labels(model, outcome).inc()
        metrics.tokens.labels(model, "prompt").inc(reply.usage.prompt_tokens or 0)
        metrics.tokens.labels(model, "completion").inc(reply.usage.completion_tokens or 0)
        price = self._price_for(attempt_id.partition("/")[0], call)
        if price is not None:
            cost = price.cost(reply.usage)
            metrics.usd.labels(model).inc(
                float(to_usd(price.max_cost(call) if cost is None else cost) or 0)
            )
        return reply

    async def close(self) -> None:
        await self._provider.close()


class QueueDepth:
    """Collects the length of this worker's queues from the broker at each scrape."""

    def __init__(self, queues: Iterable[str]) -> None:
        self._queues = sorted(queues)
        self._lock = threading.Lock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily(
            "archon_batch_queue_messages", "Messages waiting in a queue.", labels=["queue"]
        )
        # Report nothing for an unreachable broker: the length is unknown, not 0.
        with suppress(OperationalError, OSError), self._lock, app.connection_for_read() as broker:
            for queue in self._queues:
                depth.add_metric([queue], queue_length(broker, queue))
        yield depth


@cache
def current_metrics() -> PrometheusMetrics:
    """The metrics of this process."""
    return PrometheusMetrics()


def serve_metrics(address: str, port: int, queues: Iterable[str]) -> None:
    """Serve metrics from now on; a failure is logged and calls go on."""
    registry = current_metrics().registry
    registry.register(QueueDepth(queues))
    try:
        start_http_server(port, address, registry)
    except OSError as error:
        _log.error("metrics_not_served", address=address, port=port, why=error.strerror)
    else:
        _log.info("metrics_served", address=address, port=port)
