"""Job files: a dataset, an architecture, a budget and a schedule."""

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from archon_batch.archon import validate_data
from archon_batch.config.text_files import text_or_file
from archon_batch.config.yaml_document import YamlDocument, load_document
from archon_batch.errors import JobFileError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
#: The fields of cron, each with its lowest and highest number.
_CRON_FIELDS = (
    ("minutes", 0, 59),
    ("hours", 0, 23),
    ("days of the month", 1, 31),
    ("months", 1, 12),
    ("days of the week", 0, 6),
)


def _parse_usd(value: object) -> Decimal:
    """The exact decimal amount: 0.10 is ten hundredths, not the nearest binary fraction."""
    try:
        # str: in Python true and false are integers.
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite():
        raise ValueError("USD, such as 25 or 0.50")
    return amount


def _url_or_command(value: object) -> object:
    if isinstance(value, str) and urlsplit(value).scheme in ("http", "https"):
        if urlsplit(value).hostname:
            return value
    elif isinstance(value, list) and value and all(isinstance(w, str) and w for w in value):
        return tuple(value)
    raise ValueError("a command as a list, such as [notify, oncall], or a URL of http or https")


def _validate_cron(text: str) -> str:
    """The text, if it is a schedule that Celery accepts and that some day fits."""
    from celery.schedules import (  # noqa: PLC0415  (the import takes 0.3 s)
        ParseException,
        crontab_parser,
    )

    fields = text.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError('five fields of cron in UTC, such as "0 2 * * *"')
    numbers: list[set[int]] = []
    for (label, low, high), field in zip(_CRON_FIELDS, fields, strict=True):
        try:
            numbers.append(crontab_parser(high - low + 1, low).parse(field))
        except (ParseException, ValueError):
            raise ValueError(f"{label} from {low} to {high} in its place") from None
    _, _, days, months, _ = numbers
    # 2000 is a leap year.
    if min(days) > max(monthrange(2000, month)[1] for month in months):
        raise ValueError("a day that one of its months has")
    return text


def _require_text(value: str) -> str:
    if not value.strip():
        raise ValueError("some text")
    return value


NonEmptyText = Annotated[str, AfterValidator(_require_text)]
Cron = Annotated[str, AfterValidator(_validate_cron)]
UsdAmount = Annotated[Decimal, BeforeValidator(_parse_usd), Field(gt=0, le=1_000_000)]
OnFailure = Annotated[tuple[str, ...] | str, BeforeValidator(_url_or_command)]


class JobFile(BaseModel):
    """A job to submit by hand or on a schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: A path, or a pattern such as ``inbox/*.jsonl``.
    dataset: NonEmptyText
    architecture: NonEmptyText
    name: NonEmptyText | None = None
    #: Maximum cost; None is unlimited.
    budget_usd: UsdAmount | None = None
    #: Workers execute calls of higher priority first; None is normal.
    priority: Literal["high", "normal", "low"] | None = None
    #: Cron schedule in UTC; None is by hand only.
    when: Cron | None = None
    #: The file of the results.
    export: NonEmptyText | None = None
    template: NonEmptyText | None = None
    prompt_field: NonEmptyText | None = None
    id_field: NonEmptyText | None = None
    #: Rows to read; None reads all.
    limit: int | None = Field(default=None, ge=1)
    #: Called when a scheduled run fails: a command, or a URL that accepts JSON.
    on_failure: OnFailure | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether its runs are stored: it has a schedule, or a hook for failures."""
        return self.when is not None or self.on_failure is not None


def read_job_file(path: Path, today: date) -> JobFile:
    """Read a job file, fill in ``{date}`` and ``{name}``, and read its template file.

    Raises:
        JobFileError: the file is invalid; ``file`` has the line.
    """
    document = load_document(path, JobFileError)
    with document.locate_errors(JobFileError):
        job = validate_data(JobFile, document.value, "")
    day = {"date": today.isoformat()}
    name = _fill_placeholders(document, "name", job.name, day)
    known = day if name is None else {**day, "name": name}
    filled = job.model_copy(
        update={
            "name": name,
            "template": _template_text(document, job.template),
            "dataset": _fill_placeholders(document, "dataset", job.dataset, day),
            "export": _fill_placeholders(document, "export", job.export, known),
        }
    )
    if job.when is not None and "{date}" not in (job.name or ""):
        why = "it needs a name with {date}, or every run after the first is the same job"
        raise JobFileError(document.location("when"), "when", why)
    return filled


def _template_text(document: YamlDocument, given: str | None) -> str | None:
    """The template; ``@FILE`` is relative to the folder of the job file."""
    try:
        return None if given is None else text_or_file(given, document.path.parent)
    except ValueError as error:
        raise JobFileError(document.location("template"), "template", str(error)) from None


def _fill_placeholders(
    document: YamlDocument, key: str, text: str | None, values: Mapping[str, str]
) -> str | None:
    for placeholder in _PLACEHOLDER.finditer(text or ""):
        if placeholder[1] not in values:
            words = ", ".join(f"{{{word}}}" for word in values)
            why = f"nothing fills {placeholder[0]}; known here: {words}"
            raise JobFileError(document.location(key), key, why)
    return (
        None if text is None else _PLACEHOLDER.sub(lambda placeholder: values[placeholder[1]], text)
    )
