"""Connections and transactions of SQLite and Postgres, and retries while they are unavailable."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from archon_batch.errors import (
    SchemaError,
    SettingsError,
    StoreError,
    StoreReplacedError,
    StoreUnavailableError,
)
from archon_batch.store.compiled_sql import execute_sql
from archon_batch.store.error_codes import DatabaseErrorKind, classify_database_error
from archon_batch.store.migrations import HEAD, UPGRADABLE, upgrade
from archon_batch.store.postgres import (
    configure_transaction,
    create_postgres_engine,
    discard_connections,
    server_problems,
)
from archon_batch.store.sql_values import now
from archon_batch.store.sqlite_file import SqliteFile

_T = TypeVar("_T")

_URL_VARIABLE = "ARCHON_BATCH_DATABASE_URL"

#: Milliseconds that a writer waits for the commit of another process.
_BUSY_TIMEOUT_MS = 15_000
#: Seconds of unavailability after which an operation fails.
MAX_UNAVAILABLE_SECONDS = 60.0
_RETRY_INTERVAL = 0.2

#: What to do, for errors of SQLite that say only what is wrong.
_HINTS = {
    "attempt to write a readonly database": "the file and its folder must be writable",
    "unable to open database file": "it must be a file that can be read and written",
    "file is not a database": f"set {_URL_VARIABLE} to another file",
    "database or disk is full": "make room; stored data is kept, and resume continues",
}


class Database:
    """Opens transactions, and translates every error of the driver into a StoreError."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._write_lock = threading.Lock() if self.is_sqlite else nullcontext()
        self._sqlite_file = SqliteFile(engine) if self.is_sqlite else None
        self._replaced_error: StoreReplacedError | None = None

    @property
    def canonical_address(self) -> str:
        """The address, independent of the current folder, without a password."""
        if self.is_sqlite:
            return str(Path(self.engine.url.database or "").absolute())
        return self.engine.url.render_as_string(hide_password=True)

    @classmethod
    def open(cls, url: str) -> "Database":
        """Connect, and create the tables in an empty database.

        Raises:
            SettingsError: the address is invalid.
            SchemaError: the tables belong to another version of the program.
            StoreError: the database is unavailable.
        """
        database = cls(create_engine(url))
        try:
            database.create_or_check_schema()
        except BaseException:
            database.close()
            raise
        return database

    def create_or_check_schema(self) -> None:
        """Create the tables in an empty database; refuse the schema of another version."""
        with self.read_transaction() as connection:
            version = _schema_version(connection)
        if version is None:
            migrate(self.engine)
        elif version != HEAD:
            raise SchemaError(version, HEAD, is_upgradable=version in UPGRADABLE)

    def close(self) -> None:
        self.engine.dispose()

    def mark_replaced(self, why: str) -> StoreReplacedError:
        """Record that the database was replaced: every later transaction is refused."""
        self._replaced_error = self._replaced_error or StoreReplacedError(why)
        return self._replaced_error

    def _check_not_replaced(self) -> None:
        """Refuse a database that was replaced.

        Raises:
            StoreReplacedError: it was replaced.
        """
        if self._replaced_error is None and self._sqlite_file is not None:
            try:
                self._sqlite_file.check_unchanged()
            except StoreReplacedError as error:
                self.mark_replaced(str(error))
        if self._replaced_error is not None:
            raise StoreReplacedError(str(self._replaced_error))

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        self._check_not_replaced()
        with _translate_errors(self.engine), self.engine.connect() as connection:
            if self.is_sqlite:
                # Without a transaction, each statement of SQLite may see another state.
                execute_sql(connection, "BEGIN")
            yield connection

    @contextmanager
    def write_transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that has the write lock from its start.

        A transaction that is not ``durable`` does not wait for the disk: a power loss may undo it,
        but no earlier one.

        Raises:
            StoreReplacedError: the commit may be in a file that nobody can find again.
        """
        self._check_not_replaced()
        # Threads that poll SQLite's lock can starve each other.
        with self._write_lock, _translate_errors(self.engine), self.engine.connect() as connection:
            connection.begin()
            if not self.is_sqlite:
                configure_transaction(connection)
                if not durable:
                    execute_sql(connection, "SET LOCAL synchronous_commit = off")
                yield connection
                connection.commit()
                return
            if not durable:
                execute_sql(connection, "PRAGMA synchronous=NORMAL")
            try:
                execute_sql(connection, "BEGIN IMMEDIATE")
                yield connection
                connection.commit()
            finally:
                if not durable:
                    connection.rollback()
                    execute_sql(connection, "PRAGMA synchronous=FULL")
        # Check after the commit: a reported commit must be in the file at that path.
        self._check_not_replaced()

    def problems(self) -> list[str]:
        """Server settings that prevent writing, or that risk losing commits."""
        with self.read_transaction() as connection:
            return [] if self.is_sqlite else server_problems(connection)

    def epoch_seconds(self, connection: Connection) -> float:
        """Seconds since 1970 by the shared clock: the server's, or with SQLite this machine's."""
        if self.is_sqlite:
            return now().timestamp()
        clock = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
        return float(connection.execute(clock).scalar_one())

    def advisory_lock(self, connection: Connection, name: str) -> None:
        """Wait for other transactions with this lock, and hold it until the transaction ends."""
        if not self.is_sqlite:
            # SQLite has one writer at a time.
            lock = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name)))
            connection.execute(lock)


def create_engine(url_text: str) -> Engine:
    """Create an engine for the address; it connects on first use.

    Raises:
        SettingsError: the address is not one of SQLite or Postgres.
    """
    try:
        url = make_url(url_text)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError(
            _URL_VARIABLE, "not a database URL; try sqlite:///archon-batch.db"
        ) from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return _create_sqlite_engine(url)
    # Error messages would show the end of the password as a host or database name.
    if url_text.count("@") > 1:
        raise SettingsError(_URL_VARIABLE, "more than one @; write one in a password as %40")
    if "#" in (url.host or ""):
        raise SettingsError(_URL_VARIABLE, "a # in the host; write one in a password as %23")
    if url.drivername != "postgresql+psycopg":
        raise SettingsError(
            _URL_VARIABLE,
            f"{url.drivername} is not supported; use sqlite:///FILE or postgresql+psycopg://...",
        )
    try:
        return create_postgres_engine(url, _URL_VARIABLE)
    except ModuleNotFoundError:
        raise SettingsError(
            _URL_VARIABLE, "Postgres needs: pip install archon-batch[postgres]"
        ) from None


def migrate(engine: Engine) -> None:
    """Create or migrate the tables.

    Raises:
        SchemaError: the tables are newer than this program, or too old to be migrated.
        StoreError: the database is unavailable or cannot be written.
    """
    with _translate_errors(engine):
        with engine.connect() as connection:
            version = _schema_version(connection)
        if version not in (None, HEAD, *UPGRADABLE):
            raise SchemaError(str(version), HEAD, is_upgradable=False)
        upgrade(engine)


def database_exists(url_text: str) -> bool:
    """Whether the SQLite file exists; a server's database is assumed to exist."""
    url = create_engine(url_text).url
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def _create_sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise SettingsError(_URL_VARIABLE, "an in-memory database is lost at exit; name a file")
    path = Path(url.database)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise SettingsError(_URL_VARIABLE, f"no such folder: {folder}")
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        hide_parameters=True,
        # We begin transactions ourselves: the driver begins them too late, and updates are lost
        # without an error. Statements vary with their number of rows: the driver's default cache of
        # 128 statements per connection would take 40 MB after 10,000 calls.
        connect_args={"isolation_level": None, "check_same_thread": False, "cached_statements": 24},
    )

    @sa.event.listens_for(engine, "do_connect")
    def _create_private_file(_dialect: Any, _record: Any, _args: Any, _more: Any) -> None:  # noqa: ANN401
        # SQLite would use the umask; -wal and -shm get the permissions of the file.
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401
        for pragma in (
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            # A reported commit must survive a power loss: it may hold a paid answer.
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _schema_version(connection: Connection) -> str | None:
    """The version of the schema; None in an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def retry_while_unavailable(operation: Callable[[], _T]) -> _T:
    """Call ``operation`` until the database is available.

    It must be repeatable, even if only the confirmation of a commit was lost.

    Raises:
        StoreUnavailableError: the database was unavailable for ``MAX_UNAVAILABLE_SECONDS``.
        StoreReplacedError: the database was replaced; raised at once.
    """
    deadline = time.monotonic() + MAX_UNAVAILABLE_SECONDS
    while True:
        try:
            return operation()
        except StoreReplacedError:
            raise
        except StoreUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_INTERVAL)


@contextmanager
def _translate_errors(engine: Engine) -> Iterator[None]:
    """Translate exceptions of the driver and of SQLAlchemy into a StoreError."""
    driver = engine.dialect.loaded_dbapi
    try:
        yield
    except (sa.exc.DBAPIError, driver.Error) as error:
        raised = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        kind = classify_database_error(raised, driver)
        if kind is DatabaseErrorKind.RECONNECT:
            discard_connections(engine, raised)
        is_unavailable = kind in (
            DatabaseErrorKind.UNAVAILABLE,
            DatabaseErrorKind.RETRY,
            DatabaseErrorKind.RECONNECT,
        )
        lines = str(raised).strip().splitlines()
        why = f"database: {lines[0] if lines else type(raised).__name__}"
        if engine.dialect.name == "sqlite":
            # The Postgres driver names the server itself.
            why = why.replace(": ", f": {engine.url.database}: ", 1)
            why = "; ".join(filter(None, (why, _HINTS.get(str(raised)))))
        # Drop the other lines: Postgres quotes the row there.
        raise (StoreUnavailableError if is_unavailable else StoreError)(why) from None
    except sa.exc.TimeoutError:
        raise StoreUnavailableError("database: no free connection in this process") from None
