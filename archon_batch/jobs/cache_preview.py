"""What a job would find among the completions: calls that it need not pay for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from archon_batch.archon import Architecture, Ask, CallKey, Question, Reply, plan
from archon_batch.jobs.forecast import Forecast, Load, forecast
from archon_batch.money import Price
from archon_batch.store import Store

#: Rows that are looked up together.
_BATCH = 200


@dataclass(slots=True)
class Found:
    """The rows that each layer is still to be paid for."""

    #: Those of which nothing in the layer is found, and those of which something is missing.
    least: list[Load]
    most: list[Load]
    calls: int = 0
    #: Rows of which nothing is missing.
    rows: int = 0


@dataclass(slots=True)
class _Row:
    question: Question
    replies: dict[CallKey, Reply] = field(default_factory=dict)


def found_among(
    store: Store | None, architecture: Architecture, questions: Iterable[Question]
) -> Found:
    """Plan the rows with the completions for their replies, as far as these reach.

    Without a store nothing is found.
    """
    depths = range(len(architecture.layers))
    found = Found([Load() for _ in depths], [Load() for _ in depths])
    for batch in _batches(questions):
        waiting = [_Row(question) for question in batch]
        while waiting:
            waiting = _step(store, architecture, waiting, found)
    return found


def foreseen(
    architecture: Architecture, prices: Mapping[str, Price | None], found: Found
) -> list[Forecast]:
    """The forecast of each layer for the rows that are still to be paid for."""
    layers = []
    for depth, (least, most) in enumerate(zip(found.least, found.most, strict=True)):
        whole = forecast(architecture, prices, most)[depth]
        low = forecast(architecture, prices, least)[depth].low
        layers.append(Forecast(low, whole.expected, whole.high))
    return layers


def _step(
    store: Store | None, architecture: Architecture, rows: list[_Row], found: Found
) -> list[_Row]:
    """Look up what the rows ask now; return those whose calls are all found."""
    asked = [(row, plan(architecture, row.question, row.replies)) for row in rows]
    asking = [(row, step.calls) for row, step in asked if isinstance(step, Ask)]
    found.rows += len(asked) - len(asking)
    wanted = [call.fingerprint for _, calls in asking for call in calls]
    kept = store.completions.among(wanted) if store and wanted else {}
    going = []
    for row, calls in asking:
        replies = {
            call.key: Reply(kept[call.fingerprint].text, finish=kept[call.fingerprint].finish)
            for call in calls
            if call.fingerprint in kept
        }
        found.calls += len(replies)
        row.replies |= replies
        if len(replies) == len(calls):
            going.append(row)
            continue
        depth = calls[0].key.layer
        begun = any(key.layer == depth for key in row.replies)
        load = Load.of([row.question])
        for later in range(depth, len(architecture.layers)):
            found.most[later] += load
            if later > depth or not begun:
                found.least[later] += load
    return going


def _batches(questions: Iterable[Question]) -> Iterator[list[Question]]:
    left = iter(questions)
    while batch := list(islice(left, _BATCH)):
        yield batch
