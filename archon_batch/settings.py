"""Settings from environment variables."""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from archon_batch.errors import SettingsError

T = TypeVar("T")

PREFIX = "ARCHON_BATCH_"
#: The settings; each is described in docs/formats.md.
SETTING_NAMES = (
    "DATABASE_URL", "BROKER_URL", "RESULT_URL", "MAX_IN_FLIGHT", "PROCESSES", "CALL_TIMEOUT", "SPOOL",
    "METRICS", "LOG", "LOG_FORMAT", "ALLOW_LINK_LOCAL",
)  # fmt: skip
#: Set for the commands of ``on_failure``, and inherited by the processes that those start.
_HOOK_VARIABLES = frozenset(
    PREFIX + name for name in ("JOB", "NAME", "STATE", "REASON", "FILE", "DATE")
)
_LEVELS = ("debug", "info", "warning", "error")
_MAX_IN_FLIGHT = 100_000
_DAY = 86_400
_LAST_PORT = 65_535

#: Variables of providers' accounts that a folder's .env may set; litellm reads them. Not those that
#: name a file with programs (AWS_CONFIG_FILE) or a login address.
_PROVIDER_VARIABLES = re.compile(
    r"""[A-Z][A-Z0-9_]*_( API_?(KEY|BASE|TOKEN|URL|VERSION|SECRET|TYPE) | APIKEY | AUTH_TOKEN
        | BASE_URL )
    | AWS_(ACCESS_KEY_ID | SECRET_ACCESS_KEY | SESSION_TOKEN | BEARER_TOKEN_BEDROCK | PROFILE
        | (DEFAULT_)?REGION(_NAME)? | ROLE_ARN)
    | AZURE_(AD_TOKEN | CLIENT_ID | CLIENT_SECRET | TENANT_ID | USERNAME | PASSWORD | SCOPE)
    | VERTEX(AI)?_(PROJECT | LOCATION | CREDENTIALS)
    | GOOGLE_(APPLICATION_CREDENTIALS | CLOUD_PROJECT)
    | HF_TOKEN | HUGGINGFACE_TOKEN | (AIMLAPI | COMETAPI)_KEY | SCW_SECRET_KEY
    | OPENAI_(ORGANIZATION | ORG_ID | PROJECT) | OR_(SITE_URL | APP_NAME)
    | (CLOUDFLARE | FIREWORKS | SNOWFLAKE)_ACCOUNT_ID | SNOWFLAKE_JWT | PREDIBASE_TENANT_ID
    | DATABRICKS_CLIENT_(ID | SECRET) | DATAROBOT_ENDPOINT | GIGACHAT_(CREDENTIALS | SCOPE)
    | (WATSONX | WX)_(APIKEY | ZENAPIKEY | URL | PROJECT_ID | REGION | SPACE_ID | DEPLOYMENT_SPACE_ID)
    """,
    re.VERBOSE,
)
#: Variables with the key of a provider or a host.
_KEY_VARIABLE = re.compile(r"_API_KEY$|^ARCHON_BATCH_KEY_")
#: Patterns that no key contains, and their names.
_MALFORMED = {
    r"[\r\n]": "a line break",
    r"\s": "a space",
    "[\"'`]": "a quote",
    r"[^!-~]": "a character that no header can hold",
    r"\.\.\.$|^<.*>$": "a placeholder from a manual",
}
#: Variables of HTTP proxies.
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def _default_spool_folder() -> str:
    """The folder for state of this user, after the XDG base directory specification."""
    home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return str(Path(home) / "archon-batch" / "spool")


@dataclass(frozen=True)
class Timing:
    """How long the processes of an installation wait for each other, in seconds.

    No user sets it; tests do, so that a recovery takes seconds.
    """

    #: Between two runs of the watchdog.
    watchdog_interval: float = 5.0
    #: Without renewal, until a process counts as dead.
    process_lease: float = 20.0
    #: Of the watchdog's leader; shorter, so that another process leads in time.
    leader_lease: float = 10.0
    #: Without progress, until a shard cursor has stalled.
    stalled_after: float = 20.0
    #: Until a stalled cursor's message is resent although messages wait in its queues.
    resend_after: float = 600.0
    #: Between two heartbeats of a worker.
    worker_heartbeat: float = 8.0
    #: Until a pool starts a worker again that died.
    worker_restart: float = 2.0


@dataclass(frozen=True)
class Settings:
    database_url: str = "sqlite:///archon-batch.db"
    #: Empty: broker and workers run inside the command's process.
    broker_url: str = ""
    #: A Redis for the rate limits of models, if the broker is not Redis.
    result_url: str = ""
    #: Calls in flight in one process; without a broker, in all processes of a command.
    max_in_flight: int = 128
    #: Processes of a command without a broker; 0 chooses by cores and rows.
    processes: int = 0
    #: Seconds that one attempt may take.
    call_timeout: float = 600.0
    #: The folder for results while the database is unavailable.
    spool_folder: str = field(default_factory=_default_spool_folder)
    #: Address and port of a worker's Prometheus metrics; None serves none.
    metrics_address: tuple[str, int] | None = None
    log_level: str = "info"
    log_format: str = "text"
    timing: Timing = Timing()
    #: Variables whose key cannot be valid, and why.
    malformed_keys: tuple[tuple[str, str], ...] = ()
    #: Proxies that calls would use.
    proxies: tuple[str, ...] = ()

    @property
    def in_process(self) -> bool:
        return not self.broker_url

    @property
    def broker_is_redis(self) -> bool:
        return self.broker_url.startswith(("redis://", "rediss://"))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read every ``ARCHON_BATCH_...`` variable.

        Raises:
            SettingsError: a value is not valid.
        """
        variables = os.environ if environ is None else environ

        def read(name: str, parse: Callable[[str], T], default: T) -> T:
            text = variables.get(PREFIX + name, "").strip()
            if not text:
                return default
            try:
                return parse(text)
            except ValueError as error:
                actual = "" if parse is _address else f"; found {text!r}"
                raise SettingsError(PREFIX + name, f"{error}{actual}") from None

        return cls(
            database_url=read("DATABASE_URL", str, cls.database_url),
            broker_url=read("BROKER_URL", _address, ""),
            result_url=read("RESULT_URL", _address, ""),
            max_in_flight=read("MAX_IN_FLIGHT", _whole_number, cls.max_in_flight),
            processes=read("PROCESSES", _whole_number, cls.processes),
            call_timeout=read("CALL_TIMEOUT", _seconds, cls.call_timeout),
            spool_folder=read("SPOOL", str, _default_spool_folder()),
            metrics_address=read("METRICS", _listen_address, None),
            log_level=read("LOG", lambda text: _one_of(text.lower(), _LEVELS), "info"),
            log_format=read("LOG_FORMAT", lambda text: _one_of(text, ("text", "json")), "text"),
            malformed_keys=tuple(malformed_keys(variables).items()),
            proxies=tuple(proxies(variables)),
        )


def is_known_variable(variable: str) -> bool:
    """Whether a folder's .env may set it: one of our settings, or a provider's key or account."""
    if variable.startswith(PREFIX):
        return variable.removeprefix(PREFIX) in SETTING_NAMES or variable.startswith(
            f"{PREFIX}KEY_"
        )
    return _PROVIDER_VARIABLES.fullmatch(variable) is not None


def belongs_to_another_program(variable: str) -> bool:
    """Whether docker compose or Flower reads it from the same .env."""
    return variable.startswith("FLOWER_") or variable in ("REDIS_PASSWORD", "POSTGRES_PASSWORD")


def why_unknown(variable: str) -> str:
    """Why a variable is not accepted, with a suggestion."""
    names = [PREFIX + name for name in SETTING_NAMES]
    if close := difflib.get_close_matches(variable, names, n=1, cutoff=0.8):
        return f"did you mean {close[0]}?"
    if variable.startswith(PREFIX):
        return f"known: {', '.join(names)} and {PREFIX}KEY_HOST"
    return "neither a setting nor a provider's key; set it in the environment if you need it"


def misspelled(environ: Mapping[str, str]) -> Iterator[str]:
    """Messages about variables with our prefix that we do not know."""
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in _HOOK_VARIABLES and not is_known_variable(name):
            yield f"{name} is unknown: {why_unknown(name)}"


def malformed_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables whose key cannot be valid, and why; the message does not quote the key."""
    return {
        name: f"looks wrong: it contains {problem}"
        for name, key in sorted(environ.items())
        if _KEY_VARIABLE.search(name)
        for problem in [
            problem for pattern, problem in _MALFORMED.items() if re.search(pattern, key)
        ][:1]
    }


def proxies(environ: Mapping[str, str]) -> Iterator[str]:
    """Messages about proxies that calls may use, without their passwords."""
    for name in _PROXIES:
        for variable in (name.lower(), name):
            if proxy := environ.get(variable, ""):
                address = proxy.rpartition("@")[2].rpartition("://")[2]
                yield f"{variable} is set: calls may use the proxy {address.partition('/')[0]}"
                break


def _address(text: str) -> str:
    """The URL; no error message quotes it, since it may contain a password."""
    wrong = ValueError(
        "not a URL; write / : ? # ; and @ in a password as %2F %3A %3F %23 %3B and %40"
    )
    # kombu accepts several URLs separated by semicolons.
    for url in text.split(";"):
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise wrong from None
        # An unescaped character in the password would make a part of it look like a path or a host.
        if not parts.scheme or "@" in url.removeprefix(f"{parts.scheme}://{parts.netloc}"):
            raise wrong
        if "@" in parts.netloc.rpartition("@")[0]:
            raise wrong
    return text


def _whole_number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_IN_FLIGHT:
        raise ValueError(f"expected a whole number from 1 to {_MAX_IN_FLIGHT}")
    return int(text)


def _listen_address(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 1 <= int(port) <= _LAST_PORT:
        raise ValueError("expected a port, or an address and a port such as 0.0.0.0:9464")
    return host.strip("[]") or "127.0.0.1", int(port)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _DAY:
        raise ValueError("expected seconds, more than 0 and at most a day")
    return seconds


def _one_of(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise ValueError(f"expected one of {', '.join(known)}")
    return text
