"""Logging to standard error: event names with fields; never a prompt, an answer or a key."""

import io
import logging
import sys
from contextlib import suppress
from traceback import walk_tb
from types import TracebackType
from typing import TextIO, TypeAlias, cast

import structlog
from structlog.typing import EventDict

from archon_batch.untrusted_text import escape_control, escape_to_line

_Error: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(level: str, log_format: str) -> None:
    """Log events of at least ``level``, as ``text`` or ``json``."""
    number = logging.getLevelNamesMapping()[level.upper()]
    last = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                lambda exc_info: traceback_without_messages(exc_info[1])
            ),
            *((_escape_fields, last) if log_format == "text" else (last,)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _LossyStream(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    # Libraries log from warnings up; below that they would log hosts and headers.
    logging.getLogger("celery.worker.control").setLevel(logging.ERROR)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, force=True)
    for handler in logging.root.handlers:
        handler.setFormatter(_SafeFormatter(logging.BASIC_FORMAT))


class _LossyStream(io.TextIOBase):
    """A stream that drops what it cannot write, to a closed terminal or a full disk.

    Settling an attempt must not fail because of a log entry.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _escape_fields(_logger: object, _name: str, event: EventDict) -> EventDict:
    """Escape control characters in the fields, and keep each on one line."""
    traceback = event.pop("exception", None)
    fields = {
        key: escape_to_line(value) if isinstance(value, str) else value
        for key, value in event.items()
    }
    return fields if traceback is None else {**fields, "exception": escape_control(str(traceback))}


def traceback_without_messages(error: BaseException) -> str:
    """Files, lines and classes of the error and its causes, without messages: they may quote a prompt."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines += [f"  {f.f_code.co_filename}:{n}" for f, n in walk_tb(cause.__traceback__)]
        lines.append(type(cause).__name__)
        hidden = None if cause.__suppress_context__ else cause.__context__
        cause = cause.__cause__ or hidden
        lines += ["caused by"] if cause else []
    return "\n".join(lines)


class _SafeFormatter(logging.Formatter):
    """Formats log records of libraries."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_control(super().format(record))

    def formatException(self, ei: _Error | tuple[None, None, None]) -> str:  # noqa: N802
        return "" if ei[1] is None else traceback_without_messages(ei[1])
