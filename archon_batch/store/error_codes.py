"""What a driver's error means for what was asked: by Postgres's SQLSTATE, by SQLite's result code.

Sources: PostgreSQL's appendix "PostgreSQL Error Codes"; "Result and Error Codes" of sqlite.org.
"""

import sqlite3
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any


class Meaning(Enum):
    #: The database, or the connection, is not there now: to wait and ask again may do.
    AWAY = auto()
    #: It was another's turn: to ask again may do.
    AGAIN = auto()
    #: This connection does not serve it any more: to ask again over a new one may do.
    ELSEWHERE = auto()
    #: Nothing does before somebody has mended the database, its rights or its address.
    MISTAKE = auto()
    #: What was asked is refused, and would be again.
    REFUSED = auto()


#: By the code itself, or by its class, its first two characters.
SQLSTATES: Mapping[str, Meaning] = {
    "08": Meaning.AWAY,  # connection exception; what poolers say of a server that they do not reach
    # "cached plan must not change result type": the tables were altered under a prepared statement.
    "0A000": Meaning.ELSEWHERE,
    "0A": Meaning.REFUSED,  # feature not supported
    "25006": Meaning.ELSEWHERE,  # read-only: after a failover this is a standby
    "25P03": Meaning.AGAIN,  # idle in transaction for too long: this process was frozen
    "25P04": Meaning.AGAIN,  # transaction timeout
    # What a pooler makes of prepared statements when it gives each transaction another server.
    "26": Meaning.ELSEWHERE,  # no such prepared statement
    "42P05": Meaning.ELSEWHERE,  # such a prepared statement is there already
    "28": Meaning.MISTAKE,  # authorization
    "3D": Meaning.MISTAKE,  # no such database
    "3F": Meaning.MISTAKE,  # no such schema
    "40002": Meaning.REFUSED,  # an integrity constraint at the commit
    "40": Meaning.AGAIN,  # serialization failure, deadlock, unknown completion
    "42": Meaning.MISTAKE,  # no right, no such table or column: the tables are not this program's
    "53": Meaning.AWAY,  # disk full, out of memory, too many connections
    "54": Meaning.REFUSED,  # too large, too complex
    "55006": Meaning.AGAIN,  # object in use
    "55P03": Meaning.AGAIN,  # lock not available
    "57014": Meaning.AGAIN,  # cancelled, by somebody or by a statement timeout
    "57P04": Meaning.MISTAKE,  # the database was dropped
    "57": Meaning.AWAY,  # shutdown, crash, start-up, idle session timeout
    "58": Meaning.AWAY,  # the system under the server: its disk, its files
    "72": Meaning.AGAIN,  # snapshot too old
    "F0": Meaning.MISTAKE,  # configuration file
    "XX": Meaning.MISTAKE,  # corrupted data or index, internal error
}
#: By the primary result code.
RESULTS: Mapping[int, Meaning] = {
    sqlite3.SQLITE_ERROR: Meaning.MISTAKE,  # no such table or column
    sqlite3.SQLITE_PERM: Meaning.MISTAKE,
    sqlite3.SQLITE_BUSY: Meaning.AWAY,
    sqlite3.SQLITE_LOCKED: Meaning.AGAIN,
    sqlite3.SQLITE_NOMEM: Meaning.AWAY,
    sqlite3.SQLITE_READONLY: Meaning.AWAY,
    sqlite3.SQLITE_INTERRUPT: Meaning.AGAIN,
    sqlite3.SQLITE_IOERR: Meaning.AWAY,
    sqlite3.SQLITE_CORRUPT: Meaning.MISTAKE,
    sqlite3.SQLITE_FULL: Meaning.AWAY,
    sqlite3.SQLITE_CANTOPEN: Meaning.AWAY,
    sqlite3.SQLITE_PROTOCOL: Meaning.AWAY,
    sqlite3.SQLITE_NOTADB: Meaning.MISTAKE,
}


def meaning(error: Any, driver: Any) -> Meaning:  # noqa: ANN401  (of a driver that may be absent)
    """What an error of the driver means.

    Of a connection that never came about, or broke, Postgres's driver has no code.
    """
    lost = isinstance(error, driver.OperationalError | driver.InterfaceError)
    unknown = Meaning.AWAY if lost else Meaning.REFUSED
    code = getattr(error, "sqlstate", None)
    if code is not None:
        return SQLSTATES.get(code) or SQLSTATES.get(code[:2]) or unknown
    result = getattr(error, "sqlite_errorcode", None)
    return unknown if result is None else RESULTS.get(result & 0xFF, unknown)
