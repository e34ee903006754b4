"""Log lines: past-tense names with fields, on stderr; never a prompt, an answer or a key."""

import io
import logging
import sys
from contextlib import suppress
from traceback import walk_tb
from types import TracebackType
from typing import TextIO, TypeAlias, cast

import structlog
from structlog.typing import EventDict

from archon_batch.untrusted_text import in_a_line, visible

_Error: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(level: str, style: str) -> None:
    """Write events of at least ``level``, as ``text`` for people or ``json`` for machines."""
    number = logging.getLevelNamesMapping()[level.upper()]
    last = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(lambda exc_info: trace(exc_info[1])),
            *((_shown, last) if style == "text" else (last,)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Lossy(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    # Libraries speak when something is wrong; below that they would name hosts and headers.
    logging.getLogger("celery.worker.control").setLevel(logging.ERROR)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, force=True)
    for handler in logging.root.handlers:
        handler.setFormatter(_Traced(logging.BASIC_FORMAT))


class _Lossy(io.TextIOBase):
    """A stream that loses what it cannot write: a terminal has gone, or a disk is full.

    An attempt that is to be settled must not fail for the want of a line about it.
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


def _shown(_logger: object, _name: str, event: EventDict) -> EventDict:
    """Fields as a terminal may have them: each in its line, and with nothing that it would obey."""
    traced = event.pop("exception", None)
    told = {
        key: in_a_line(value) if isinstance(value, str) else value for key, value in event.items()
    }
    return told if traced is None else {**told, "exception": visible(str(traced))}


def trace(error: BaseException) -> str:
    """Where it was raised, and what it came of, without its words: they may quote a prompt."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines += [f"  {f.f_code.co_filename}:{n}" for f, n in walk_tb(cause.__traceback__)]
        lines.append(type(cause).__name__)
        hidden = None if cause.__suppress_context__ else cause.__context__
        cause = cause.__cause__ or hidden
        lines += ["because of"] if cause else []
    return "\n".join(lines)


class _Traced(logging.Formatter):
    """Lines of libraries."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))

    def formatException(self, ei: _Error | tuple[None, None, None]) -> str:  # noqa: N802
        return "" if ei[1] is None else trace(ei[1])
