"""What a job would find among the completions: calls that it need not pay for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from archon_batch.archon import Architecture, CallKey, CallsNeeded, Question, Reply, plan_item
from archon_batch.jobs.forecast import DatasetSize, Forecast, forecast
from archon_batch.money import Price
from archon_batch.store import Store

#: Rows that are looked up together.
_BATCH_ROWS = 200


@dataclass(slots=True)
class CachePreview:
    """The rows that each layer is still to be paid for."""

    #: Those of which nothing in the layer is found, and those of which something is missing.
    fully_uncached: list[DatasetSize]
    partly_uncached: list[DatasetSize]
    cached_calls: int = 0
    #: Rows of which nothing is missing.
    cached_rows: int = 0


@dataclass(slots=True)
class _PreviewRow:
    question: Question
    replies: dict[CallKey, Reply] = field(default_factory=dict)


def preview_cache(
    store: Store | None, architecture: Architecture, questions: Iterable[Question]
) -> CachePreview:
    """Plan the rows with the completions for their replies, as far as these reach.

    Without a store nothing is found.
    """
    depths = range(len(architecture.layers))
    found = CachePreview([DatasetSize() for _ in depths], [DatasetSize() for _ in depths])
    for batch in _batches(questions):
        waiting = [_PreviewRow(question) for question in batch]
        while waiting:
            waiting = _look_up_calls(store, architecture, waiting, found)
    return found


def forecast_uncached(
    architecture: Architecture, prices: Mapping[str, Price | None], preview: CachePreview
) -> list[Forecast]:
    """The forecast of each layer for the rows that are still to be paid for."""
    layers = []
    for depth, (least, most) in enumerate(
        zip(preview.fully_uncached, preview.partly_uncached, strict=True)
    ):
        whole = forecast(architecture, prices, most)[depth]
        low = forecast(architecture, prices, least)[depth].low
        layers.append(Forecast(low, whole.expected, whole.high))
    return layers


def _look_up_calls(
    store: Store | None, architecture: Architecture, rows: list[_PreviewRow], preview: CachePreview
) -> list[_PreviewRow]:
    """Look up what the rows ask now; return those whose calls are all found."""
    asked = [(row, plan_item(architecture, row.question, row.replies)) for row in rows]
    asking = [(row, step.calls) for row, step in asked if isinstance(step, CallsNeeded)]
    preview.cached_rows += len(asked) - len(asking)
    wanted = [call.fingerprint for _, calls in asking for call in calls]
    kept = store.completion_cache.lookup(wanted) if store and wanted else {}
    going = []
    for row, calls in asking:
        replies = {
            call.key: Reply(
                kept[call.fingerprint].text, finish_reason=kept[call.fingerprint].finish
            )
            for call in calls
            if call.fingerprint in kept
        }
        preview.cached_calls += len(replies)
        row.replies |= replies
        if len(replies) == len(calls):
            going.append(row)
            continue
        depth = calls[0].key.layer
        begun = any(key.layer == depth for key in row.replies)
        load = DatasetSize.from_questions([row.question])
        for later in range(depth, len(architecture.layers)):
            preview.partly_uncached[later] += load
            if later > depth or not begun:
                preview.fully_uncached[later] += load
    return going


def _batches(questions: Iterable[Question]) -> Iterator[list[Question]]:
    left = iter(questions)
    while batch := list(islice(left, _BATCH_ROWS)):
        yield batch
