"""kombu's transport for Redis, which drops malformed messages.

kombu 5.7 takes any item of a list for a message. A malformed one raises in the event loop, which
ends the worker, or looks like a lost connection.
"""

from typing import Any

import structlog
from kombu.transport.redis import Channel as RedisChannel
from kombu.transport.redis import Transport as RedisTransport

from archon_batch.engine import message_schema

_log = structlog.get_logger()


class Channel(RedisChannel):
    def _get_client(self) -> Any:  # noqa: ANN401
        """A client that returns nothing in place of a malformed message."""
        client: Any = super()._get_client()  # type: ignore[misc]

        class Client(client):  # type: ignore[misc]
            def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:  # noqa: ANN401
                response = super().parse_response(connection, command_name, **options)
                if (
                    command_name == "BRPOP"
                    and response
                    and _is_refused(message_schema.redis_item_error(response[1]))
                ):
                    return None
                return response

        return Client

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:  # noqa: ANN401
        if _is_refused(message_schema.redis_message_error(message)):
            return False
        return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]


class Transport(RedisTransport):
    Channel = Channel


def _is_refused(problem: str | None) -> bool:
    if problem is not None:
        _log.warning("message_refused", why=problem)
    return problem is not None
