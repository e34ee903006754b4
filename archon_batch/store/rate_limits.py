"""Rate limits in the database: those of jobs and operators, and the state that processes share."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
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
from archon_batch.store import schema
from archon_batch.store.compiled_sql import ResultRow
from archon_batch.store.database import Database


class ModelKey(NamedTuple):
    """A model at an address: rate limits apply to the two together."""

    model: str
    #: Empty for the provider's own address.
    api_base: str = ""


@dataclass(frozen=True, slots=True)
class ConfiguredRateLimits:
    """The configured rate limits of a model."""

    #: The lowest limits of the running jobs.
    job_limits: RateLimits
    #: Limits that an operator set; they take precedence.
    operator_limits: RateLimits

    @property
    def effective(self) -> RateLimits:
        return self.operator_limits.with_fallback(self.job_limits)


class ModelRateLimits:
    def __init__(self, database: Database) -> None:
        self._database = database
        #: Cached, because a job's architecture never changes.
        self._limits_of_job = lru_cache(maxsize=256)(self._read_job_limits)

    def all(self) -> dict[ModelKey, ConfiguredRateLimits]:
        """The limits of each model that a running job uses or an operator has limited."""
        jobs, c = schema.jobs.c, schema.rate_limits.c
        with self._database.read_transaction() as connection:
            running = connection.scalars(sa.select(jobs.id).where(jobs.state == "running")).all()
            by_jobs = _merged(
                item for job_id in running for item in self._limits_of_job(job_id).items()
            )
            rows = connection.execute(
                sa.select(c.model, c.api_base, c.rpm, c.tpm, c.max_in_flight)
            ).all()
        by_operator = {ModelKey(row[0], row[1]): RateLimits(*row[2:]) for row in rows}
        keys = {*by_jobs, *(key for key, limits in by_operator.items() if limits)}
        unlimited = RateLimits()
        return {
            key: ConfiguredRateLimits(by_jobs.get(key, unlimited), by_operator.get(key, unlimited))
            for key in sorted(keys)
        }

    def set_operator_limits(self, key: ModelKey, limits: RateLimits) -> None:
        """Set all limits of an operator; a limit of None leaves it to the jobs again."""
        with self._database.write_transaction() as connection:
            self._lock_row(connection, key)
            connection.execute(_limits_update(key).values(**asdict(limits)))

    def request_permits(
        self, key: ModelKey, limits: RateLimits, request: LimitRequest
    ) -> LimitGrant:
        """Grant permits of the model, in one transaction."""
        with self._database.write_transaction() as connection:
            before = _state_from_row(self._lock_row(connection, key))
            now = self._database.epoch_seconds(connection)
            after, grant = grant_permits(before, limits, request, now)
            connection.execute(_limits_update(key).values(state=_state_to_json(after)))
        return grant

    def read_state(self, key: ModelKey) -> tuple[SharedLimitState, float]:
        """The shared state of the model, and the current time by the same clock."""
        with self._database.read_transaction() as connection:
            row = connection.execute(_limits_query(key)).first()
            state = SharedLimitState() if row is None else _state_from_row(row)
            return state, self._database.epoch_seconds(connection)

    def _lock_row(self, connection: Connection, key: ModelKey) -> ResultRow:
        """Lock the model's row, after creating it if necessary."""
        query = _limits_query(key).with_for_update()
        row = connection.execute(query).first()
        if row is None:
            self._database.advisory_lock(connection, f"limits {key}")
            if connection.execute(_limits_query(key)).first() is None:
                connection.execute(sa.insert(schema.rate_limits), key._asdict() | {"state": "{}"})
            row = connection.execute(query).one()
        return row

    def _read_job_limits(self, job_id: str) -> Mapping[ModelKey, RateLimits]:
        c = schema.jobs.c
        with self._database.read_transaction() as connection:
            query = sa.select(c.architecture).where(c.id == job_id)
            text = connection.execute(query).scalar_one()
        return limits_from_models(json.loads(text).get("models", {}).values())


def limits_from_models(models: Iterable[Mapping[str, Any]]) -> dict[ModelKey, RateLimits]:
    """The lowest limits of each model of a job's frozen architecture."""
    return _merged(
        (
            ModelKey(model["model"], model.get("api_base") or ""),
            RateLimits(model.get("rpm"), model.get("tpm"), model.get("max_in_flight")),
        )
        for model in models
    )


def _merged(limits: Iterable[tuple[ModelKey, RateLimits]]) -> dict[ModelKey, RateLimits]:
    lowest: dict[ModelKey, RateLimits] = {}
    for key, one in limits:
        lowest[key] = lowest.get(key, RateLimits()).minimum(one)
    return lowest


def _limits_query(key: ModelKey) -> sa.Select[ResultRow]:
    c = schema.rate_limits.c
    return sa.select(schema.rate_limits).where(c.model == key.model, c.api_base == key.api_base)


def _limits_update(key: ModelKey) -> sa.Update:
    c = schema.rate_limits.c
    return sa.update(schema.rate_limits).where(c.model == key.model, c.api_base == key.api_base)


def _state_from_row(row: ResultRow) -> SharedLimitState:
    data = json.loads(row.state)
    return SharedLimitState(
        next_request_at=data.get("requests", 0.0),
        next_tokens_at=data.get("tokens", 0.0),
        clients={id_: LimitClient(*fields) for id_, fields in data.get("holders", {}).items()},
        updated_at=data.get("at", 0.0),
    )


def _state_to_json(state: SharedLimitState) -> str:
    return json.dumps(
        {
            "requests": state.next_request_at,
            "tokens": state.next_tokens_at,
            "holders": {id_: astuple(client) for id_, client in state.clients.items()},
            "at": state.updated_at,
        }
    )
