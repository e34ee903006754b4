"""Limits in the database: what the running jobs ask for, what an operator set, what is used."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from archon_batch.rate_limits import (
    LimitClient,
    LimitGrant,
    LimitRequest,
    RateLimits,
    SharedLimitState,
    grant_permits,
)
from archon_batch.store import tables
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database


class ModelKey(NamedTuple):
    """A model where it is called: limits are of both."""

    model: str
    #: Empty is the provider's own address.
    api_base: str = ""


@dataclass(frozen=True, slots=True)
class ConfiguredRateLimits:
    """The limits of a model."""

    #: The lowest of the running jobs.
    job_limits: RateLimits
    #: What an operator set instead.
    operator_limits: RateLimits

    @property
    def effective(self) -> RateLimits:
        return self.operator_limits.with_fallback(self.job_limits)


class ModelRateLimits:
    def __init__(self, database: Database) -> None:
        self._database = database
        #: A job's architecture never changes, so it is read once.
        self._limits_of_job = lru_cache(maxsize=256)(self._read_job_limits)

    def all(self) -> dict[ModelKey, ConfiguredRateLimits]:
        """Every model of a running job or with an operator's limits."""
        j, own = tables.jobs.c, tables.rate_limits.c
        with self._database.read_transaction() as connection:
            running = connection.execute(sa.select(j.id).where(j.state == "running")).scalars()
            asked = [
                pair for job_id in running.all() for pair in self._limits_of_job(job_id).items()
            ]
            rows = connection.execute(
                sa.select(own.model, own.api_base, own.rpm, own.tpm, own.max_in_flight)
            ).all()
        found: dict[ModelKey, RateLimits] = {}
        for key, limits in asked:
            found[key] = found.get(key, RateLimits()).minimum(limits)
        set_by_hand = {ModelKey(row[0], row[1]): RateLimits(*row[2:]) for row in rows}
        keys = [*found, *(key for key, limits in set_by_hand.items() if limits)]
        none = RateLimits()
        return {
            k: ConfiguredRateLimits(found.get(k, none), set_by_hand.get(k, none))
            for k in sorted(set(keys))
        }

    def set_operator_limits(self, key: ModelKey, limits: RateLimits) -> None:
        """Set an operator's limits, all of them; those that are None are the jobs' again."""
        with self._database.write_transaction() as connection:
            self._lock_row(connection, key)
            connection.execute(_limits_update(key).values(**asdict(limits)))

    def request_permits(
        self, key: ModelKey, limits: RateLimits, request: LimitRequest
    ) -> LimitGrant:
        """Give out what there is of a model, in one transaction."""
        with self._database.write_transaction() as connection:
            meter = _state_from_row(self._lock_row(connection, key))
            after, granted = grant_permits(
                meter, limits, request, self._database.epoch_seconds(connection)
            )
            connection.execute(_limits_update(key).values(meter=_state_to_json(after)))
        return granted

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        """What is on record of a model, and the moment by the same clock."""
        with self._database.read_transaction() as connection:
            row = connection.execute(_limits_query(key)).first()
            return (
                SharedLimitState() if row is None else _state_from_row(row)
            ), self._database.epoch_seconds(connection)

    def _lock_row(self, connection: Connection, key: ModelKey) -> ResultRow:
        """The model's row, which is made if there is none, and is this transaction's."""
        query = _limits_query(key).with_for_update()
        row = connection.execute(query).first()
        if row is None:
            self._database.advisory_lock(connection, f"limits {key}")
            if connection.execute(_limits_query(key)).first() is None:
                connection.execute(sa.insert(tables.rate_limits), key._asdict() | {"meter": "{}"})
            row = connection.execute(query).one()
        return row

    def _read_job_limits(self, job_id: str) -> Mapping[ModelKey, RateLimits]:
        j = tables.jobs.c
        with self._database.read_transaction() as connection:
            query = sa.select(j.architecture).where(j.id == job_id)
            text = connection.execute(query).scalar_one()
        return limits_from_models(json.loads(text).get("models", {}).values())


def limits_from_models(models: Iterable[Mapping[str, Any]]) -> dict[ModelKey, RateLimits]:
    """The lowest limits of each model that a job's frozen architecture names."""
    found: dict[ModelKey, RateLimits] = {}
    for one in models:
        key = ModelKey(one["model"], one.get("api_base") or "")
        limits = RateLimits(one.get("rpm"), one.get("tpm"), one.get("max_in_flight"))
        found[key] = found.get(key, RateLimits()).minimum(limits)
    return found


def _limits_query(key: ModelKey) -> sa.Select[ResultRow]:
    own = tables.rate_limits.c
    return sa.select(tables.rate_limits).where(own.model == key.model, own.api_base == key.api_base)


def _limits_update(key: ModelKey) -> sa.Update:
    own = tables.rate_limits.c
    return sa.update(tables.rate_limits).where(own.model == key.model, own.api_base == key.api_base)


def _state_from_row(row: ResultRow) -> SharedLimitState:
    said = json.loads(row.meter)
    holders = {name: LimitClient(*fields) for name, fields in said.get("holders", {}).items()}
    return SharedLimitState(
        said.get("requests", 0.0), said.get("tokens", 0.0), holders, said.get("at", 0.0)
    )


def _state_to_json(state: SharedLimitState) -> str:
    holders = {
        name: [
            one.in_flight,
            one.waiting,
            one.expires_at,
            one.adaptive_limit,
            one.circuit_open_until,
        ]
        for name, one in state.clients.items()
    }
    moments = {
        "requests": state.next_request_at,
        "tokens": state.next_tokens_at,
        "at": state.updated_at,
    }
    return json.dumps({**moments, "holders": holders})
