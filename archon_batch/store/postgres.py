"""Postgres: how connections are opened, and the settings of each session.

Behind a pooler that gives each transaction another session of the server (PgBouncer's pool_mode =
transaction), settings and prepared statements do not outlast a transaction. Such a pooler is
recognised by the process id that it invents for the server.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from archon_batch.errors import SettingsError, StoreError
from archon_batch.store.compiled_sql import execute_sql

#: Seconds before the server ends an idle transaction: a frozen process must not keep its locks.
_IDLE_TIMEOUT = 15

#: How a broken connection is detected: libpq's parameters, in seconds, the last in milliseconds.
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

#: Settings of a session, or of one transaction. A reported commit must survive a crash of the
#: server, because it may hold a paid answer: every value of synchronous_commit but ``off`` does.
_SETTINGS = (
    f"SELECT set_config('idle_in_transaction_session_timeout', '{_IDLE_TIMEOUT}s', {{0}}), "
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, {0})"
)
_OF_SESSION, _OF_TRANSACTION = (_SETTINGS.format(local) for local in ("false", "true"))

#: Engines known to connect to a pooler.
_POOLED_ENGINES: WeakSet[Engine] = WeakSet()


def create_postgres_engine(url: URL, variable: str) -> Engine:
    """Create an engine for the address; it connects on first use.

    Raises:
        SettingsError: the address, which is the ``variable``'s, has a word that cannot be.
        ModuleNotFoundError: the driver is not installed.
    """
    threshold = _prepare_threshold(url, variable)
    engine = sa.create_engine(
        url.difference_update_query(["prepare_threshold"]),
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=24,
        hide_parameters=True,
        # Independent of the database's default: rows are locked before they are read.
        isolation_level="READ COMMITTED",
        connect_args={
            **{name: value for name, value in _KEEPALIVE.items() if name not in url.query},
            "client_encoding": "utf8",
            **threshold,
        },
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:  # noqa: ANN401
        try:
            _configure_session(engine, connection)
        except BaseException:
            connection.close()
            raise

    return engine


def configure_transaction(connection: Connection) -> None:
    """Behind a pooler, apply the session settings to the transaction that begins."""
    if connection.engine in _POOLED_ENGINES:
        execute_sql(connection, _OF_TRANSACTION)


def server_problems(connection: Connection) -> list[str]:
    """Settings of the server that prevent writing, or that risk losing commits."""
    settings = connection.exec_driver_sql(
        "SELECT current_setting('transaction_read_only'), current_setting('fsync'), "
        "current_setting('full_page_writes')"
    )
    read_only, fsync, full_page_writes = settings.one()
    problems = []
    if read_only == "on":
        problems.append("the database is read-only: use the address of the primary server")
    if "off" in (fsync, full_page_writes):
        problems.append(
            "the server runs with fsync or full_page_writes off: a crash loses what was paid for"
        )
    return problems


def discard_connections(engine: Engine, error: Any) -> None:  # noqa: ANN401  (the driver may not be installed)
    """Discard all connections, because the server no longer serves them."""
    if getattr(error, "sqlstate", None) in ("26000", "42P05"):
        _POOLED_ENGINES.add(engine)
    engine.dispose()


def _configure_session(engine: Engine, connection: Any) -> None:  # noqa: ANN401
    connection.autocommit = True
    found = connection.execute("SELECT pg_backend_pid(), current_setting('server_encoding')")
    pid, encoding = found.fetchone()
    if encoding != "UTF8":
        raise StoreError(f"the database's encoding is {encoding}; make one with UTF8")
    if pid != connection.info.backend_pid:
        _POOLED_ENGINES.add(engine)
    if engine in _POOLED_ENGINES:
        connection.prepare_threshold = None
    else:
        connection.execute(_OF_SESSION)
    connection.autocommit = False


def _prepare_threshold(url: URL, variable: str) -> Mapping[str, int | None]:
    """The driver's prepare_threshold, if the address sets it; ``none`` disables preparing."""
    word = url.query.get("prepare_threshold")
    if word is None:
        return {}
    if word == "none":
        return {"prepare_threshold": None}
    if not isinstance(word, str) or not word.isdecimal():
        raise SettingsError(variable, "prepare_threshold is a number from 0, or none")
    return {"prepare_threshold": int(word)}
