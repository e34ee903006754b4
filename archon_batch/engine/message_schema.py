"""The schema of our messages: any other message is refused before it can do harm.

Anyone with write access to the broker can write anything. Celery and kombu do not validate messages:
on a malformed one, the worker ends or reconnects again and again.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from kombu import compression
from kombu.utils.json import loads
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from archon_batch.engine.chords import ADVANCE_TASK, PLACE_TASK

#: Most bytes of a message; our batches have a few thousand.
_MAX_BYTES = 1 << 20
#: Headers that Celery uses internally and would trust.
_RESERVED_HEADERS = {
    *("args", "kwargs", "chord", "chain", "callbacks", "errbacks", "compression"),
    *("called_directly", "is_eager", "delivery_info", "hostname"),
}


def _within_a_day(time: str) -> str:
    """A time within a day: Celery's retries are seconds away."""
    at = datetime.fromisoformat(time)
    if at.tzinfo is None or at - datetime.now(UTC) > timedelta(days=1):
        raise ValueError("no time within a day")
    return time


_Job = Annotated[str, Field(pattern="^[0-9a-z]{1,32}$")]
_Token = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
_Number = Annotated[int, Field(ge=0, lt=1 << 31)]
_Key = Annotated[str, Field(pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,9}\.\d{1,9}$")]
_Text = Annotated[str, Field(max_length=5000)]
_Timestamp = Annotated[str, AfterValidator(_within_a_day)]
_Position = tuple[_Job, _Number, _Token]
_Batch = list[tuple[_Number, list[_Key]]]
_EmptyDict = Annotated[dict[str, Any], Field(max_length=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _DeliveryInfo(_Strict):
    exchange: str
    routing_key: str


class _Properties(_Strict):
    delivery_tag: Annotated[str, Field(min_length=1)]
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64"]
    priority: _Number = 0


class _RedisMessage(_Strict):
    """A message as an item of a Redis list."""

    body: str
    headers: dict[str, Any]
    properties: _Properties


class _Headers(_Strict):
    task: Literal["archon_batch.advance", "archon_batch.place"]
    id: Annotated[str, Field(min_length=1, max_length=200)]
    retries: _Number = 0
    eta: _Timestamp | None = None
    expires: None = None
    timelimit: list[None] | None = None
    group: _Text | None = None
    root_id: _Text | None = None
    parent_id: _Text | None = None
    argsrepr: _Text | None = None
    kwargsrepr: _Text | None = None
    shadow: _Text | None = None
    origin: _Text | None = None
    stamped_headers: list[None] | None = None
    stamps: _EmptyDict | None = None


class _Chord(_Strict):
    task: Literal["archon_batch.advance"]
    args: _Position
    options: dict[str, str | int | float | bool | None]


class _Embed(_Strict):
    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: _Chord | None = None


_REDIS_MESSAGE = TypeAdapter(_RedisMessage)
_HEADERS = TypeAdapter(_Headers)
_BODIES: dict[str, TypeAdapter[Any]] = {
    ADVANCE_TASK: TypeAdapter(tuple[_Position, _EmptyDict, _Embed]),
    PLACE_TASK: TypeAdapter(tuple[tuple[_Job, _Number, _Token, _Batch], _EmptyDict, _Embed]),
}


def redis_item_error(item: bytes) -> str | None:
    """What is wrong with an item of a Redis list, or None; quotes no content."""
    if len(item) > _MAX_BYTES:
        return f"{len(item)} bytes"
    try:
        _REDIS_MESSAGE.validate_python(loads(item))
    except ValidationError as error:
        return _describe_error(error)
    except Exception as error:  # noqa: BLE001  (kombu decodes any type that a message names)
        return f"cannot be decoded: {type(error).__name__}"
    return None


def redis_message_error(message: object) -> str | None:
    """What is wrong with a decoded message from Redis, or None."""
    try:
        _REDIS_MESSAGE.validate_python(message)
    except ValidationError as error:
        return _describe_error(error)
    return None


def task_message_error(message: Any) -> str | None:  # noqa: ANN401  (a kombu message of any transport)
    """What is wrong with a message for one of our tasks, or None."""
    body = message.body
    if (message.content_type, message.content_encoding) != ("application/json", "utf-8"):
        return "its content is not JSON in UTF-8"
    if message.errors or not isinstance(body, bytes | str) or len(body) > _MAX_BYTES:
        return "its body cannot be read"
    try:
        headers = _HEADERS.validate_python(message.headers)
        if forged := _RESERVED_HEADERS & message.headers.keys():
            return f"headers that our messages never have: {', '.join(sorted(forged))}"
        _BODIES[headers.task].validate_json(body, strict=True)
    except ValidationError as error:
        return _describe_error(error)
    return None


def disable_decompression() -> None:
    """Make kombu reject compressed messages: ours are not, and a small one could hold gigabytes."""

    def refused(_: bytes) -> bytes:
        raise ValueError("compressed")

    for kind in list(compression.encoders()):
        compression.register(refused, refused, kind)


def _describe_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'message'}: {first['msg'].lower()}"
