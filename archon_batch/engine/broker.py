"""Whether the broker answers, and what waits in it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu import Connection
from kombu.exceptions import OperationalError

from archon_batch.engine.app import app, settings
from archon_batch.errors import BrokerError
from archon_batch.store import me

_SECONDS = 3


def carrier() -> str:
    """Who carries messages from here: the broker, or this process to itself."""
    return me() if settings.embedded else "broker"


def reached() -> str:
    """The broker's address without its password, after it has answered.

    Raises:
        BrokerError: it does not.
    """
    with _connected() as connection:
        return connection.as_uri()


def waiting(names: Iterable[str]) -> dict[str, int]:
    """How many messages wait in each of these queues for somebody to fetch them.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    with _connected() as connection:
        counts: dict[str, int] = {}
        for name in names:
            # A channel that was told of a queue that is not there is closed.
            try:
                with connection.channel() as channel:
                    counts[name] = _told_of(channel, name).message_count
            except connection.channel_errors:
                counts[name] = 0
            except connection.connection_errors as error:
                raise BrokerError(connection.as_uri(), str(error)) from None
        return counts


def _told_of(channel: Any, name: str) -> Any:  # noqa: ANN401  (a channel of any transport's)
    return channel.queue_declare(name, passive=True)


@contextmanager
def _connected() -> Iterator[Connection]:
    # A server that takes the connection and says nothing would hold a command for ever.
    patience: dict[str, float] = {}
    if settings.over_redis:
        patience = {"socket_connect_timeout": _SECONDS, "socket_timeout": _SECONDS}
    with app.connection_for_write(transport_options=patience) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_SECONDS)
            yield connection
        except KeyError:
            scheme = settings.broker_url.partition(":")[0]
            raise BrokerError(f"{scheme}://...", "no broker of Celery's is called so") from None
        except (OperationalError, OSError, ValueError, ImportError) as error:
            raise BrokerError(connection.as_uri(), str(error)) from None
