"""The connection to SQLite or Postgres, and the settings without which SQLite loses updates."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

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
from archon_batch.store.migrations import HEAD, upgrade
from archon_batch.store.postgres import (
    configure_transaction,
    create_postgres_engine,
    discard_connections,
    server_problems,
)
from archon_batch.store.sqlite_file import SqliteFile
from archon_batch.store.timestamps import now

_URL_VARIABLE = "ARCHON_BATCH_DATABASE_URL"

#: Milliseconds that a writer waits for another process's commit.
_BUSY_TIMEOUT_MS = 15_000

#: What would do, where SQLite says only what is wrong.
_HINTS = {
    "attempt to write a readonly database": "the file and its folder have to be writable",
    "unable to open database file": "it has to be a file that may be read and written",
    "file is not a database": f"set {_URL_VARIABLE} to another file",
    "database or disk is full": "make room; what is on record stays, and resume goes on",
}


class Database:
    """Opens transactions; every error of the driver leaves as a StoreError."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._write_lock = threading.Lock() if self.is_sqlite else nullcontext()
        self._sqlite_file = SqliteFile(engine) if self.is_sqlite else None
        self._gone_error: StoreReplacedError | None = None

    @property
    def canonical_address(self) -> str:
        """Its address, the same from every folder, and without a password."""
        if self.is_sqlite:
            return str(Path(self.engine.url.database or "").absolute())
        return self.engine.url.render_as_string(hide_password=True)

    @classmethod
    def open(cls, url: str) -> "Database":
        """Connect, and make the tables when the database is new.

        Raises:
            SettingsError: the address is not one.
            SchemaError: the tables are of another version of the program.
            StoreError: the database cannot be reached.
        """
        database = cls(create_engine(url))
        try:
            database.create_or_check_schema()
        except BaseException:
            database.close()
            raise
        return database

    def create_or_check_schema(self) -> None:
        """Make the tables when there are none; refuse those of another version."""
        with self.read_transaction() as connection:
            found = _schema_version(connection)
        if found is None:
            migrate(self.engine)
        elif found != HEAD:
            raise SchemaError(found, HEAD)

    def close(self) -> None:
        self.engine.dispose()

    def mark_gone(self, why: str) -> StoreReplacedError:
        """Take note that it is not the one that was there: nothing is read or written any more."""
        self._gone_error = self._gone_error or StoreReplacedError(why)
        return self._gone_error

    def _check_not_gone(self) -> None:
        """Refuse what is not the database that was there.

        Raises:
            StoreGoneError: it is not.
        """
        if self._gone_error is None and self._sqlite_file is not None:
            try:
                self._sqlite_file.check_unchanged()
            except StoreReplacedError as error:
                self.mark_gone(str(error))
        if self._gone_error is not None:
            raise StoreReplacedError(str(self._gone_error))

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        self._check_not_gone()
        with _translate_errors(self.engine), self.engine.connect() as connection:
            if self.is_sqlite:
                # Without it SQLite shows each statement another moment.
                execute_sql(connection, "BEGIN")
            yield connection

    @contextmanager
    def write_transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that holds the right to write from its first moment.

        One that need not be ``durable`` does not wait for the disk: a loss of power may undo it, but
        not what was committed before it.

        Raises:
            StoreGoneError: what is committed may be in a file that nobody finds again.
        """
        self._check_not_gone()
        # Threads that poll SQLite's lock starve one another.
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
        # Afterwards: what is told to be on record was so in the file that stands there.
        self._check_not_gone()

    def problems(self) -> list[str]:
        """What keeps the database from being written, or from keeping what is."""
        with self.read_transaction() as connection:
            return [] if self.is_sqlite else server_problems(connection)

    def epoch_seconds(self, connection: Connection) -> float:
        """Seconds since 1970 by the clock that all processes share: the server's, or this machine's."""
        if self.is_sqlite:
            return now().timestamp()
        clock = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
        return float(connection.execute(clock).scalar_one())

    def advisory_lock(self, connection: Connection, name: str) -> None:
        """Wait until no other transaction that named this is under way."""
        if not self.is_sqlite:
            # A writer in SQLite is alone from its first moment.
            lock = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name)))
            connection.execute(lock)


def create_engine(url_text: str) -> Engine:
    """An engine for the address; it connects when it is first used.

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
    # The end of a password would be told as a host, or as the name of the database.
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
    """Bring the tables to what this program needs; make them where there are none.

    Raises:
        SchemaError: they are of a newer version of the program.
        StoreError: the database cannot be reached, or not be written.
    """
    with _translate_errors(engine):
        with engine.connect() as connection:
            found = _schema_version(connection)
        if found is not None and found > HEAD:
            raise SchemaError(found, HEAD)
        upgrade(engine)


def database_exists(url_text: str) -> bool:
    """Whether there is a file at an address of SQLite's; of a server it is taken for granted."""
    url = create_engine(url_text).url
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def _create_sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise SettingsError(_URL_VARIABLE, "a database in memory is lost at the end; name a file")
    path = Path(url.database)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise SettingsError(_URL_VARIABLE, f"no such folder: {folder}")
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        hide_parameters=True,
        # The transactions are ours: the driver's own begin too late to be safe, and updates are
        # lost without an error. Statements differ by how many rows they are for: 128 of them kept
        # by every connection, as is the driver's way, are 40 MB after 10,000 calls.
        connect_args={"isolation_level": None, "check_same_thread": False, "cached_statements": 24},
    )

    @sa.event.listens_for(engine, "do_connect")
    def _made(_dialect: Any, _record: Any, _args: Any, _more: Any) -> None:  # noqa: ANN401
        # SQLite itself goes by the umask; its -wal and -shm have the rights of the file.
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    @sa.event.listens_for(engine, "connect")
    def _settle(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401
        for pragma in (
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            # A commit that we were told of survives a loss of power: a paid answer is behind it.
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _schema_version(connection: Connection) -> str | None:
    """The schema the tables are at; None when there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


@contextmanager
def _translate_errors(engine: Engine) -> Iterator[None]:
    """Have what the driver raises, by itself or through SQLAlchemy, leave as a StoreError."""
    driver = engine.dialect.loaded_dbapi
    try:
        yield
    except (sa.exc.DBAPIError, driver.Error) as error:
        raised = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        means = classify_database_error(raised, driver)
        if means is DatabaseErrorKind.RECONNECT:
            discard_connections(engine, raised)
        away = means in (
            DatabaseErrorKind.UNAVAILABLE,
            DatabaseErrorKind.RETRY,
            DatabaseErrorKind.RECONNECT,
        )
        first = str(raised).strip().splitlines()
        why = f"database: {first[0] if first else type(raised).__name__}"
        if engine.dialect.name == "sqlite":
            # Of a server the driver says which one it is.
            why = why.replace(": ", f": {engine.url.database}: ", 1)
            why = "; ".join(filter(None, (why, _HINTS.get(str(raised)))))
        # Of the rest nothing is told: Postgres quotes the row.
        raise (StoreUnavailableError if away else StoreError)(why) from None
    except sa.exc.TimeoutError:
        raise StoreUnavailableError("database: no connection of this process came free") from None
