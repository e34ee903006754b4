"""What a driver's error means for what was asked: by Postgres's SQLSTATE, by SQLite's result code.

Sources: PostgreSQL's appendix "PostgreSQL Error Codes"; "Result and Error Codes" of sqlite.org.
"""

import sqlite3
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any


class DatabaseErrorKind(Enum):
    #: The database, or the connection, is not there now: to wait and ask again may do.
    UNAVAILABLE = auto()
    #: It was another's turn: to ask again may do.
    RETRY = auto()
    #: This connection does not serve it any more: to ask again over a new one may do.
    RECONNECT = auto()
    #: Nothing does before somebody has mended the database, its rights or its address.
    MISCONFIGURED = auto()
    #: What was asked is refused, and would be again.
    REJECTED = auto()


#: By the code itself, or by its class, its first two characters.
SQLSTATE_KINDS: Mapping[str, DatabaseErrorKind] = {
    "08": DatabaseErrorKind.UNAVAILABLE,  # connection exception; what poolers say of a server that they do not reach
    # "cached plan must not change result type": the tables were altered under a prepared statement.
    "0A000": DatabaseErrorKind.RECONNECT,
    "0A": DatabaseErrorKind.REJECTED,  # feature not supported
    "25006": DatabaseErrorKind.RECONNECT,  # read-only: after a failover this is a standby
    "25P03": DatabaseErrorKind.RETRY,  # idle in transaction for too long: this process was frozen
    "25P04": DatabaseErrorKind.RETRY,  # transaction timeout
    # What a pooler makes of prepared statements when it gives each transaction another server.
    "26": DatabaseErrorKind.RECONNECT,  # no such prepared statement
    "42P05": DatabaseErrorKind.RECONNECT,  # such a prepared statement is there already
    "28": DatabaseErrorKind.MISCONFIGURED,  # authorization
    "3D": DatabaseErrorKind.MISCONFIGURED,  # no such database
    "3F": DatabaseErrorKind.MISCONFIGURED,  # no such schema
    "40002": DatabaseErrorKind.REJECTED,  # an integrity constraint at the commit
    "40": DatabaseErrorKind.RETRY,  # serialization failure, deadlock, unknown completion
    "42": DatabaseErrorKind.MISCONFIGURED,  # no right, no such table or column: the tables are not this program's
    "53": DatabaseErrorKind.UNAVAILABLE,  # disk full, out of memory, too many connections
    "54": DatabaseErrorKind.REJECTED,  # too large, too complex
    "55006": DatabaseErrorKind.RETRY,  # object in use
    "55P03": DatabaseErrorKind.RETRY,  # lock not available
    "57014": DatabaseErrorKind.RETRY,  # cancelled, by somebody or by a statement timeout
    "57P04": DatabaseErrorKind.MISCONFIGURED,  # the database was dropped
    "57": DatabaseErrorKind.UNAVAILABLE,  # shutdown, crash, start-up, idle session timeout
    "58": DatabaseErrorKind.UNAVAILABLE,  # the system under the server: its disk, its files
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


def classify_database_error(error: Any, driver: Any) -> DatabaseErrorKind:  # noqa: ANN401  (of a driver that may be absent)
    """What an error of the driver means.

    Of a connection that never came about, or broke, Postgres's driver has no code.
    """
    lost = isinstance(error, driver.OperationalError | driver.InterfaceError)
    unknown = DatabaseErrorKind.UNAVAILABLE if lost else DatabaseErrorKind.REJECTED
    code = getattr(error, "sqlstate", None)
    if code is not None:
        return SQLSTATE_KINDS.get(code) or SQLSTATE_KINDS.get(code[:2]) or unknown
    result = getattr(error, "sqlite_errorcode", None)
    return unknown if result is None else SQLITE_RESULT_KINDS.get(result & 0xFF, unknown)
