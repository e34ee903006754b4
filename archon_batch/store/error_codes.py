"""What a driver's error means: by Postgres's SQLSTATE, or by SQLite's result code.

Sources: PostgreSQL's appendix "PostgreSQL Error Codes"; "Result and Error Codes" of sqlite.org.
"""

import sqlite3
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any


class DatabaseErrorKind(Enum):
    #: The database or the connection is unavailable now: wait and try again.
    UNAVAILABLE = auto()
    #: Another transaction interfered: try again.
    RETRY = auto()
    #: The server no longer serves this connection: try again over a new one.
    RECONNECT = auto()
    #: Somebody must repair the database, its permissions or its address first.
    MISCONFIGURED = auto()
    #: The statement is rejected, and would be rejected again.
    REJECTED = auto()


#: By the whole code, or by its class (the first two characters).
SQLSTATE_KINDS: Mapping[str, DatabaseErrorKind] = {
    # Connection exception; poolers use it for a server that they cannot reach.
    "08": DatabaseErrorKind.UNAVAILABLE,
    # "cached plan must not change result type": the tables were altered under a prepared statement.
    "0A000": DatabaseErrorKind.RECONNECT,
    "0A": DatabaseErrorKind.REJECTED,  # feature not supported
    "25006": DatabaseErrorKind.RECONNECT,  # read-only: after a failover this is a standby
    "25P03": DatabaseErrorKind.RETRY,  # idle in transaction for too long: this process was frozen
    "25P04": DatabaseErrorKind.RETRY,  # transaction timeout
    # Prepared statements behind a pooler that gives each transaction another server.
    "26": DatabaseErrorKind.RECONNECT,  # no such prepared statement
    "42P05": DatabaseErrorKind.RECONNECT,  # the prepared statement exists already
    "28": DatabaseErrorKind.MISCONFIGURED,  # authorization
    "3D": DatabaseErrorKind.MISCONFIGURED,  # no such database
    "3F": DatabaseErrorKind.MISCONFIGURED,  # no such schema
    "40002": DatabaseErrorKind.REJECTED,  # an integrity constraint at the commit
    "40": DatabaseErrorKind.RETRY,  # serialization failure, deadlock, unknown completion
    # No permission, no such table or column: the tables are not this program's.
    "42": DatabaseErrorKind.MISCONFIGURED,
    "53": DatabaseErrorKind.UNAVAILABLE,  # disk full, out of memory, too many connections
    "54": DatabaseErrorKind.REJECTED,  # too large, too complex
    "55006": DatabaseErrorKind.RETRY,  # object in use
    "55P03": DatabaseErrorKind.RETRY,  # lock not available
    "57014": DatabaseErrorKind.RETRY,  # cancelled by somebody or by a statement timeout
    "57P04": DatabaseErrorKind.MISCONFIGURED,  # the database was dropped
    "57": DatabaseErrorKind.UNAVAILABLE,  # shutdown, crash, start-up, idle session timeout
    "58": DatabaseErrorKind.UNAVAILABLE,  # the operating system of the server: disk, files
    "72": DatabaseErrorKind.RETRY,  # snapshot too old
    "F0": DatabaseErrorKind.MISCONFIGURED,  # configuration file
    "XX": DatabaseErrorKind.MISCONFIGURED,  # corrupted data or index, internal error
}
#: By the primary result code.
SQLITE_RESULT_KINDS: Mapping[int, DatabaseErrorKind] = {
    sqlite3.SQLITE_ERROR: DatabaseErrorKind.MISCONFIGURED,  # no such table or column
    sqlite3.SQLITE_PERM: DatabaseErrorKind.MISCONFIGURED,
    sqlite3.SQLITE_BUSY: DatabaseErrorKind.UNAVAILABLE,
    sqlite3.SQLITE_LOCKED: DatabaseErrorKind.RETRY,
    sqlite3.SQLITE_NOMEM: DatabaseErrorKind.UNAVAILABLE,
    sqlite3.SQLITE_READONLY: DatabaseErrorKind.UNAVAILABLE,
    sqlite3.SQLITE_INTERRUPT: DatabaseErrorKind.RETRY,
    sqlite3.SQLITE_IOERR: DatabaseErrorKind.UNAVAILABLE,
    sqlite3.SQLITE_CORRUPT: DatabaseErrorKind.MISCONFIGURED,
    sqlite3.SQLITE_FULL: DatabaseErrorKind.UNAVAILABLE,
    sqlite3.SQLITE_CANTOPEN: DatabaseErrorKind.UNAVAILABLE,
    sqlite3.SQLITE_PROTOCOL: DatabaseErrorKind.UNAVAILABLE,
    sqlite3.SQLITE_NOTADB: DatabaseErrorKind.MISCONFIGURED,
}


def classify_database_error(error: Any, driver: Any) -> DatabaseErrorKind:  # noqa: ANN401  (the driver may not be installed)
    """Classify a driver's error.

    Postgres's driver has no code for a connection that failed or broke.
    """
    is_connection_error = isinstance(error, driver.OperationalError | driver.InterfaceError)
    default = DatabaseErrorKind.UNAVAILABLE if is_connection_error else DatabaseErrorKind.REJECTED
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is not None:
        return SQLSTATE_KINDS.get(sqlstate) or SQLSTATE_KINDS.get(sqlstate[:2]) or default
    result = getattr(error, "sqlite_errorcode", None)
    return default if result is None else SQLITE_RESULT_KINDS.get(result & 0xFF, default)
