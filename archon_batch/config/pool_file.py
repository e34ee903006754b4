"""Pool files: the queues of a group of workers, and their concurrency."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from archon_batch.archon import validate_data
from archon_batch.config.yaml_document import load_document
from archon_batch.errors import PoolFileError

#: Queue names; models have their litellm names.
_QUEUE_NAME = re.compile(r"joins|calls(?:\.[A-Za-z0-9._:/@+-]{1,200})?")


def _validate_queue(value: str) -> str:
    if not _QUEUE_NAME.fullmatch(value):
        raise ValueError(
            "joins, calls, or the calls of a provider or a model, such as calls.openai"
        )
    return value


def _validate_queue_list(value: object) -> object:
    if not isinstance(value, list | tuple) or not value or len(set(map(str, value))) < len(value):
        raise ValueError("a list of queues, each once, such as [calls]")
    return tuple(value)


class PoolFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    queues: Annotated[
        tuple[Annotated[str, AfterValidator(_validate_queue)], ...],
        BeforeValidator(_validate_queue_list),
    ]
    #: Fixed: the threads of a worker process share its one event loop.
    pool: Literal["threads"] = "threads"
    #: Messages that a process handles concurrently.
    concurrency: int = Field(default=64, ge=1, le=10_000)
    processes: int = Field(default=1, ge=1, le=1_000)
    #: Calls in flight in a process; None uses the environment.
    max_in_flight: int | None = Field(default=None, ge=1, le=100_000)
    #: Prometheus port of the first process; the other processes use the next ports. None uses the
    #: environment.
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)


def read_pool_file(path: Path) -> PoolFile:
    """Read a pool file.

    Raises:
        PoolFileError: the file is invalid; ``file`` has the line.
    """
    document = load_document(path, PoolFileError)
    with document.locate_errors(PoolFileError):
        return validate_data(PoolFile, document.value, "")
