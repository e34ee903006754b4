"""What can go wrong, as one tree.

    ArchonBatchError
    |-- InputError                  what the operator wrote is wrong; names the place; exit 2
    |   |-- ArchitectureError         (file, place, why)      layers[2][0].top_k
    |   |-- DatasetError              (file, line, why)
    |   |-- JobFileError              (file, place, why)
    |   |-- PoolFileError             (file, place, why)
    |   `-- SettingsError             (variable, why)
    |-- GatewayError                a provider did not answer; ends as a Reply, never leaves attempt.py
    |   |-- TransientError            another attempt may do; (model, why, retry_after)
    |   |   |-- RateLimitError
    |   |   |-- CallTimeoutError
    |   |   |-- BrokenReplyError
    |   |   |-- ProviderFailedError
    |   |   `-- ProviderDownError
    |   |       `-- UnreachableError
    |   `-- PermanentError            another attempt would end alike; (model, why)
    |       |-- CredentialsError        stops the job
    |       |-- UnknownModelError       stops the job
    |       |-- UnknownHostError        stops the job
    |       |-- UntrustedHostError      stops the job
    |       |-- QuotaError              stops the job
    |       |-- PromptTooLongError
    |       |-- RefusedError
    |       `-- BadCallError
    |-- StoreError                  the database cannot be reached or used; exit 3
    |   |-- StoreAwayError            it may come back: a restart, a lock that is held long
    |   |   `-- StoreGoneError          another stands in its place; nothing brings it back but a person
    |   `-- SchemaError               (found, wanted)
    |-- JobNotFoundError            (job, why); exit 2
    `-- EngineError                 exit 3
        `-- BrokerError               (url without its password, why)
            `-- BrokerAwayError         it cannot be reached now
                `-- BrokerBusyError       it says that it cannot yet: a start, a failover, a full memory

Two questions decide a class: who must act (the operator, nobody, the provider), and is another try
of use. Every field is positional, so that pickle and Celery's JSON keep it. A reply that cannot be
read is none of these: it is a reply, and the component asks again or does without.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from archon_batch.rate_limits import RemainingLimits


class Billing(StrEnum):
    """What an attempt means for the provider's bill."""

    BILLED = "billed"
    NOT_SENT = "not_sent"
    NOT_BILLED = "not_billed"
    #: It may have been served; its highest price stays counted against the budget.
    IN_DOUBT = "in_doubt"


class ArchonBatchError(Exception):
    #: The exit status of a command that ends with this error.
    exit_code: ClassVar[int] = 1


class InputError(ArchonBatchError):
    """What the operator wrote is wrong; nothing was stored, sent or paid."""

    exit_code = 2
    #: What else is wrong with the same file, as far as it is told; and how much there is beyond it.
    other_errors: "tuple[InputError, ...]" = ()
    omitted_count: int = 0

    def lines(self) -> Iterator[str]:
        """A line for each, and one for those that are not told."""
        yield f"error: {self}"
        yield from (f"error: {other}" for other in self.other_errors)
        if self.omitted_count:
            yield f"and {self.omitted_count:,} more"


InputErrorT = TypeVar("InputErrorT", bound=InputError)

#: Errors of a file that are told at once.
MAX_REPORTED = 10


def combine_errors(errors: Sequence[InputErrorT], omitted_count: int = 0) -> InputErrorT:
    """The first error with the others of its file; ``omitted_count`` are beyond those that are given."""
    first, *others = errors
    first.other_errors, first.omitted_count = (
        tuple(others[: MAX_REPORTED - 1]),
        omitted_count + len(others[MAX_REPORTED - 1 :]),
    )
    return first


class _LocatedError(InputError):
    def __init__(self, file: str, path: str, why: str) -> None:
        super().__init__(file, path, why)
        self.file, self.path, self.why = file, path, why

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.path, self.why) if part)


class ArchitectureError(_LocatedError):
    """An architecture cannot be used; ``place`` is a path in it, such as ``layers[2][0].top_k``."""


class JobFileError(_LocatedError):
    """A job file cannot be used."""


class PoolFileError(_LocatedError):
    """A pool file cannot be used."""


class DatasetError(InputError):
    """A row cannot be accepted; ``line`` counts from 1, and 0 means the whole file."""

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
    """A provider did not answer a call."""

    #: What the ledger holds of an attempt that ended so.
    billing: ClassVar[Billing] = Billing.NOT_BILLED
    #: Whether every other call of the job would end alike, so that the job stops at once.
    stops_job: ClassVar[bool] = False

    def __init__(self, model: str, why: str, *details: object) -> None:
        super().__init__(model, why, *details)
        self.model, self.why = model, why

    def __str__(self) -> str:
        return f"{self.model}: {self.why}"

    @property
    def reason(self) -> str:
        """The class as one word of the ledger: ``rate_limit``, ``call_timeout``, ..."""
        name = type(self).__name__.removesuffix("Error")
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class TransientError(ProviderError):
    """Another attempt may do; ``retry_after`` is the provider's own wish, in seconds."""

    def __init__(self, model: str, why: str, retry_after: float | None = None) -> None:
        super().__init__(model, why, retry_after)
        self.retry_after = retry_after
        #: What the provider said of its limits.
        self.remaining_limits: RemainingLimits | None = None
        #: Why it is of no use to ask again for hours, and until when, in words.
        self.long_wait_reason: str | None = None


class RateLimitError(TransientError):
    """The provider asks for patience."""


class CallTimeoutError(TransientError):
    """No answer before the deadline; the provider may have served it all the same."""

    billing = Billing.IN_DOUBT


class BrokenReplyError(TransientError):
    """The answer was cut off or could not be decoded; it may be on the bill."""

    billing = Billing.IN_DOUBT


class ProviderFailedError(TransientError):
    """The provider, or a proxy before it, failed (5xx) with the request in hand.

    The model may have been at work, and it may be on the bill.
    """

    billing = Billing.IN_DOUBT


class ProviderDownError(TransientError):
    """The provider did not take the request up, or could not be reached."""


class UnreachableError(ProviderDownError):
    """No connection to the provider came about, so nothing was sent."""

    billing = Billing.NOT_SENT


class PermanentError(ProviderError):
    """Another attempt would end alike."""


class CredentialsError(PermanentError):
    stops_job = True


class UnknownModelError(PermanentError):
    stops_job = True


class UnknownHostError(PermanentError):
    """No name server knows the host, and it has answered nothing in this process."""

    billing = Billing.NOT_SENT
    stops_job = True


class UntrustedHostError(PermanentError):
    """The host's certificate is not trusted, it speaks no TLS, or it is link-local; nothing was sent."""

    billing = Billing.NOT_SENT
    stops_job = True


class QuotaError(PermanentError):
    """The account has no money or no quota left."""

    stops_job = True


class PromptTooLongError(PermanentError):
    """The prompt is larger than the model's window."""


class RefusedError(PermanentError):
    """The provider's content filter refused the request."""


class BadCallError(PermanentError):
    """The provider cannot make sense of the request."""


class StoreError(ArchonBatchError):
    """The database cannot be reached or used."""

    exit_code = 3


class StoreUnavailableError(StoreError):
    """The database does not answer now; what was asked of it may be asked again."""


class StoreReplacedError(StoreUnavailableError):
    """The database is not the one that was there: deleted, moved, replaced, or an older copy."""


class SchemaError(StoreError):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found, self.expected = found, expected

    def __str__(self) -> str:
        found = f"the database is at schema {self.found}, this program needs {self.expected}"
        if self.found > self.expected:
            return f"{found}: it is of a newer archon-batch; install that one"
        return f"{found}; run: archon-batch db upgrade"


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
    """The broker cannot be reached; it may be later."""


class BrokerBusyError(BrokerUnavailableError):
    """The broker says that it cannot do yet what was asked of it."""
