"""Whether the broker answers, what waits in it, and what its refusals mean."""

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

_TIMEOUT = 3
#: Seconds for which a command waits for a broker that says that it cannot yet; between two tries.
_GIVE_UP_AFTER, _RETRY_INTERVAL = 60.0, 1.0

_VARIABLE = "ARCHON_BATCH_BROKER_URL"
#: What brokers say that passes by itself, or with room that is made, and what would do.
_TRANSIENT_HINTS = {
    r"OutOfMemory|\bOOM\b|used memory": "its memory is full: raise maxmemory, or start workers",
    r"ReadOnly|read.?only replica": f"it is a replica: name the primary in {_VARIABLE}",
    r"\bMISCONF\b": "it cannot write its snapshots: make room on its disk",
    r"BusyLoading|\bLOADING\b": "it is starting",
    r"MasterDown|\bMASTERDOWN\b|\bNOREPLICAS\b": "its primary or its replicas are away",
    r"max number of clients": "it takes no more connections: raise maxclients",
    r"RESOURCE_LOCKED": "another process has the queue for itself",
    r"CONNECTION_FORCED|\bINTERNAL_ERROR\b": "it is stopping, or had an error: see its log",
}
#: What it says until somebody mends it, and what would do.
_PERMANENT_HINTS = {
    r"ACCESS_REFUSED - Login|Authentication|AuthorizationError|\bWRONGPASS\b|\bNOAUTH\b"
    r"|invalid.*password|without any password": f"mend user and password in {_VARIABLE}",
    r"NoPermission|\bNOPERM\b|ACCESS_REFUSED|has no permissions": (
        "give its user the right to: docs/operate.md says which"
    ),
    r"vhost|NOT_ALLOWED": f"add the virtual host, or mend it in {_VARIABLE}",
    r"PRECONDITION_FAILED": "a queue of that name has other arguments: delete it",
    r"DB index|Database is int": f"mend the database's number in {_VARIABLE}",
    r"Cluster|\bCLUSTERDOWN\b|Moved|\bMOVED\b|Ask(ing)?Error|CROSSSLOT": (
        "a Redis Cluster is no broker: name a Redis that stands alone"
    ),
    r"\bDENIED\b|protected mode": "it talks to its own machine only: give it a password",
    r"CERTIFICATE|certificate": "its certificate is not trusted: ssl_ca_certs=FILE names who signed",
    r"SSL|WRONG_VERSION": "rediss:// and amqps:// are for brokers with TLS, redis:// and amqp:// not",
}

_log = structlog.get_logger()


def carrier() -> str:
    """Who carries messages from here: the broker, or this process to itself."""
    return current_process_id() if settings.in_process else "broker"


def check_broker() -> str:
    """The broker's address without its password, after it has answered and taken a queue.

    Raises:
        BrokerError: it does not.
    """
    # Before the names are asked for: where there is no database yet, that makes one.
    with _open_connection(partial(Connection, settings.broker_url)):
        pass
    with _open_connection() as connection, connection.channel() as channel:
        app.amqp.queues[queues.PLANNING](channel).declare()
        return connection.as_uri()


def queue_lengths(names: Iterable[str]) -> dict[str, int]:
    """How many messages wait in each of these queues for somebody to fetch them.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    with _open_connection() as connection:
        return {name: queue_length(connection, name) for name in names}


def queue_length(connection: Connection, name: str) -> int:
    """How many messages wait in the queue; what is not there is empty, to Redis."""
    # A channel that was told of a queue that is not there is closed.
    try:
        with connection.channel() as channel:
            return int(_declare_passively(channel, name).message_count)
    except connection.channel_errors:
        return 0


@contextmanager
def translating_errors() -> Iterator[None]:
    """Have every error of the broker's leave as a BrokerError.

    Raises:
        BrokerError: it refuses, or cannot be reached.
    """
    try:
        yield
    except _transport_errors() as error:
        raise to_broker_error(error, app.connection_for_write().as_uri()) from None


def retry_while_busy(action: Callable[[], _T]) -> _T:
    """Do it, again and again while the broker says that it cannot yet.

    Raises:
        BrokerError: it refuses, or could not for a minute.
    """
    end, told = time.monotonic() + _GIVE_UP_AFTER, False
    while True:
        try:
            return action()
        except BrokerBusyError as error:
            if time.monotonic() > end:
                raise
            if not told:
                _log.warning("waiting_for_broker", why=str(error))
                told = True
            time.sleep(_RETRY_INTERVAL)


def to_broker_error(error: BaseException, url: str) -> BrokerError:
    """The error in words that say what would do; ``url`` is without its password."""
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        return BrokerUnavailableError(
            url, "too many files are open on this machine: raise ulimit -n"
        )
    # What was sent stands before it, and is nobody's business.
    said = str(error).rpartition("caused error: ")[2].strip() or type(error).__name__
    known = f"{type(error).__name__}: {said}"
    for kind, hints in ((BrokerBusyError, _TRANSIENT_HINTS), (BrokerError, _PERMANENT_HINTS)):
        for pattern, hint in hints.items():
            if re.search(pattern, known):
                return kind(url, f"{said.rstrip('.')}; {hint}")
    away = isinstance(error, OperationalError | OSError)
    return (BrokerUnavailableError if away else BrokerError)(url, said)


@cache
def _transport_errors() -> tuple[type[Exception], ...]:
    """What the transport raises; a KeyError, which Redis's counts in, is an error of ours."""
    transport = Connection(settings.broker_url or "memory://")
    known = {*transport.connection_errors, *transport.channel_errors, OperationalError, OSError}
    return tuple(known - {KeyError})


def _connection_errors() -> tuple[type[Exception], ...]:
    """What opening a connection raises, of an address that is none or a client that is missing too."""
    return *_transport_errors(), ValueError, ImportError


def _declare_passively(channel: Any, name: str) -> Any:  # noqa: ANN401  (a channel of any transport's)
    return channel.queue_declare(app.amqp.queues[name].name, passive=True)


@contextmanager
def _open_connection(
    connect: Callable[..., Connection] = app.connection_for_write,
) -> Iterator[Connection]:
    # A server that takes the connection and says nothing would hold a command for ever.
    patience: dict[str, float] = {}
    if settings.broker_is_redis:
        patience = {"socket_connect_timeout": _TIMEOUT, "socket_timeout": _TIMEOUT}
    with connect(transport_options=patience) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_TIMEOUT)
            yield connection
        except KeyError:
            scheme = settings.broker_url.partition(":")[0]
            raise BrokerError(f"{scheme}://...", "no broker of Celery's is called so") from None
        except _connection_errors() as error:
            raise to_broker_error(error, connection.as_uri()) from None
