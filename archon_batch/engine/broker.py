"""Whether the broker answers."""

from kombu.exceptions import OperationalError

from archon_batch.engine.app import app, settings
from archon_batch.errors import BrokerError

_SECONDS = 3


def reached() -> str:
    """The broker's address without its password, after it has answered.

    Raises:
        BrokerError: it does not.
    """
    # A server that takes the connection and says nothing would hold a command for ever.
    redis = settings.broker_url.startswith(("redis://", "rediss://"))
    patience = {"socket_connect_timeout": _SECONDS, "socket_timeout": _SECONDS} if redis else {}
    with app.connection_for_write(transport_options=patience) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_SECONDS)
            return connection.as_uri()
        except KeyError:
            scheme = settings.broker_url.partition(":")[0]
            raise BrokerError(f"{scheme}://...", "no broker of Celery's is called so") from None
        except (OperationalError, OSError, ValueError, ImportError) as error:
            raise BrokerError(connection.as_uri(), str(error)) from None
