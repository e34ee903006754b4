"""Checks the broker, counts its messages, and explains its errors."""

import errno
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import structlog
from kombu import Connection
from kombu.exceptions import OperationalError

from archon_batch.engine import queues
from archon_batch.engine.app import app, settings
from archon_batch.errors import BrokerBusyError, BrokerError, BrokerUnavailableError
from archon_batch.store import current_process_id

_T = TypeVar("_T")

#: Seconds to wait for a connection.
_TIMEOUT = 3
#: Seconds for which a command waits for a broker that is not ready yet, and between two tries.
_GIVE_UP_AFTER, _RETRY_INTERVAL = 60.0, 1.0

_VARIABLE = "ARCHON_BATCH_BROKER_URL"
#: Errors that pass by themselves or when room is made: a pattern, and the cause with its remedy.
_TRANSIENT_HINTS = {
    r"OutOfMemory|\bOOM\b|used memory": "its memory is full: raise maxmemory, or start workers",
    r"ReadOnly|read.?only replica": f"it is a replica: put the primary's address into {_VARIABLE}",
    r"\bMISCONF\b": "it cannot write its snapshots: make room on its disk",
    r"BusyLoading|\bLOADING\b": "it is starting",
    r"MasterDown|\bMASTERDOWN\b|\bNOREPLICAS\b": "its primary or its replicas are unavailable",
    r"max number of clients": "it takes no more connections: raise maxclients",
    r"RESOURCE_LOCKED": "another process uses the queue exclusively",
    r"CONNECTION_FORCED|\bINTERNAL_ERROR\b": "it is stopping, or had an error: see its log",
}
#: Errors that last until somebody fixes them: a pattern, and the remedy.
_PERMANENT_HINTS = {
    r"ACCESS_REFUSED - Login|Authentication|AuthorizationError|\bWRONGPASS\b|\bNOAUTH\b"
    r"|invalid.*password|without any password": f"correct user and password in {_VARIABLE}",
    r"NoPermission|\bNOPERM\b|ACCESS_REFUSED|has no permissions": (
        "give its user the permissions that docs/operate.md lists"
    ),
    r"vhost|NOT_ALLOWED": f"add the virtual host, or correct it in {_VARIABLE}",
    r"PRECONDITION_FAILED": "a queue of that name has other arguments: delete the queue",
    r"DB index|Database is int": f"correct the database's number in {_VARIABLE}",
    r"Cluster|\bCLUSTERDOWN\b|Moved|\bMOVED\b|Ask(ing)?Error|CROSSSLOT": (
        "a Redis Cluster cannot be a broker: use a standalone Redis"
    ),
    r"\bDENIED\b|protected mode": "it accepts only local connections: give it a password",
    r"CERTIFICATE|certificate": "its certificate is not trusted: add ssl_ca_certs=FILE to the address",
    r"SSL|WRONG_VERSION": "use rediss:// or amqps:// with TLS, redis:// or amqp:// without",
}

_log = structlog.get_logger()


def carrier() -> str:
    """What carries the messages sent here: the broker, or this process by itself."""
    return current_process_id() if settings.in_process else "broker"


def check_broker() -> str:
    """Connect and declare a queue; return the broker's address without its password.

    Raises:
        BrokerError: the broker is unreachable, or refuses.
    """
    # Connect first: reading the queues' names creates a missing database.
    with _open_connection(partial(Connection, settings.broker_url)):
        pass
    with _open_connection() as connection, connection.channel() as channel:
        app.amqp.queues[queues.PLANNING](channel).declare()
        return connection.as_uri()


def queue_lengths(names: Iterable[str]) -> dict[str, int]:
    """Messages waiting in each queue.

    Raises:
        BrokerError: the broker is unreachable.
    """
    with _open_connection() as connection:
        return {name: queue_length(connection, name) for name in names}


def queue_length(connection: Connection, name: str) -> int:
    """Messages waiting in the queue; 0 if it does not exist."""
    # Declaring a missing queue passively closes the channel, so each queue has its own.
    try:
        with connection.channel() as channel:
            return int(_declare_passively(channel, name).message_count)
    except connection.channel_errors:
        return 0


@contextmanager
def translating_errors() -> Iterator[None]:
    """Turn every error of the broker into a BrokerError.

    Raises:
        BrokerError: the broker refuses, or is unreachable.
    """
    try:
        yield
    except _transport_errors() as error:
        raise to_broker_error(error, app.connection_for_write().as_uri()) from None


def retry_while_busy(action: Callable[[], _T]) -> _T:
    """Call the action, and repeat it while the broker is not ready.

    Raises:
        BrokerError: the broker refuses, or was not ready for a minute.
    """
    end, logged = time.monotonic() + _GIVE_UP_AFTER, False
    while True:
        try:
            return action()
        except BrokerBusyError as error:
            if time.monotonic() > end:
                raise
            if not logged:
                _log.warning("waiting_for_broker", why=str(error))
                logged = True
            time.sleep(_RETRY_INTERVAL)


def to_broker_error(error: BaseException, url: str) -> BrokerError:
    """The error with a hint how to fix it; ``url`` must not contain the password."""
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return BrokerUnavailableError(url, "too many open files on this machine: raise ulimit -n")
    # The part before it quotes the command that was sent.
    message = str(error).rpartition("caused error: ")[2].strip() or type(error).__name__
    described = f"{type(error).__name__}: {message}"
    for kind, hints in ((BrokerBusyError, _TRANSIENT_HINTS), (BrokerError, _PERMANENT_HINTS)):
        for pattern, hint in hints.items():
            if re.search(pattern, described):
                return kind(url, f"{message.rstrip('.')}; {hint}")
    unreachable = isinstance(error, OperationalError | OSError)
    return (BrokerUnavailableError if unreachable else BrokerError)(url, message)


@cache
def _transport_errors() -> tuple[type[Exception], ...]:
    """Errors of the transport; without KeyError, which Redis's transport lists, but our code raises."""
    transport = Connection(settings.broker_url or "memory://")
    known = {*transport.connection_errors, *transport.channel_errors, OperationalError, OSError}
    return tuple(known - {KeyError})


def _connection_errors() -> tuple[type[Exception], ...]:
    """Errors of opening a connection, including a wrong address and a missing client library."""
    return *_transport_errors(), ValueError, ImportError


def _declare_passively(channel: Any, name: str) -> Any:  # noqa: ANN401  (a channel of any transport)
    return channel.queue_declare(app.amqp.queues[name].name, passive=True)


@contextmanager
def _open_connection(
    connect: Callable[..., Connection] = app.connection_for_write,
) -> Iterator[Connection]:
    # A server that accepts the connection and never answers must not block a command for ever.
    timeouts: dict[str, float] = {}
    if settings.broker_is_redis:
        timeouts = {"socket_connect_timeout": _TIMEOUT, "socket_timeout": _TIMEOUT}
    with connect(transport_options=timeouts) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_TIMEOUT)
            yield connection
        except KeyError:
            scheme = settings.broker_url.partition(":")[0]
            raise BrokerError(f"{scheme}://...", "Celery has no broker of that name") from None
        except _connection_errors() as error:
            raise to_broker_error(error, connection.as_uri()) from None
