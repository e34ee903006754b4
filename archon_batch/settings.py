"""What the operator sets in the environment."""

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
#: What commands of ``on_failure`` are told by their environment, and hand to those they start.
_HOOK_VARIABLES = frozenset(
    PREFIX + name for name in ("JOB", "NAME", "STATE", "REASON", "FILE", "DATE")
)
_LEVELS = ("debug", "info", "warning", "error")
_MAX_IN_FLIGHT = 100_000
_DAY = 86_400
_LAST_PORT = 65_535

#: What of providers' accounts a folder's .env may say; litellm reads these. Files that name programs
#: (AWS_CONFIG_FILE) and addresses of logins are not among them.
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
#: Variables with the key of a provider, or of a host.
_KEY_VARIABLE = re.compile(r"_API_KEY$|^ARCHON_BATCH_KEY_")
#: What a key has none of, and what it is called.
_MALFORMED = {
    r"[\r\n]": "a line break",
    r"\s": "a space",
    "[\"'`]": "a quote",
    r"[^!-~]": "a character that no header can hold",
    r"\.\.\.$|^<.*>$": "what stands for a key in a manual",
}
#: Variables by which other programs send requests elsewhere.
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def _default_spool_folder() -> str:
    """Where programs of this user keep what is neither a setting nor a cache."""
    home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return str(Path(home) / "archon-batch" / "spool")


@dataclass(frozen=True)
class Settings:
    database_url: str = "sqlite:///archon-batch.db"
    #: Empty: broker and worker live in the process of the command.
    broker_url: str = ""
    #: A Redis for the limits of models, where the broker is none.
    result_url: str = ""
    #: Calls in flight in one process; without a broker, in all processes of a command.
    max_in_flight: int = 128
    #: Processes of a command without a broker; 0 is as many as there are cores and work for.
    processes: int = 0
    #: Seconds that one attempt may take, from its first byte to its last.
    call_timeout: float = 600.0
    #: The folder for answers that the database is not there to take.
    spool_folder: str = field(default_factory=_default_spool_folder)
    #: The address and the port at which a worker tells Prometheus of itself; None is nowhere.
    metrics_address: tuple[str, int] | None = None
    log_level: str = "info"
    log_format: str = "text"

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
            SettingsError: one of them cannot be used.
        """
        given = os.environ if environ is None else environ

        def read(name: str, parse: Callable[[str], T], default: T) -> T:
            text = given.get(PREFIX + name, "").strip()
            if not text:
                return default
            try:
                return parse(text)
            except ValueError as error:
                found = "" if parse is _address else f"; found {text!r}"
                raise SettingsError(PREFIX + name, f"{error}{found}") from None

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
        )


def is_known_variable(variable: str) -> bool:
    """Whether a folder's .env may set it: a setting of ours, or a provider's key or account."""
    if variable.startswith(PREFIX):
        return variable.removeprefix(PREFIX) in SETTING_NAMES or variable.startswith(
            f"{PREFIX}KEY_"
        )
    return _PROVIDER_VARIABLES.fullmatch(variable) is not None


def belongs_to_another_program(variable: str) -> bool:
    """Whether docker compose and Flower read it from the same file."""
    return variable.startswith("FLOWER_") or variable in ("REDIS_PASSWORD", "POSTGRES_PASSWORD")


def why_unknown(variable: str) -> str:
    """Why a variable is not taken, and what would do."""
    names = [PREFIX + name for name in SETTING_NAMES]
    if close := difflib.get_close_matches(variable, names, n=1, cutoff=0.8):
        return f"did you mean {close[0]}?"
    if variable.startswith(PREFIX):
        return f"known are {', '.join(names)} and {PREFIX}KEY_HOST"
    return "it is no setting, and no provider's key; set it in the environment if it is meant"


def misspelled(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that begin as ours do, and mean nothing, with what was meant."""
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in _HOOK_VARIABLES and not is_known_variable(name):
            yield f"{name} means nothing: {why_unknown(name)}"


def malformed_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables whose key cannot be one, and why; none of the key is in it."""
    return {
        name: f"looks wrong: it has {what}"
        for name, key in sorted(environ.items())
        if _KEY_VARIABLE.search(name)
        for what in [what for odd, what in _MALFORMED.items() if re.search(odd, key)][:1]
    }


def proxies(environ: Mapping[str, str]) -> Iterator[str]:
    """The proxies that are set, by which calls may go, without their passwords."""
    for name in _PROXIES:
        for spelt in (name.lower(), name):
            if proxy := environ.get(spelt, ""):
                address = proxy.rpartition("@")[2].rpartition("://")[2]
                yield f"{spelt} is set: calls may go by {address.partition('/')[0]}"
                break


def _address(text: str) -> str:
    """The text, whose password is told to nobody, least of all as a port that is no number."""
    wrong = ValueError(
        "not a URL; write / : ? # ; and @ in a password as %2F %3A %3F %23 %3B and %40"
    )
    # kombu takes several, divided by semicolons.
    for one in text.split(";"):
        try:
            parts = urlsplit(one)
            _ = parts.port
        except ValueError:
            raise wrong from None
        # What a password's own sign has cut off would be told as a path, or as a host.
        if not parts.scheme or "@" in one.removeprefix(f"{parts.scheme}://{parts.netloc}"):
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
