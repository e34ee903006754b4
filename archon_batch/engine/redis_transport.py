"""kombu's transport for Redis, which hands on nothing that is no message.

Kombu 5.7 decodes what it finds in a list and takes it for a message. What is none raises in the event
loop, which ends the worker, or is taken for a lost connection.
"""

from typing import Any

import structlog
from kombu.transport.redis import Channel as RedisChannel
from kombu.transport.redis import Transport as RedisTransport

from archon_batch.engine import message_schema

_log = structlog.get_logger()


class Channel(RedisChannel):
    def _get_client(self) -> Any:  # noqa: ANN401
        """A client that finds nothing where it finds no message."""
        client: Any = super()._get_client()  # type: ignore[misc]

        class Client(client):  # type: ignore[misc]
            def parse_response(self, connection: Any, command_name: str, **more: Any) -> Any:  # noqa: ANN401
                found = super().parse_response(connection, command_name, **more)
                if (
                    command_name == "BRPOP"
                    and found
                    and _is_refused(message_schema.redis_item_error(found[1]))
                ):
                    return None
                return found

        return Client

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:  # noqa: ANN401
        if _is_refused(message_schema.redis_message_error(message)):
            return False
        return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]


class Transport(RedisTransport):
    Channel = Channel


def _is_refused(why: str | None) -> bool:
    if why is not None:
        _log.warning("message_refused", why=why)
    return why is not None
