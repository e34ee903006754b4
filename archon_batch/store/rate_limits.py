"""Limits in the database: what the running jobs ask for, what an operator set, what is used."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.rate_limits import Grant, Holder, Limits, Meter, Wish, grant
from archon_batch.store import tables
from archon_batch.store.compiled_sql import Record
from archon_batch.store.database import Database


class ModelKey(NamedTuple):
    """A model where it is called: limits are of both."""

    model: str
    #: Empty is the provider's own address.
    api_base: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The limits of a model."""

    #: The lowest of the running jobs.
    jobs: Limits
    #: What an operator set instead.
    operator: Limits

    @property
    def held_to(self) -> Limits:
        return self.operator.instead(self.jobs)


class ModelLimits:
    def __init__(self, database: Database) -> None:
        self._database = database
        #: A job's architecture never changes, so it is read once.
        self._of_job = lru_cache(maxsize=256)(self._read)

    def all(self) -> dict[ModelKey, Asked]:
        """Every model of a running job or with an operator's limits."""
        j, own = tables.jobs.c, tables.limits.c
        with self._database.reading() as connection:
            running = connection.execute(sa.select(j.id).where(j.state == "running")).scalars()
            asked = [pair for job_id in running.all() for pair in self._of_job(job_id).items()]
            rows = connection.execute(
                sa.select(own.model, own.api_base, own.rpm, own.tpm, own.max_in_flight)
            ).all()
        found: dict[ModelKey, Limits] = {}
        for key, limits in asked:
            found[key] = found.get(key, Limits()).lower(limits)
        set_by_hand = {ModelKey(row[0], row[1]): Limits(*row[2:]) for row in rows}
        keys = [*found, *(key for key, limits in set_by_hand.items() if limits)]
        none = Limits()
        return {k: Asked(found.get(k, none), set_by_hand.get(k, none)) for k in sorted(set(keys))}

    def put(self, key: ModelKey, limits: Limits) -> None:
        """Set an operator's limits, all of them; those that are None are the jobs' again."""
        with self._database.writing() as connection:
            self._row(connection, key)
            connection.execute(_update(key).values(**asdict(limits)))

    def exchange(self, key: ModelKey, limits: Limits, wish: Wish) -> Grant:
        """Give out what there is of a model, in one transaction."""
        with self._database.writing() as connection:
            meter = _meter(self._row(connection, key))
            after, granted = grant(meter, limits, wish, self._database.clock(connection))
            connection.execute(_update(key).values(meter=_written(after)))
        return granted

    def meter(self, key: ModelKey) -> tuple[Meter, float]:
        """What is on record of a model, and the moment by the same clock."""
        with self._database.reading() as connection:
            row = connection.execute(_one(key)).first()
            return (Meter() if row is None else _meter(row)), self._database.clock(connection)

    def _row(self, connection: Connection, key: ModelKey) -> Record:
        """The model's row, which is made if there is none, and is this transaction's."""
        query = _one(key).with_for_update()
        row = connection.execute(query).first()
        if row is None:
            self._database.one_at_a_time(connection, f"limits {key}")
            if connection.execute(_one(key)).first() is None:
                connection.execute(sa.insert(tables.limits), key._asdict() | {"meter": "{}"})
            row = connection.execute(query).one()
        return row

    def _read(self, job_id: str) -> Mapping[ModelKey, Limits]:
        j = tables.jobs.c
        with self._database.reading() as connection:
            query = sa.select(j.architecture).where(j.id == job_id)
            text = connection.execute(query).scalar_one()
        return limits_of(json.loads(text).get("models", {}).values())


def limits_of(models: Iterable[Mapping[str, Any]]) -> dict[ModelKey, Limits]:
    """The lowest limits of each model that a job's frozen architecture names."""
    found: dict[ModelKey, Limits] = {}
    for one in models:
        key = ModelKey(one["model"], one.get("api_base") or "")
        limits = Limits(one.get("rpm"), one.get("tpm"), one.get("max_in_flight"))
        found[key] = found.get(key, Limits()).lower(limits)
    return found


def _one(key: ModelKey) -> sa.Select[Record]:
    own = tables.limits.c
    return sa.select(tables.limits).where(own.model == key.model, own.api_base == key.api_base)


def _update(key: ModelKey) -> sa.Update:
    own = tables.limits.c
    return sa.update(tables.limits).where(own.model == key.model, own.api_base == key.api_base)


def _meter(row: Record) -> Meter:
    said = json.loads(row.meter)
    holders = {name: Holder(*fields) for name, fields in said.get("holders", {}).items()}
    return Meter(said.get("requests", 0.0), said.get("tokens", 0.0), holders, said.get("at", 0.0))


def _written(meter: Meter) -> str:
    holders = {
        name: [one.held, one.hungry, one.until, one.width, one.parked]
        for name, one in meter.holders.items()
    }
    moments = {"requests": meter.requests, "tokens": meter.tokens, "at": meter.at}
    return json.dumps({**moments, "holders": holders})
