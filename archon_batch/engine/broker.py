"""Whether the broker answers."""

from kombu.exceptions import OperationalError

from archon_batch.engine.app import app
from archon_batch.errors import BrokerError


def reached() -> str:
    """The broker's address without its password, after it has answered.

    Raises:
        BrokerError: it does not.
    """
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        except (OperationalError, OSError) as error:
            raise BrokerError(connection.as_uri(), str(error)) from error
        return connection.as_uri()
