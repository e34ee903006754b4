"""Which of a job's calls the completion cache would answer for free."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from archon_batch.archon import Architecture, CallKey, CallsNeeded, Question, Reply, plan_item
from archon_batch.jobs.forecast import DatasetSize, Forecast, forecast
from archon_batch.money import Price
from archon_batch.store import Store

#: Rows looked up with one query.
_BATCH_ROWS = 200


@dataclass(slots=True)
class CachePreview:
    """The uncached rows of each layer, as sizes for a forecast."""

    #: By layer: rows without any cached call in it, and rows with at least one uncached call.
    fully_uncached: list[DatasetSize]
    partly_uncached: list[DatasetSize]
    cached_calls: int = 0
    #: Rows whose calls are all cached.
    cached_rows: int = 0


@dataclass(slots=True)
class _PreviewRow:
    question: Question
    replies: dict[CallKey, Reply] = field(default_factory=dict)


def preview_cache(
    store: Store | None, architecture: Architecture, questions: Iterable[Question]
) -> CachePreview:
    """Plan the rows with cached replies until a call is missing; without a store all are missing."""
    depths = range(len(architecture.layers))
    preview = CachePreview([DatasetSize() for _ in depths], [DatasetSize() for _ in depths])
    for batch in _batches(questions):
        waiting = [_PreviewRow(question) for question in batch]
        while waiting:
            waiting = _look_up_calls(store, architecture, waiting, preview)
    return preview


def forecast_uncached(
    architecture: Architecture, prices: Mapping[str, Price | None], preview: CachePreview
) -> list[Forecast]:
    """The forecast of each layer for its uncached rows."""
    layers = []
    for depth, (fully, partly) in enumerate(
        zip(preview.fully_uncached, preview.partly_uncached, strict=True)
    ):
        whole = forecast(architecture, prices, partly)[depth]
        low = forecast(architecture, prices, fully)[depth].low
        layers.append(Forecast(low, whole.expected, whole.high))
    return layers


def _look_up_calls(
    store: Store | None, architecture: Architecture, rows: list[_PreviewRow], preview: CachePreview
) -> list[_PreviewRow]:
    """Look up the calls that the rows need now; return the rows whose calls are all cached."""
    steps = [(row, plan_item(architecture, row.question, row.replies)) for row in rows]
    unfinished = [(row, step.calls) for row, step in steps if isinstance(step, CallsNeeded)]
    preview.cached_rows += len(steps) - len(unfinished)
    fingerprints = [call.fingerprint for _, calls in unfinished for call in calls]
    cached = store.completion_cache.lookup(fingerprints) if store and fingerprints else {}
    fully_cached = []
    for row, calls in unfinished:
        replies = {
            call.key: Reply(
                cached[call.fingerprint].text, finish_reason=cached[call.fingerprint].finish_reason
            )
            for call in calls
            if call.fingerprint in cached
        }
        preview.cached_calls += len(replies)
        row.replies |= replies
        if len(replies) == len(calls):
            fully_cached.append(row)
            continue
        depth = calls[0].key.layer
        begun = any(key.layer == depth for key in row.replies)
        size = DatasetSize.from_questions([row.question])
        for later in range(depth, len(architecture.layers)):
            preview.partly_uncached[later] += size
            if later > depth or not begun:
                preview.fully_uncached[later] += size
    return fully_cached


def _batches(questions: Iterable[Question]) -> Iterator[list[Question]]:
    left = iter(questions)
    while batch := list(islice(left, _BATCH_ROWS)):
        yield batch
