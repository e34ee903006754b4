"""Log lines: past-tense names with fields, on stderr; never a prompt, an answer or a key."""

import logging
import sys

import structlog


def configure(level: str, style: str) -> None:
    """Write events of at least ``level``, as ``text`` for people or ``json`` for machines."""
    number = logging.getLevelNamesMapping()[level.upper()]
    last = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries speak when something is wrong; below that they would name hosts and headers.
    logging.getLogger("celery.worker.control").setLevel(logging.ERROR)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, force=True)
