"""A connection to Postgres: what it is asked for, and what every session of it is set to.

Behind a pooler that gives each transaction another session of the server (PgBouncer's pool_mode =
transaction), nothing that is set or prepared outlasts a transaction. Such a one is told by the
number of the server's process, which it makes up.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from archon_batch.errors import SettingsError, StoreError
from archon_batch.store.compiled_sql import execute_sql

#: Seconds that a transaction may lie idle before the server ends it: a process that is frozen
#: inside one must not keep its locks from the others.
_IDLE_TIMEOUT = 15

#: How a connection is noticed to be cut when nothing comes: libpq's words, in seconds, the last in
#: milliseconds.
_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

#: What a session, or one transaction, is set to. A commit that we were told of survives a crash
#: of the server: a paid answer is behind it. All but ``off`` do that.
_SETTINGS = (
    f"SELECT set_config('idle_in_transaction_session_timeout', '{_IDLE_TIMEOUT}s', {{0}}), "
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, {0})"
)
_OF_SESSION, _OF_TRANSACTION = (_SETTINGS.format(local) for local in ("false", "true"))

#: Engines whose sessions are a pooler's, as far as is known.
_POOLED_ENGINES: WeakSet[Engine] = WeakSet()


def create_postgres_engine(url: URL, variable: str) -> Engine:
    """An engine for the address; it connects when it is first used.

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
        # Whatever the database's own level is: rows are locked before they are read.
        isolation_level="READ COMMITTED",
        connect_args={
            **{name: value for name, value in _KEEPALIVE.items() if name not in url.query},
            "client_encoding": "utf8",
            **threshold,
        },
    )

    @sa.event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: Any) -> None:  # noqa: ANN401
        try:
            _configure_session(engine, connection)
        except BaseException:
            connection.close()
            raise

    return engine


def configure_transaction(connection: Connection) -> None:
    """Set what a session of a pooler's has to be set to, for the transaction that begins."""
    if connection.engine in _POOLED_ENGINES:
        execute_sql(connection, _OF_TRANSACTION)


def server_problems(connection: Connection) -> list[str]:
    """What is wrong with how the server is set up."""
    found = connection.exec_driver_sql(
        "SELECT current_setting('transaction_read_only'), current_setting('fsync'), "
        "current_setting('full_page_writes')"
    )
    read_only, fsync, whole = found.one()
    told = []
    if read_only == "on":
        told.append("the database is read-only: name the server that takes writes")
    if "off" in (fsync, whole):
        told.append(
            "the server runs with fsync or full_page_writes off: a crash loses what was paid for"
        )
    return told


def discard_connections(engine: Engine, error: Any) -> None:  # noqa: ANN401  (of a driver that may be absent)
    """Have every connection made anew, since the server does not serve by those that there are."""
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
    """After how many times a statement is prepared, if the address says so; ``none`` is never."""
    word = url.query.get("prepare_threshold")
    if word is None:
        return {}
    if word == "none":
        return {"prepare_threshold": None}
    if not isinstance(word, str) or not word.isdecimal():
        raise SettingsError(variable, "prepare_threshold is a number from 0, or none")
    return {"prepare_threshold": int(word)}
