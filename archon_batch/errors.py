"""All exceptions of the package, as one tree.

    ArchonBatchError
    |-- InputError                  a mistake in the user's input, with its location; exit 2
    |   |-- ArchitectureError         (file, path, why)      layers[2][0].top_k
    |   |-- DatasetError              (file, line, why)
    |   |-- JobFileError              (file, path, why)
    |   |-- PoolFileError             (file, path, why)
    |   `-- SettingsError             (variable, why)
    |-- ProviderError               a call got no reply; calls/executor.py turns it into a Reply
    |   |-- TransientError            a retry may help; (model, why, retry_after)
    |   |   |-- RateLimitError
    |   |   |-- CallTimeoutError
    |   |   |-- BrokenReplyError
    |   |   |-- ProviderFailedError
    |   |   `-- ProviderDownError
    |   |       `-- UnreachableError
    |   `-- PermanentError            a retry would fail alike; (model, why)
    |       |-- CredentialsError        stops the job
    |       |-- UnknownModelError       stops the job
    |       |-- UnknownHostError        stops the job
    |       |-- UntrustedHostError      stops the job
    |       |-- QuotaError              stops the job
    |       |-- PromptTooLongError
    |       |-- RefusedError
    |       `-- BadCallError
    |-- StoreError                  the database cannot be used; exit 3
    |   |-- StoreUnavailableError     temporary: a restart, or a lock that is held long
    |   |   `-- StoreReplacedError      a different database: only a person can fix it
    |   `-- SchemaError               (found, expected, is_upgradable)
    |-- JobNotFoundError            (job, why); exit 2
    `-- EngineError                 exit 3
        `-- BrokerError               (url without its password, why)
            `-- BrokerUnavailableError  no connection now
                `-- BrokerBusyError       it refuses for now: a start, a failover, a full memory

Two questions choose the class: who must act (the user, nobody, the provider), and whether a retry
helps. Every field is positional, so that pickle and Celery's JSON keep it. A reply that cannot be
parsed is no error: the component asks again or goes without it.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from archon_batch.rate_limits import RemainingLimits


class Billing(StrEnum):
    """Whether the provider bills an attempt."""

    BILLED = "billed"
    NOT_SENT = "not_sent"
    NOT_BILLED = "not_billed"
    #: Unknown: the model may have answered. The highest possible cost stays on the budget.
    IN_DOUBT = "in_doubt"


class ArchonBatchError(Exception):
    #: Exit status of a command that fails with this error.
    exit_code: ClassVar[int] = 1


class InputError(ArchonBatchError):
    """A mistake in the user's input; nothing was stored, sent or paid."""

    exit_code = 2
    #: Further errors of the same file, and the number of those that are not listed.
    other_errors: "tuple[InputError, ...]" = ()
    omitted_count: int = 0

    def lines(self) -> Iterator[str]:
        """One line for each error, and one with the number of omitted errors."""
        yield f"error: {self}"
        yield from (f"error: {other}" for other in self.other_errors)
        if self.omitted_count:
            yield f"and {self.omitted_count:,} more"


InputErrorT = TypeVar("InputErrorT", bound=InputError)

#: Errors of one file that are reported together.
MAX_REPORTED = 10


def combine_errors(errors: Sequence[InputErrorT], omitted_count: int = 0) -> InputErrorT:
    """The first error, which carries the rest; ``omitted_count`` more are not among ``errors``."""
    first, *rest = errors
    shown, hidden = rest[: MAX_REPORTED - 1], rest[MAX_REPORTED - 1 :]
    first.other_errors, first.omitted_count = tuple(shown), omitted_count + len(hidden)
    return first


class _LocatedError(InputError):
    def __init__(self, file: str, path: str, why: str) -> None:
        super().__init__(file, path, why)
        self.file, self.path, self.why = file, path, why

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.path, self.why) if part)


class ArchitectureError(_LocatedError):
    """An architecture cannot be used; ``path`` leads to the key, such as ``layers[2][0].top_k``."""


class JobFileError(_LocatedError):
    """A job file cannot be used."""


class PoolFileError(_LocatedError):
    """A pool file cannot be used."""


class DatasetError(InputError):
    """A row is rejected; ``line`` counts from 1, and 0 means the whole file."""

    def __init__(self, file: str, line: int, why: str) -> None:
        super().__init__(file, line, why)
        self.file, self.line, self.why = file, line, why

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}" if self.line else f"{self.file}: {self.why}"


class SettingsError(InputError):
    def __init__(self, variable: str, why: str) -> None:
        super().__init__(variable, why)
        self.variable, self.why = variable, why

    def __str__(self) -> str:
        return f"{self.variable}: {self.why}"


class ProviderError(ArchonBatchError):
    """A call got no reply from its provider."""

    #: What the ledger records for the attempt.
    billing: ClassVar[Billing] = Billing.NOT_BILLED
    #: Whether every other call of the job would fail alike, so that the job stops at once.
    stops_job: ClassVar[bool] = False

    def __init__(self, model: str, why: str, *details: object) -> None:
        super().__init__(model, why, *details)
        self.model, self.why = model, why

    def __str__(self) -> str:
        return f"{self.model}: {self.why}"

    @property
    def reason(self) -> str:
        """The class as the ledger stores it: ``rate_limit``, ``call_timeout``, ..."""
        name = type(self).__name__.removesuffix("Error")
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class TransientError(ProviderError):
    """A retry may help; ``retry_after`` is the wait that the provider asks for, in seconds."""

    def __init__(self, model: str, why: str, retry_after: float | None = None) -> None:
        super().__init__(model, why, retry_after)
        self.retry_after = retry_after
        #: The rate limits that the provider reports.
        self.remaining_limits: RemainingLimits | None = None
        #: Why a retry is useless for hours, and until when; for people.
        self.long_wait_reason: str | None = None


class RateLimitError(TransientError):
    """The provider asks to slow down."""


class CallTimeoutError(TransientError):
    """No reply before the deadline; the model may have answered anyway."""

    billing = Billing.IN_DOUBT


class BrokenReplyError(TransientError):
    """The reply was cut off or could not be decoded; it may be billed."""

    billing = Billing.IN_DOUBT


class ProviderFailedError(TransientError):
    """The provider, or a proxy in front of it, failed (5xx) while it processed the request.

    The model may have worked, so the call may be billed.
    """

    billing = Billing.IN_DOUBT


class ProviderDownError(TransientError):
    """The provider did not accept the request, or could not be reached."""


class UnreachableError(ProviderDownError):
    """The connection to the provider failed, so nothing was sent."""

    billing = Billing.NOT_SENT


class PermanentError(ProviderError):
    """A retry would fail alike."""


class CredentialsError(PermanentError):
    stops_job = True


class UnknownModelError(PermanentError):
    stops_job = True


class UnknownHostError(PermanentError):
    """DNS does not know the host, and the host has never answered this process."""

    billing = Billing.NOT_SENT
    stops_job = True


class UntrustedHostError(PermanentError):
    """The certificate is not trusted, the host has no TLS, or is link-local; nothing was sent."""

    billing = Billing.NOT_SENT
    stops_job = True


class QuotaError(PermanentError):
    """The account has no money or no quota left."""

    stops_job = True


class PromptTooLongError(PermanentError):
    """The prompt exceeds the model's context window."""


class RefusedError(PermanentError):
    """The provider's content filter refused the request."""


class BadCallError(PermanentError):
    """The provider rejects the request as malformed."""


class StoreError(ArchonBatchError):
    """The database cannot be used."""

    exit_code = 3


class StoreUnavailableError(StoreError):
    """The database does not answer now; the operation may be retried."""


class StoreReplacedError(StoreUnavailableError):
    """The database is a different one than before: deleted, moved, replaced, or an older copy."""


class SchemaError(StoreError):
    """The database has the schema of another version of the program."""

    def __init__(self, found: str, expected: str, is_upgradable: bool = False) -> None:
        super().__init__(found, expected, is_upgradable)
        self.found, self.expected, self.is_upgradable = found, expected, is_upgradable

    def __str__(self) -> str:
        found = f"the database has schema {self.found}, this program needs {self.expected}"
        if self.is_upgradable:
            return f"{found}; run: archon-batch db upgrade"
        if self.found > self.expected:
            return f"{found}: a newer archon-batch made it; install that version"
        return (
            f"{found}, and it is too old to be upgraded: finish its jobs with the archon-batch "
            "that made it, then set ARCHON_BATCH_DATABASE_URL to a new database"
        )


class JobNotFoundError(ArchonBatchError):
    exit_code = 2

    def __init__(self, job: str, why: str) -> None:
        super().__init__(job, why)
        self.job, self.why = job, why

    def __str__(self) -> str:
        return f"job {self.job!r}: {self.why}"


class EngineError(ArchonBatchError):
    exit_code = 3


class BrokerError(EngineError):
    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url, self.why = url, why

    def __str__(self) -> str:
        return f"broker {self.url}: {self.why}"


class BrokerUnavailableError(BrokerError):
    """The broker cannot be reached now."""


class BrokerBusyError(BrokerUnavailableError):
    """The broker refuses the operation for now."""
